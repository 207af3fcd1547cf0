"""A declared resource: the kind of a class, with its rules, access and actions.

`declare` checks a class and derives everything else from it. It raises `ConfigurationError` with one
line that names the class, the field and the cure.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import NODEFAULT, UNSET
from msgspec.structs import replace

from eventapi.resources import fields as types
from eventapi.resources.actions import Action, actions_of
from eventapi.resources.as_read import as_read, in_utc
from eventapi.resources.declaration import CLASS_VARIABLES, Access, Global, Resource, is_action
from eventapi.resources.fingerprints import fingerprint_of_resource
from eventapi.resources.items import Item
from eventapi.resources.schemas import declaration_of
from eventapi.values.rules import Rules
from events.errors import ConfigurationError
from events.vocabulary.resources import Content, Entity, Field, ResourceType, Unique
from events.vocabulary.schemas import KIND_PATTERN, SchemaDeclared
from events.vocabulary.vocabulary import RESERVED_KINDS

RESERVED_FIELDS: Final = frozenset({"id", "owner", "created_at", "updated_at", "version"})
RESERVED_COLLECTIONS: Final = RESERVED_KINDS | {
    *("auth", "console", "docs", "health", "metrics", "openapi", "problems")
}
"""Names of other paths, and of other subjects in the log."""

_MAX_DECLARATION: Final = 64_000
"""Bytes of a declaration: a line of the log without the rest of an event."""

_NAME: Final = re.compile(KIND_PATTERN)
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


Contents = tuple[Content | None, Content | None]
"""The sealed and the clear values of an event; ``None`` if there are none."""


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
    times: Sequence[str] = ()

    def __reduce__(self) -> Any:
        return declare, (self.cls,)

    @property
    def kind(self) -> str:
        """The name of the kind, as in ``invoice.created``."""
        return self.type.kind

    @property
    def collection(self) -> str:
        """The name in paths and subjects, as in ``invoices/7``."""
        return self.type.collection

    @property
    def missing(self) -> str:
        """The text for a resource that does not exist, or that the caller may not see."""
        return f"{self.cls.__name__} not found"

    @property
    def names(self) -> Sequence[str]:
        """The names of the fields, as they are declared."""
        return self.cls.__struct_fields__

    def contents(self, values: Mapping[str, Any]) -> Contents:
        """The sealed and the clear content of a whole resource."""
        values = self._normal(values)
        return self.type.make_content(values), self.type.make_clear_content(values)

    def changes(self, values: Mapping[str, Any]) -> Contents:
        """The sealed and the clear content that changes some values."""
        values = self._normal(values)
        return self.type.make_changes(values), self.type.make_clear_changes(values)

    def changes_of_action(self, values: Mapping[str, Any], arguments: Any) -> Contents:
        """As `changes`, and the arguments of an action, or `UNSET`, are sealed, too."""
        sealed, clear = self.changes(values)
        if sealed is None and arguments is UNSET:
            return None, clear
        changed = {} if sealed is None else msgspec.structs.asdict(sealed)
        return self.type.arguments(**changed, arguments_=arguments), clear

    def _normal(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values as a replay reads them, also those of a default or an action.

        Times are in UTC, and nested Structs without limits. Raises `Invalid`.
        """
        if self.times:
            utc = {name: in_utc(values[name]) for name in self.times if name in values}
            values = {**values, **utc}
        found = values
        for field in self.type.fields:
            name = field.name
            if name in values and type(values[name]) not in field.same:
                found = {**found, name: as_read(field, msgspec.json.encode(values[name]))}
        return found

    def value_of(self, entity: Entity) -> Resource:
        """The content of a resource, copied, as an instance of its class."""
        return self.cls(**{name: types.as_declared(getattr(entity, name)) for name in self.names})


def declare(cls: type[Resource]) -> Declared:
    """Check a class, and derive its kind; raises `ConfigurationError`.

    Items are built in: the log does not describe them, and they are the same in all registries.
    """
    if cls is Item:
        return _item()
    try:
        return _declared(cls, built_in=False)
    except (types.TypeFault, TypeError) as fault:
        raise ConfigurationError(f"{cls.__name__}: {fault}") from None


@cache
def _item() -> Declared:
    return _declared(Item, built_in=True)


def kind_of(cls: type) -> str:
    """The class name in snake case."""
    return _WORD_START.sub("_", cls.__name__).lower()


def _declared(cls: type[Resource], *, built_in: bool) -> Declared:
    for name in cls.__struct_fields__:
        if name in CLASS_VARIABLES:
            raise types.TypeFault(
                f"{name}: it is a class variable of every resource; write `{name} = ...` without a "
                "type, or use another name"
            )
    _check_spelling(cls)
    actions = actions_of(cls)
    if hasattr(cls, "__post_init__"):
        raise types.TypeFault(types.NO_CODE)
    kind = kind_of(cls)
    collection = cls.collection or f"{kind}s"
    _check_names(kind, collection)
    if not isinstance(cls.shareable, bool):
        raise types.TypeFault(
            f"shareable = {cls.shareable!r} is not possible; write shareable = True or False"
        )
    hints = types.hints_of(cls)
    strict: dict[str, Any] = {}
    fields: list[Field] = []
    for one in msgspec.structs.fields(cls):
        fields.append(_field(one, hints[one.name]))
        strict[one.name] = types.strict_of(one.name, hints[one.name])
    if not fields:
        raise types.TypeFault("it has no field; add one, such as `name: str`")
    values: Any = msgspec.defstruct(cls.__name__, list(strict.items()))
    rules = Rules(values)
    fields = [_with_checked_default(field, strict[field.name]) for field in fields]
    unique = _unique(cls, fields)
    _check_access(cls.access)
    declaration = None if built_in else declaration_of(kind, fields, strict, unique, actions)
    if declaration is not None:
        _check_size(declaration)
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
        tuple(field.name for field in fields if _has_time(field.type)),
    )


def _check_spelling(cls: type[Resource]) -> None:
    """Raise `TypeFault` for a mistyped class variable, which would have no effect."""
    members = {name: one for base in cls.__mro__ for name, one in vars(base).items()}
    for name in members.keys() - vars(Resource) - {*cls.__struct_fields__}:
        near = get_close_matches(name, CLASS_VARIABLES, n=1, cutoff=0.8)
        if near and not hasattr(members[name], "__get__"):
            raise types.TypeFault(f"{name} has no effect; did you mean {near[0]}?")


def _check_names(kind: str, collection: object) -> None:
    if not _NAME.search(kind) or kind in RESERVED_KINDS:
        raise types.TypeFault(f"{kind!r} cannot be the name of a kind; rename the class")
    if (
        not isinstance(collection, str)
        or not _NAME.search(collection)
        or collection in RESERVED_COLLECTIONS
    ):
        raise types.TypeFault(
            f"collection = {collection!r} is not possible; use another name of lower-case letters, "
            "digits and _"
        )


def _field(one: msgspec.structs.FieldInfo, hint: Any) -> Field:
    name = one.name
    if name in RESERVED_FIELDS:
        raise types.TypeFault(f"{name}: every resource has this already; use another name")
    if is_action(one.default):
        raise types.TypeFault(f"{name}: it is a field and an action; rename one of both")
    if one.encode_name != name:
        raise types.TypeFault(f"{name}: it has another name in JSON; name the field so")
    if name.startswith("_") or name.endswith("_"):
        raise types.TypeFault(
            f"{name}: a name begins with a letter, and does not end with _; use another name"
        )
    try:
        plain = types.plain(hint)
        return Field(name, plain, _default(one), types.is_clear(hint), types.same_types(plain))
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


def _with_checked_default(field: Field, hint: Any) -> Field:
    """The field with its default as a replay reads it; raises `TypeFault`."""
    if field.default is UNSET:
        return field
    types.check_default(field.name, hint, field.default)
    raw = msgspec.Raw(msgspec.json.encode(in_utc(field.default)))
    return replace(field, default=as_read(field, raw))


def _unique(cls: type[Resource], fields: Sequence[Field]) -> tuple[Unique, ...]:
    by_name = {field.name: field for field in fields}
    found = []
    unique: Any = cls.unique
    if isinstance(unique, str):
        raise types.TypeFault(f'unique is a text; write unique = ("{unique}",)')
    if isinstance(unique, Global):
        listed = ", ".join(f'"{name}"' for name in unique)
        raise types.TypeFault(
            f"unique is one key; write unique = (Global({listed}),), or ({listed},) if a log has it "
            "already, which declares that"
        )
    if not isinstance(unique, tuple | list):
        raise types.TypeFault(
            f'unique = {unique!r} is not possible; write unique = ("{fields[0].name}",), or leave '
            "it out"
        )
    for key in unique:
        names = (key,) if isinstance(key, str) else key
        if not names or not isinstance(names, tuple):
            raise types.TypeFault(f"unique has {key!r}; name a field, or a tuple of fields")
        for name in names:
            if names.count(name) > 1:
                raise types.TypeFault(f"unique names {name!r} twice in {key!r}; name it once")
            if not isinstance(name, str) or name not in by_name:
                raise types.TypeFault(
                    f"unique names {name!r}, which is not a field; name one of {', '.join(by_name)}"
                )
            if not types.hashable(by_name[name].type):
                raise types.TypeFault(
                    f"{name}: a list, dict or Struct cannot be unique; remove it from `unique`"
                )
        found.append(Unique(names, isinstance(key, Global)))
    return tuple(found)


def _check_size(declaration: SchemaDeclared) -> None:
    """Raise `TypeFault` if the log cannot keep a declaration, which is on one line."""
    size = len(msgspec.json.encode(declaration))
    if size > _MAX_DECLARATION:
        parts: Mapping[str, Any] = declaration.schema["properties"]
        largest = max(parts, key=lambda name: len(msgspec.json.encode(parts[name])))
        raise types.TypeFault(
            f"{largest}: the JSON Schema of the class has {size:,} bytes, and one line of the log "
            f"has room for {_MAX_DECLARATION:,}; use simpler types or fewer fields"
        )


def _check_access(access: Access) -> None:
    if not isinstance(access, Access):
        raise types.TypeFault('access is not an Access; write access = Access(read="users")')
    named: list[tuple[str, Any]] = [("read", access.read), ("write", access.write)]
    for name, who in named:
        if (
            not isinstance(who, str)
            or not _ROLE.fullmatch(who)
            or (name == "write" and who in {"users", "public"})
        ):
            others = ', "users", "public"' if name == "read" else ""
            raise types.TypeFault(
                f'access: {name} = "{who}" is not possible; use "owner"{others} or a role'
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


def _has_time(hint: Any) -> bool:
    """Whether values of a plain type may have times in them, at any depth."""
    return any(one is datetime or _is_struct_with_time(one) for one in types.parts_of(hint))


def _is_struct_with_time(hint: Any) -> bool:
    return (
        isinstance(hint, type)
        and issubclass(hint, msgspec.Struct)
        and any(_has_time(field.type) for field in msgspec.structs.fields(hint))
    )
