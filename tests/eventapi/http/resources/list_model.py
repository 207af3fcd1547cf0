"""A plain model of lists: rows are dicts, a list is a comprehension and a few sorts."""

from __future__ import annotations

import datetime as dt
import operator
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

Row = Mapping[str, Any]

VALUES: Final[Mapping[str, Sequence[Any]]] = {
    "text": ["", "a", "A b", "ä", "aab", "b" * 300, "b" * 300],
    "flag": [True, False],
    "whole": [-1, 0, 1, 2**63 - 1],
    "real": [-1.5, 0.0, 2.0, 1e300],
    "money": ["1.10", "1.1", "-3", "20", "1E+30"],
    "day": ["2026-01-01", "2026-02-28", "0001-01-01", "9999-12-31"],
    "moment": ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1969-12-31T23:59:59.5Z"],
    "key": ["12345678-1234-5678-1234-567812345678", "00000000-0000-0000-0000-000000000000"],
    "color": ["red", "blue"],
    "size": ["s", "m", "l"],
    "maybe_text": [None, "", "b", "ab"],
    "maybe_whole": [None, -1, 0, 7],
    "maybe_day": [None, "2026-01-01", "2027-01-01"],
    "words": [[], ["a"], ["a", "b"]],
    "limit": [0, 3],
    "sort": ["", "id"],
    "q": [True, False],
    "place": [None, {"town": "Ulm"}],
}
"""Few values of each field, so that rows are equal in some of them."""

_PARSE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "money": Decimal,
    "day": dt.date.fromisoformat,
    "moment": dt.datetime.fromisoformat,
    "key": uuid.UUID,
    "maybe_day": dt.date.fromisoformat,
}
_TEXTS: Final = ("text", "maybe_text", "sort")
_ORDERED: Final = (
    *("text", "whole", "real", "money", "day", "moment", "maybe_text", "maybe_whole", "maybe_day"),
    *("limit", "sort", "id"),
)
SORTED: Final = (*_ORDERED, "flag", "q", "created_at")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "prefix": str.startswith,
    "contains": operator.contains,
}
rows = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})


class Filter(msgspec.Struct, frozen=True):
    """One filter: a field, an operator, and the value as JSON has it."""

    name: str
    operator: str
    value: Any

    @property
    def parameter(self) -> tuple[str, str]:
        """The filter as a parameter of a query."""
        is_plain = self.operator == "eq" and self.name not in {"limit", "sort", "q"}
        key = self.name if is_plain else f"{self.name}.{self.operator}"
        values = self.value if isinstance(self.value, list) else [self.value]
        return key, ",".join(_text(one) for one in values)

    def matches(self, row: Row) -> bool:
        """Whether a row passes."""
        value = _typed(self.name, row[self.name])
        if self.operator == "null":
            return (value is None) is self.value
        if self.operator == "in":
            return value in [_typed(self.name, one) for one in self.value]
        if self.name == "words":
            return self.value in value
        wanted = _typed(self.name, self.value)
        if self.operator in {"eq", "ne"}:
            return (value == wanted) is (self.operator == "eq")
        return value is not None and _COMPARE[self.operator](value, wanted)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(name: str, value: Any) -> Any:
    return value if value is None or name not in _PARSE else _PARSE[name](value)


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    """A filter that its field has."""
    name = draw(st.sampled_from([*VALUES, "id"]))
    if name in {"words", "place"}:
        if name == "words" and draw(st.booleans()):
            return Filter(name, "contains", draw(st.sampled_from(["a", "b", "c"])))
        return Filter(name, "null", draw(st.booleans()))
    possible = ["eq", "ne", "in", "null"]
    possible += ["lt", "le", "gt", "ge"] if name in _ORDERED else []
    possible += ["contains", "prefix"] if name in _TEXTS else []
    chosen = draw(st.sampled_from(possible))
    if chosen == "null":
        return Filter(name, chosen, draw(st.booleans()))
    known = VALUES.get(name, [1, 5, 20])
    value = st.sampled_from([one for one in known if one is not None])
    return Filter(
        name, chosen, draw(st.lists(value, min_size=1, max_size=3) if chosen == "in" else value)
    )


class Wanted(msgspec.Struct, frozen=True):
    """A list as a client wants it."""

    filters: Sequence[Filter]
    sorts: Sequence[tuple[str, bool]]
    q: str | None
    limit: int
    count: bool
    fields: Sequence[str] | None

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the request."""
        found = dict(one.parameter for one in self.filters)
        found["limit"] = str(self.limit)
        if self.sorts:
            found["sort"] = ",".join(f"-{name}" if down else name for name, down in self.sorts)
        if self.q is not None:
            found["q"] = self.q
        if self.count:
            found["count"] = "true"
        if self.fields is not None:
            found["fields"] = ",".join(self.fields)
        return found

    def of(self, every: Sequence[Row]) -> list[Row]:
        """The rows of the list, in its order."""
        found = [row for row in every if all(one.matches(row) for one in self.filters)]
        if self.q:
            needle = self.q.casefold()
            found = [
                row for row in found if any(needle in (row[one] or "").casefold() for one in _TEXTS)
            ]
        for name, down in reversed([*self.sorts, ("id", False)]):
            found.sort(key=lambda row: _order(name, row[name]), reverse=down)
        return found


def _order(name: str, value: Any) -> tuple[bool, Any]:
    return value is None, 0 if value is None else _typed(name, value)


wanted_lists = st.builds(
    Wanted,
    # A parameter may be given once.
    st.lists(filters(), max_size=2, unique_by=lambda one: one.parameter[0]),
    st.lists(
        st.tuples(st.sampled_from(SORTED), st.booleans()),
        max_size=3,
        unique_by=lambda sort: sort[0],
    ),
    st.none() | st.sampled_from(["", "A", "Ä", "bbb", "no such text"]),
    st.integers(1, 4),
    st.booleans(),
    st.none() | st.just(["id", "text"]) | st.just(["version", "id", "maybe_day"]),
)
