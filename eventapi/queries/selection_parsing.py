"""Make a selection from the texts of a query, and collect all faults.

::

    cents.ge=100&due.null=false&sort=-due,id&q=acme
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from operator import contains, eq, ge, gt, le, lt, ne
from typing import Any, Final, get_args, get_origin

import msgspec

from eventapi.queries.selection import (
    CONTROLS,
    Column,
    Filter,
    Selection,
    Sort,
    Texts,
    without_none,
)
from eventapi.values.explanations import explain
from events.errors import Fault

_MAX_SORTS: Final = 8
_COMPARING: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": eq,
    "ne": ne,
    "lt": lt,
    "le": le,
    "gt": gt,
    "ge": ge,
    "contains": contains,
    "prefix": str.startswith,
}


def parse_selection(columns: Mapping[str, Column], texts: Texts, faults: list[Fault]) -> Selection:
    """The selection of a query; what is wrong is added to ``faults``."""
    filters = [
        found
        for parameter, values in texts.items()
        if parameter not in CONTROLS
        for text in values[-1:]
        if (found := _filter(columns, parameter, text, faults)) is not None
    ]
    order = texts.get("sort", [""])[-1]
    sorts = _sorts(columns, order, faults) if order or "sort" in texts else []
    descending = texts.get("order", ["asc"])[-1] == "desc"
    if "sort" in texts and descending:  # Clients may send `asc`, which is the default.
        faults.append(_fault("order", "must be asc beside sort; put - before a field of sort"))
    if not sorts:
        return Selection(columns, filters, (Sort("id", descending),))
    if all(one.column != "id" for one in sorts):
        sorts.append(Sort("id"))
    # Nothing behind the number decides anything.
    number = next(place for place, one in enumerate(sorts) if one.column == "id")
    return Selection(columns, filters, tuple(sorts[: number + 1]), order)


def _sorts(columns: Mapping[str, Column], order: str, faults: list[Fault]) -> list[Sort]:
    found: list[Sort] = []
    names = order.split(",")
    if len(names) > _MAX_SORTS:
        faults.append(_fault("sort", f"must name at most {_MAX_SORTS} fields"))
        return []
    for name in names:
        column = columns.get(name.removeprefix("-"))
        if column is None or not (column.is_ordered or column.type is bool):
            faults.append(_fault("sort", f"cannot be by {name.removeprefix('-')!r}"))
        else:
            found.append(Sort(column.name, name.startswith("-")))
    return found


def _filter(
    columns: Mapping[str, Column], parameter: str, text: str, faults: list[Fault]
) -> Filter | None:
    name, _, operator = parameter.partition(".")
    column = columns.get(name)
    if column is None or name == "version":
        faults.append(
            Fault(f"/{parameter}", "is not a parameter of this request", "extra_forbidden")
        )
        return None
    operator = operator or ("eq" if "." not in parameter else "")
    if operator not in column.operators:
        possible = ", ".join(f".{one}" for one in column.operators if one != "eq")
        faults.append(_fault(parameter, f"has no such operator; possible are {possible}"))
        return None
    try:
        return Filter(name, _test(column, operator, text))
    except ValueError as error:
        faults.append(_fault(parameter, _plain(error, column)))
        return None


def _test(column: Column, operator: str, text: str) -> Callable[[Any], bool]:
    """The test of a value; raises `ValueError` for a text of another type."""
    if operator == "null":
        if text not in {"true", "false"}:
            raise ValueError("must be true or false")
        is_null = text == "true"
        return lambda value: (value is None) is is_null
    if operator == "in":
        wanted_values = frozenset(map(column.parse, text.split(",")))
        return lambda value: value in wanted_values
    if operator == "contains" and get_origin(column.type) is list:
        (inner,) = get_args(column.type)
        element = Column(column.name, without_none(inner)).parse(text)
        return lambda value: value is not None and element in value
    wanted = column.parse(text)
    compare = _COMPARING[operator]
    if operator in {"eq", "ne"}:
        return lambda value: compare(value, wanted)
    return lambda value: value is not None and compare(value, wanted)


def _plain(error: Exception, column: Column) -> str:
    if column.is_time or column.type is dt.datetime:
        return str(error) if str(error).startswith("must") else "must be an RFC 3339 time"
    if isinstance(error, msgspec.ValidationError):
        return explain(error, column.type, is_text=True).detail
    return str(error)


def _fault(parameter: str, detail: str) -> Fault:
    return Fault(f"/{parameter}", detail)
