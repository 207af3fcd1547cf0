"""Bodies of requests and responses, derived from the declaration of a resource.

A `Shape` has the Structs of one kind in one version of the API. Version 1 has items only, in the
shapes of the replaced service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas.requests import Body, ListQuery, ListQueryV1
from eventapi.http.schemas.responses import ApiVersion, Id, NaiveTime, Time, Version
from eventapi.queries.selection import CONTROLS, Column, columns_of
from eventapi.resources import fields
from eventapi.resources.as_read import as_shown
from eventapi.resources.declared import Declared
from eventapi.resources.merging import patch_type
from events.record import Record
from events.vocabulary.resources import Content, Entity, Field

_VERBS: Final = ("created", "updated", "deleted", "restored")
_PASSING: Final = {
    "eq": "is this",
    "contains": "has this",
    "null": "is `null`, or with `false` not",
}
"""What the first operator of a filter tests."""

_SHARING: Final = ("shared", "unshared")
_REASON: Final = (
    Annotated[
        str, Meta(description="What the client gave in `Change-Reason`; left out without it.")
    ]
    | UnsetType
)


class ShareBody(Body, frozen=True):
    """What another user may do with a resource."""

    can: Literal["read", "write"]


class ShareView(msgspec.Struct, frozen=True, gc=False):
    """A user whom a resource is shared with, and what they may do."""

    username: str
    can: Literal["read", "write"]


class Shape(msgspec.Struct, frozen=True, eq=False):
    """A kind of resources in one version of the API.

    ``body`` and ``patch`` are bodies of requests; ``view``, ``page``, ``entry`` (of a history) and
    ``change`` (of a stream) those of responses; ``changes`` are the values that an event set.
    """

    version: ApiVersion
    resource: Declared
    body: type[msgspec.Struct]
    patch: type[msgspec.Struct]
    view: type[msgspec.Struct]
    page: Any
    entry: type[msgspec.Struct]
    change: type[msgspec.Struct]
    changes: type[msgspec.Struct]
    list_query: type[msgspec.Struct]
    columns: Mapping[str, Column]
    view_of: Callable[[Entity, str], msgspec.Struct]
    """Makes the response body of a resource whose owner has this username."""
    text_fields: Sequence[str]

    @property
    def noun(self) -> str:
        """The kind in the words of a sentence."""
        return self.resource.kind.replace("_", " ")

    @property
    def a_noun(self) -> str:
        """The kind with its article."""
        return _article(self.resource)

    @property
    def namespace(self) -> dict[str, Any]:
        """The Structs by their names in the annotations of handlers."""
        return {
            "ResourceBody": self.body,
            "ResourcePatch": self.patch,
            "ResourceView": self.view,
            "ResourcePage": self.page,
            "HistoryEntry": self.entry,
            "ResourceChange": self.change,
        }

    def members_of(self, entity: Entity, owner: str, names: Sequence[str]) -> dict[str, Any]:
        """Some members of the response body of a resource, of version 2."""
        found = {name: owner if name == "owner" else getattr(entity, name) for name in names}
        for name in found.keys() & self.resource.times:
            found[name] = as_shown(found[name])
        return found

    def changes_of(self, record: Record) -> msgspec.Struct:
        """The values that an event of a resource set."""
        values: dict[str, Any] = {}
        for part in (
            getattr(record.event, "personal", None),
            getattr(record.event, "clear", None),
        ):
            if isinstance(part, Content):
                values |= {
                    name: getattr(part, name, UNSET)
                    for name in part.__struct_fields__
                    if name in self.changes.__struct_fields__
                }
        for name in values.keys() & self.resource.times:
            values[name] = as_shown(values[name])
        return self.changes(**values)

    def entry_of(self, record: Record) -> msgspec.Struct:
        """An event in the history of a resource."""
        kind, changes = record.event.type, self.changes_of(record)
        reason = record.reason or UNSET
        return self.entry(record.position, record.time, kind, record.actor, changes, reason)

    def change_of(self, record: Record, number: int) -> msgspec.Struct:
        """An event in the stream of a collection."""
        kind, changes = record.event.type, self.changes_of(record)
        return self.change(record.position, record.time, kind, record.actor, number, changes)


def shape_of(resource: Declared, version: ApiVersion) -> Shape:
    """The Structs of a kind in a version."""
    name = resource.cls.__name__
    changes, columns = _changes(resource), columns_of(resource)
    view = _view(resource, version)
    return Shape(
        version,
        resource,
        version.body(_body(resource)),
        version.body(_patch(resource)),
        view,
        _page(name, view) if version.has_pages else list[view],  # type: ignore[valid-type]  # a class
        _entry(resource, changes),
        _entry(resource, changes, is_live=True),
        changes,
        ListQueryV1 if version.is_replacement else _list_query(resource, columns),
        columns,
        _view_maker(view, resource, is_v1=version.is_replacement),
        [column.name for column in columns.values() if column.is_text],
    )


def _view_maker(view: type[msgspec.Struct], resource: Declared, *, is_v1: bool) -> Any:
    """The function that makes a view of an entity.

    It is compiled, as the methods of a dataclass are: lists call it for each row, and a general
    loop over the fields takes three times as long.
    """
    stamps = (
        ["owner", "entity.created_at[:-1]"]
        if is_v1
        else ["owner", "entity.created_at", "entity.updated_at", "entity.version"]
    )
    names = {name: f"entity.{name}" for name in resource.names}
    names |= {name: f"as_shown(entity.{name})" for name in resource.times}
    values = ["entity.id", *names.values(), *stamps]
    known = {"view": view, "as_shown": as_shown}
    return eval(f"lambda entity, owner: view({', '.join(values)})", known)  # noqa: S307 - names of fields


def _article(resource: Declared) -> str:
    noun = resource.kind.replace("_", " ")
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _defined(name: str, members: Sequence[Any], doc: str, **options: Any) -> Any:
    return msgspec.defstruct(
        name,
        members,
        namespace={"__doc__": doc},
        module=__name__,
        frozen=True,
        **options,
    )


def _body(resource: Declared) -> Any:
    required = []
    optional = []
    for field in resource.type.fields:
        hint = resource.strict[field.name]
        if field.default is UNSET:
            required.append((field.name, hint))
        else:
            optional.append((field.name, hint, _default(field)))
    doc = f"The content of {_article(resource)}."
    return _defined(f"{resource.cls.__name__}Body", required + optional, doc, bases=(Body,))


def _default(field: Field) -> Any:
    """The default of a field, of which each value gets a copy."""
    value = field.default
    if isinstance(value, msgspec.Struct) or (isinstance(value, list | dict) and value):
        decode, encoded = msgspec.msgpack.Decoder(field.type).decode, msgspec.msgpack.encode(value)
        return msgspec.field(default_factory=lambda: decode(encoded))
    return value


def _patch(resource: Declared) -> Any:
    members = [
        (name, patch_type(hint) | UnsetType, UNSET) for name, hint in resource.strict.items()
    ]
    doc = f"A merge patch (RFC 7396) of {_article(resource)}."
    return _defined(f"{resource.cls.__name__}Patch", members, doc, bases=(Body,))


def _view(resource: Declared, version: ApiVersion) -> Any:
    values = [(field.name, _described(resource, field)) for field in resource.type.fields]
    is_v1 = version.is_replacement
    stamps: list[Any] = [("owner", str), ("created_at", NaiveTime if is_v1 else Time)]
    if not is_v1:
        stamps += [("updated_at", Time), ("version", Version)]
    noun = _article(resource)
    doc = f"{noun[0].upper()}{noun[1:]}, as version {version.name[1:]} shows it."
    if resource.type.declaration is not None and resource.doc:
        doc = resource.doc
    name = f"{resource.cls.__name__}{version.name.upper()}"
    return _defined(name, [("id", Id), *values, *stamps], doc, gc=False)


def _described(resource: Declared, field: Field) -> Any:
    """The type of a field in responses: without limits, but with its description."""
    hint = resource.strict[field.name]
    hints = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    found = {
        name: value
        for one in hints
        for meta in getattr(one, "__metadata__", ())
        for name in ("title", "description", "examples")
        if isinstance(meta, Meta) and (value := getattr(meta, name)) is not None
    }
    shown = fields.shown(field.type)
    return Annotated[shown, Meta(**found)] if found else shown


def _page(name: str, view: Any) -> Any:
    count = Annotated[int, Meta(ge=0, description="Of all pages; only with `count=true`.")]
    members = [
        ("items", list[view]),
        ("next", str | None),
        ("count", count | UnsetType, UNSET),
    ]
    return _defined(f"{name}Page", members, "A page of a list, and the URL of the next page.")


def _list_query(resource: Declared, columns: Mapping[str, Column]) -> Any:
    """The parameters of a list in the document, with a filter for each field."""
    members: list[Any] = []
    for number, column in enumerate(columns.values()):
        first, *others = column.operators
        if column.name == "version":
            continue
        is_plain = first == "eq" and column.name not in CONTROLS
        name = column.name if is_plain else f"{column.name}.{first}"
        further = ", ".join(f"`{column.name}.{one}`" for one in others)
        text = f"Only resources whose `{column.name}` {_PASSING[first]}."
        text += f" Other operators: {further}." if further else ""
        hint = (
            Annotated[str, Meta(description=text, examples=[column.example_of(first)])] | UnsetType
        )
        members.append((f"filter_{number}", hint, msgspec.field(name=name, default=UNSET)))
    name = f"{resource.cls.__name__}Query"
    return _defined(name, members, "The resources to list.", bases=(ListQuery,))


def _changes(resource: Declared) -> Any:
    by_name = {field.name: fields.shown(field.type) for field in resource.type.fields}
    members = [(name, by_name[name] | UnsetType, UNSET) for name in resource.names]
    return _defined(f"{resource.cls.__name__}Changes", members, "The new values of a change.")


def _entry(resource: Declared, changes: Any, *, is_live: bool = False) -> Any:
    verbs = (*_VERBS, *(_SHARING if resource.shareable else ()), *resource.actions)
    types: Any = Literal.__getitem__(tuple(f"{resource.kind}.{verb}" for verb in verbs))
    members: list[Any] = [
        ("position", Version),
        ("time", Time),
        ("type", types),
        ("actor", str),
        *([(resource.kind, Id)] if is_live else []),
        ("changes", changes),
        *([] if is_live else [("reason", _REASON, UNSET)]),
    ]
    name = f"{resource.cls.__name__}{'Change' if is_live else 'HistoryEntry'}"
    where = (
        "in the stream of a collection" if is_live else f"in the history of {_article(resource)}"
    )
    return _defined(name, members, f"A change {where}.", gc=False)
