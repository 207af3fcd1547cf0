"""Hypothesis strategies that draw declarations: classes of resources themselves."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Any, Final, Literal

import msgspec
from hypothesis import strategies as st
from msgspec import Meta, structs

from eventapi.resources import fields as types
from eventapi.resources.declaration import Access, Clear, Global, Resource, action
from eventapi.testing.values import values_of
from events.errors import ActionRefused

_KINDS: Final = ("Invoice", "Task", "HTTPLog", "Note2")
_FIELDS: Final = (
    *("name", "number", "kind", "type", "subject", "values", "personal", "sealed", "clear"),
    *("content", "user", "can", "limit", "time", "a", "b2", "long_name"),
)
"""Names, many of which something else in the log or in an event has, too."""


class Color(enum.Enum):
    """An enumeration of texts."""

    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    LOW = 1
    HIGH = 9


class Address(msgspec.Struct, frozen=True):
    """A value inside another one."""

    street: str
    floor: Annotated[int, Meta(ge=0, le=99)] = 0
    since: dt.datetime | None = None


_SIMPLE: Final[tuple[Any, ...]] = (
    *(bool, int, float, str, decimal.Decimal, dt.date, dt.datetime, uuid.UUID, Color, Level),
    Literal["small", "large"],
    Literal[1, 2, 3],
    Annotated[int, Meta(ge=-3, lt=4)],
    Annotated[int, Meta(multiple_of=5)],
    Annotated[float, Meta(gt=0, le=1)],
    Annotated[str, Meta(min_length=1, max_length=3)],
    Annotated[str, Meta(pattern=r"^[A-Z0-9-]{1,4}$")],
)
# Typed so, because a type checker reads only types that stand in the source.
_List: Any = list
_Dict: Any = dict
_Annotated: Any = Annotated
_Clear: Any = Clear
_ResourceClass: Any = type(Resource)

_simple: Final[st.SearchStrategy[Any]] = st.sampled_from(_SIMPLE)
_hints: Final[st.SearchStrategy[Any]] = st.one_of(
    _simple,
    _simple.map(lambda hint: hint | None),
    _simple.map(lambda hint: _List[hint]),
    _simple.map(lambda hint: _Annotated[_List[hint], Meta(min_length=1, max_length=3)]),
    _simple.map(lambda hint: _Dict[str, hint]),
    st.sampled_from([Address, Address | None, list[Address], dict[str, Address]]),
)
_accesses: Final = st.builds(
    Access,
    read=st.sampled_from(("owner", "users", "public", "auditor")),
    write=st.sampled_from(("owner", "owner", "operator")),
)


@st.composite
def declarations(draw: st.DrawFn, *, max_fields: int = 6) -> type[Resource]:
    """Classes of resources: fields of all types, rules, access, maybe an action.

    The action ``change`` sets a field to its argument ``value``, and refuses the value it has.
    """
    name = draw(st.sampled_from(_KINDS))
    names = draw(
        st.lists(st.sampled_from(_FIELDS), min_size=1, max_size=max_fields, unique=True), "fields"
    )
    hints = {field: draw(_hints) for field in names}
    annotations = {
        field: _Clear[hint] if draw(st.booleans()) else hint for field, hint in hints.items()
    }
    namespace: dict[str, Any] = {
        "__module__": __name__,
        "__qualname__": name,
        "__annotations__": annotations,
        "__doc__": "A drawn declaration.",
        "unique": draw(_uniques(hints)),
        "access": draw(_accesses),
        "shareable": draw(st.sampled_from((True, True, False))),
        **draw(_defaults(hints)),
    }
    if draw(st.booleans()):
        field = draw(st.sampled_from(names))
        namespace["change"] = _change(field, hints[field])
    cls: type[Resource] = _ResourceClass(name, (Resource,), namespace)
    return cls


@st.composite
def _defaults(draw: st.DrawFn, hints: dict[str, Any]) -> dict[str, Any]:
    """Defaults of some of the fields."""
    found = {}
    for field, hint in hints.items():
        if draw(st.booleans()):
            value = draw(values_of(types.strict(hint)))
            is_mutable = isinstance(value, list | dict)
            found[field] = msgspec.field(default_factory=value.copy) if is_mutable else value
    return found


@st.composite
def _uniques(draw: st.DrawFn, hints: dict[str, Any]) -> tuple[Any, ...]:
    """Up to two rules about unique fields."""
    possible = [field for field, hint in hints.items() if types.hashable(types.plain(hint))]
    if not possible:
        return ()
    fields = st.lists(st.sampled_from(possible), min_size=1, max_size=2, unique=True)
    rules = st.one_of(
        st.sampled_from(possible),
        fields.map(tuple),
        fields.map(lambda names: Global(*names)),
    )
    return tuple(draw(st.lists(rules, max_size=2)))


def _change(field: str, hint: Any) -> Any:
    def change(self: Any, *, value: Any) -> Any:
        """Give a field another value."""
        if getattr(self, field) == value:
            raise ActionRefused(f"{field} has this value already")
        return structs.replace(self, **{field: value})

    change.__annotations__ = {"value": hint}
    return action(change)
