"""Parse the query of a list of resources."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from eventapi.http.decoding import Texts, from_texts, query_texts
from eventapi.http.schemas.requests import ListQuery, ListQueryV1
from eventapi.http.schemas.resources import Shape
from eventapi.queries.selection import CONTROLS, Selection
from eventapi.queries.selection_parsing import parse_selection
from events.errors import Fault, Invalid

_PAGE = 100
"""Resources on a page if `limit` is not given."""


class Listing(msgspec.Struct, frozen=True):
    """A list that a client asks for; ``behind`` is the sort key of its cursor, if any."""

    shape: Shape
    selection: Selection
    texts: Texts
    limit: int
    after: str | None = None
    behind: Any = None
    q: str | None = None
    as_of: str | None = None
    fields: Sequence[str] | None = None
    count: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the list has no pages, as in version 1 without a limit."""
        return self.shape.version.lists_all and "limit" not in self.texts

    @property
    def is_filtered(self) -> bool:
        """Whether resources are left out."""
        return bool(self.selection.filters or self.q)

    @property
    def compared(self) -> frozenset[str]:
        """The columns that decide which resources are on a page."""
        selection = self.selection
        filters = {one.column for one in selection.filters}
        sorts = {one.column for one in selection.sorts}
        return frozenset(filters.union(sorts, self.shape.text_fields if self.q else ()))

    def behind_cursor(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those of ascending numbers that are behind the cursor, in the order of the list."""
        if self.selection.descending:
            return numbers[: None if self.after is None else bisect_left(numbers, int(self.after))][
                ::-1
            ]
        return numbers[0 if self.after is None else bisect_right(numbers, int(self.after)) :]


def parse_listing(shape: Shape, query_string: bytes) -> Listing:
    """The list of a query; raises `Invalid` with every fault."""
    texts = query_texts(query_string)
    if shape.version.is_replacement:
        query: Any = from_texts(texts, ListQueryV1, "query")
        selection = parse_selection({}, {name: texts[name] for name in texts}, [])
        after: Any = UNSET if query.after is UNSET else str(query.after)
        return _listing(shape, selection, texts, query, after, None)
    faults: list[Fault] = []
    selection = parse_selection(shape.columns, texts, faults)
    for name, values in texts.items():
        if name not in CONTROLS and len(values) > 1:
            faults.append(Fault(f"/{name}", "is given more than once"))
    query = ListQuery()
    try:
        controls = {name: values for name, values in texts.items() if name in CONTROLS}
        query = from_texts(controls, ListQuery, "query")
    except Invalid as error:
        faults += error.faults
    fields = _fields(shape, texts.get("fields", [UNSET])[-1], faults)
    try:
        if not faults:
            return _listing(shape, selection, texts, query, query.after, fields)
    except ValueError as error:
        faults.append(Fault("/after", str(error)))
    raise Invalid(*(msgspec.structs.replace(fault, where="query") for fault in faults))


def _listing(  # noqa: PLR0917 - the parts of a query
    shape: Shape,
    selection: Selection,
    texts: Texts,
    query: Any,
    after: str | UnsetType,
    fields: Sequence[str] | None,
) -> Listing:
    return Listing(
        shape,
        selection,
        texts,
        _PAGE if query.limit is UNSET else query.limit,
        after or None,
        None if after is UNSET else selection.key_of_cursor(after),
        query.q or None,
        None if query.as_of is UNSET else query.as_of,
        fields,
        getattr(query, "count", UNSET) == "true",
    )


def _fields(shape: Shape, text: str | UnsetType, faults: list[Fault]) -> Sequence[str] | None:
    if text is UNSET:
        return None
    names = text.split(",")
    known = shape.view.__struct_fields__
    faults += [
        Fault("/fields", f"has {name!r}, which is no field") for name in names if name not in known
    ]
    return list(dict.fromkeys(names))
