"""Pairs of parameters that are moments of the log: positions or RFC 3339 times."""

from __future__ import annotations

from eventapi.values.times import parse_point
from events.errors import Fault, Invalid


def point_of(name: str, text: str) -> int | str:
    """The position or the time, in a record's form, of a parameter; raises `Invalid`."""
    try:
        return parse_point(text)
    except ValueError as error:
        raise Invalid(Fault(f"/{name}", str(error), where="query")) from None


def check_order(first: str, one: int | str | None, second: str, other: int | str | None) -> None:
    """Raise `Invalid` for two comparable points of which the second is earlier.

    A position and a time are not compared. ``first`` and ``second`` are the names of the parameters.
    """
    numbers = isinstance(one, int) and isinstance(other, int) and one > other
    times = isinstance(one, str) and isinstance(other, str) and one > other
    if numbers or times:
        raise Invalid(Fault(f"/{second}", f"must not be before {first}", where="query"))
