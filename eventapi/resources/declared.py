"""A declared resource: the kind of a class, with its rules, access and actions.

`declare` checks a class and derives everything else from it. It raises `ConfigurationError` with one
line that names the class, the field and the cure.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, UNSET

from eventapi.resources import fields as types
from eventapi.resources.as_read import as_read, in_utc
from eventapi.resources.declaration import Access, Global, Resource, is_action
from eventapi.resources.fingerprints import fingerprint_of_resource
from eventapi.resources.schemas import declaration_of
from eventapi.values.rules import Rules
from events.errors import ConfigurationError
from events.vocabulary.resources import VERBS, Content, Entity, Field, ResourceType, Unique
from events.vocabulary.schemas import KIND_PATTERN
from events.vocabulary.vocabulary import RESERVED_KINDS

_PLAIN: Final = (str, bool, str | None, bool | None)
"""Types whose values can only be themselves, so that no write has to read them back."""

RESERVED_FIELDS: Final = frozenset({"id", "owner", "created_at", "updated_at", "version"})
RESERVED_COLLECTIONS: Final = frozenset(
    {
        *("auth", "audit", "batch", "docs", "health", "log", "metrics", "openapi", "problems"),
        *("projections", "schemas", "sessions", "users", "webhooks"),
    }
)
"""Names of other paths, and of other subjects in the log."""

RESERVED_ACTIONS: Final = VERBS | {"acted", "events", "history", "restore", "shares"}

_CLASS_VARIABLES: Final = frozenset(Resource.__annotations__)

_NAME: Final = re.compile(KIND_PATTERN)
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Action(msgspec.Struct, frozen=True):
    """An action: ``body`` is the Struct of its parameters, ``call`` the method.

    ``needs_body``: a parameter has no default.
    """

    name: str
    summary: str
    description: str
    body: type[msgspec.Struct]
    call: Callable[..., Any]
    needs_body: bool = False


class Declared(msgspec.Struct, frozen=True, eq=False):
    """A resource as its class declares it.

    ``type`` is the kind as the log has it. ``strict`` are the types of the fields with their limits,
    for input; ``defaults`` those of the fields that have one.
    """

    cls: type[Resource]
    type: ResourceType
    strict: Mapping[str, Any]
    rules: Rules
    access: Access
    shareable: bool
    actions: Mapping[str, Action]
    doc: str
    is_plain: bool = True
    times: Sequence[str] = ()

    def __reduce__(self) -> Any:
        return _of_this_process, (self.cls,)

    @property
    def kind(self) -> str:
        """The name of the kind, as in ``invoice.created``."""
        return self.type.kind

    @property
    def collection(self) -> str:
        """The name in paths and subjects, as in ``invoices/7``."""
        return self.type.collection

    @property
    def names(self) -> Sequence[str]:
        """The names of the fields, as they are declared."""
        return self.cls.__struct_fields__

    def contents(self, values: Mapping[str, Any]) -> tuple[Content, Content]:
        """The sealed and the clear content of a whole resource."""
        values = self._normal(values)
        kind = self.type
        return (
            kind.content(**{field.name: values[field.name] for field in kind.sealed}),
            kind.clear_content(**{field.name: values[field.name] for field in kind.clear}),
        )

    def changes(self, values: Mapping[str, Any]) -> tuple[Content, Content]:
        """The sealed and the clear content that changes some values."""
        values = self._normal(values)
        sealed, clear = self.type.changes, self.type.clear_changes
        return (
            sealed(**{name: values[name] for name in sealed.__struct_fields__ if name in values}),
            clear(**{name: values[name] for name in clear.__struct_fields__ if name in values}),
        )

    def _normal(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values as a replay reads them, also those of a default or an action.

        Times are in UTC, and nested Structs without limits. Raises `Invalid`.
        """
        if self.times:
            utc = {name: in_utc(values[name]) for name in self.times if name in values}
            values = {**values, **utc}
        if self.is_plain:
            return values
        raw = msgspec.json.decode(msgspec.json.encode(values), type=dict[str, msgspec.Raw])
        return {
            field.name: as_read(field, raw[field.name])
            for field in self.type.fields
            if field.name in raw
        }

    def value_of(self, entity: Entity) -> Resource:
        """The content of a resource, copied, as an instance of its class."""
        return self.cls(**{name: deepcopy(getattr(entity, name)) for name in self.names})


def declare(cls: type[Resource], *, built_in: bool = False) -> Declared:
    """Check a class, and derive its kind; raises `ConfigurationError`."""
    try:
        return _declared(cls, built_in=built_in)
    except (types.TypeFault, TypeError) as fault:
        raise ConfigurationError(f"{cls.__name__}: {fault}") from None


def _of_this_process(cls: type[Resource]) -> Declared:
    """The same declaration in another process; items are the same in all registries."""
    from eventapi.resources.registry import load_registry  # noqa: PLC0415 - it imports this module

    item = load_registry(()).item
    return item if cls is item.cls else declare(cls)


def kind_of(cls: type) -> str:
    """The class name in snake case."""
    return _WORD_START.sub("_", cls.__name__).lower()


def _declared(cls: type[Resource], *, built_in: bool) -> Declared:
    kind = kind_of(cls)
    collection = cls.collection or f"{kind}s"
    _check_names(kind, collection)
    hints = types.hints_of(cls)
    strict: dict[str, Any] = {}
    fields: list[Field] = []
    for one in msgspec.structs.fields(cls):
        fields.append(_field(one, hints[one.name]))
        strict[one.name] = _strict(one.name, hints[one.name])
    if not fields:
        raise types.TypeFault("it has no field; add one, such as `name: str`")
    values: Any = msgspec.defstruct(cls.__name__, list(strict.items()))
    rules = Rules(values)
    _check_defaults(fields, rules)
    actions = _actions(cls)
    unique = _unique(cls, fields)
    _check_access(cls.access)
    declaration = None if built_in else declaration_of(kind, fields, strict, unique, actions)
    doc = inspect.cleandoc(cls.__doc__ or "") if cls.__doc__ != Resource.__doc__ else ""
    return Declared(
        cls,
        ResourceType(
            kind,
            collection,
            fields,
            tuple(actions),
            unique,
            upcast=_upcast(cls),
            renamed=_renamed(cls, [field.name for field in fields]),
            declaration=declaration,
            fingerprint=fingerprint_of_resource(cls),
        ),
        strict,
        rules,
        cls.access,
        cls.shareable,
        actions,
        doc,
        all(field.type in _PLAIN for field in fields),
        tuple(field.name for field in fields if _has_time(field.type)),
    )


def _strict(name: str, hint: Any) -> Any:
    """The type of a field's input; raises `TypeFault` for one that msgspec refuses."""
    try:
        strict = types.strict(hint)
        msgspec.json.Decoder(strict)
    except types.TypeFault as fault:
        raise types.TypeFault(f"{name}: {fault}") from None
    except (TypeError, ValueError) as error:
        raise types.TypeFault(f"{name}: {error}; use another type or limit") from None
    return strict


def _check_names(kind: str, collection: str) -> None:
    if not _NAME.search(kind) or kind in RESERVED_KINDS:
        raise types.TypeFault(f"{kind!r} cannot be the name of a kind; rename the class")
    if not _NAME.search(collection) or collection in RESERVED_COLLECTIONS:
        raise types.TypeFault(
            f"collection = {collection!r} is not possible; use another name of lower-case letters, "
            "digits and _"
        )


def _field(one: msgspec.structs.FieldInfo, hint: Any) -> Field:
    name = one.name
    if name in RESERVED_FIELDS or name in _CLASS_VARIABLES:
        raise types.TypeFault(f"{name}: every resource has this already; use another name")
    if one.encode_name != name:
        raise types.TypeFault(f"{name}: it has another name in JSON; name the field so")
    if name.startswith("_") or name.endswith("_"):
        raise types.TypeFault(
            f"{name}: a name begins with a letter, and does not end with _; use another name"
        )
    try:
        return Field(name, types.plain(hint), _default(one), types.is_clear(hint))
    except types.TypeFault as fault:
        raise types.TypeFault(f"{name}: {fault}") from None


def _default(one: msgspec.structs.FieldInfo) -> Any:
    """The default value of a field; `UNSET` without one."""
    if one.default is not NODEFAULT:
        return one.default
    if one.default_factory is NODEFAULT:
        return UNSET
    default = one.default_factory()
    if default != one.default_factory():
        # It would be the same for all, because events are decoded without the application's code.
        raise types.TypeFault("its default differs each time; leave the default out")
    return default


def _check_defaults(fields: Sequence[Field], rules: Rules) -> None:
    for field in fields:
        if field.default is not UNSET:
            for fault in rules.faults({field.name: field.default}):
                raise types.TypeFault(
                    f"{field.name}: the default {fault.detail}; change the default or the type"
                )


def _unique(cls: type[Resource], fields: Sequence[Field]) -> tuple[Unique, ...]:
    by_name = {field.name: field for field in fields}
    found = []
    if isinstance(cls.unique, str):  # type: ignore[unreachable]  # a frequent mistake
        raise types.TypeFault(f'unique is a text; write unique = ("{cls.unique}",)')
    for key in cls.unique:
        names = (key,) if isinstance(key, str) else tuple(key)
        for name in names:
            if name not in by_name:
                raise types.TypeFault(
                    f"unique names {name!r}, which is not a field; name one of {', '.join(by_name)}"
                )
            if not types.hashable(by_name[name].type):
                raise types.TypeFault(
                    f"{name}: a list, dict or Struct cannot be unique; remove it from `unique`"
                )
        found.append(Unique(names, isinstance(key, Global)))
    return tuple(found)


def _check_access(access: Access) -> None:
    if not isinstance(access, Access):
        raise types.TypeFault('access is not an Access; write access = Access(read="users")')
    for name, who in (("read", access.read), ("write", access.write)):
        if not _ROLE.fullmatch(who) or (name == "write" and who in {"users", "public"}):
            raise types.TypeFault(
                f'access: {name} = "{who}" is not possible; use "owner" or a role'
            )


def _actions(cls: type[Resource]) -> dict[str, Action]:
    found = {}
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if is_action(method):
            found[name] = _action(cls, name, method)
    return found


def _action(cls: type[Resource], name: str, method: Callable[..., Any]) -> Action:
    if name in RESERVED_ACTIONS or not _NAME.search(name):
        raise types.TypeFault(f"{name}: an action cannot have this name; use another one")
    if inspect.iscoroutinefunction(method):
        raise types.TypeFault(f"{name}: an action cannot wait; remove `async`")
    text = inspect.getdoc(method) or ""
    title = f"{cls.__name__}{''.join(word.capitalize() for word in name.split('_'))}"
    body = parameters_of(method, name, title)
    summary = text.partition("\n")[0].rstrip(".") or f"{name.replace('_', ' ').capitalize()}"
    needs_body = any(field.required for field in msgspec.structs.fields(body))
    return Action(name, summary, text or f"{summary}.", body, method, needs_body)


def parameters_of(
    method: Callable[..., Any], name: str, title: str, *, before: int = 1
) -> type[msgspec.Struct]:
    """A Struct of the keyword parameters of a method, behind ``before`` others.

    Raises `TypeFault` for another parameter, and for a type that a field cannot have.
    """
    members: list[Any] = []
    hints = types.hints_of(method)
    for parameter in list(inspect.signature(method).parameters.values())[before:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name not in hints:
            raise types.TypeFault(
                f"{name}: {parameter.name} must be a keyword parameter with a type, behind a `*`"
            )
        hint = _strict(f"{name}: {parameter.name}", hints[parameter.name])
        has_default = parameter.default is not parameter.empty
        members.append((parameter.name, hint, *([parameter.default] if has_default else [])))
    return msgspec.defstruct(
        title,
        members,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": f"The parameters of {name}."},
    )


def _upcast(cls: type[Resource]) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """The application's conversion of older values."""
    upcast = inspect.getattr_static(cls, "upcast")
    convert: Any = upcast.__func__ if isinstance(upcast, staticmethod) else upcast
    if convert is not None and not inspect.isfunction(convert):
        raise types.TypeFault("upcast is not a function; write one of the values, a dict")
    return convert


def _renamed(cls: type[Resource], names: Sequence[str]) -> dict[str, str]:
    """The new names of fields by their old ones."""
    if not isinstance(cls.renamed, Mapping):
        raise types.TypeFault('renamed is not a dict; write renamed = {"old": "new"}')
    for old, new in cls.renamed.items():
        if new not in names:
            raise types.TypeFault(
                f'renamed = {{"{old}": "{new}"}}: there is no field {new}; name one of '
                f"{', '.join(names)}"
            )
        if old in names:
            raise types.TypeFault(
                f'renamed = {{"{old}": "{new}"}}: there still is a field {old}; remove one of both'
            )
    return dict(cls.renamed)


def _has_struct(hint: Any) -> bool:
    return any(
        isinstance(one, type) and issubclass(one, msgspec.Struct) for one in types.parts_of(hint)
    )


def _has_time(hint: Any) -> bool:
    return datetime in types.parts_of(hint) or _has_struct(hint)
