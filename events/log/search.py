"""Find a time in a log, and read a log backwards, without reading all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from events.codec import check_link, parse, stated_hash
from events.errors import DamagedLog
from events.log.port import EventLog
from events.record import START

_LINES_PER_READ: Final = 512
"""Lines of one read backwards, which are in memory at once."""


async def last_position(log: EventLog, upto: int, fits: Callable[[str], bool]) -> int:
    """The last position up to ``upto`` whose time fits; 0 if none does.

    ``fits`` gets a record's time, and must be true of all times before one that fits. Times in a log
    never decrease, so a binary search finds the position. Raises `DamagedLog`.
    """
    low, high = 0, upto
    while low < high:
        middle = (low + high + 1) // 2
        lines = [line async for run in log.read(max(middle - 2, 0), middle) for line in run]
        try:
            # The time of a damaged line would lead to a wrong position.
            check_link(lines[-1], stated_hash(lines[0]) if middle > 1 else START.hash)
            time = parse(lines[-1]).time
        except ValueError as error:
            raise DamagedLog(str(error), position=middle, offset=0) from None
        low, high = (middle, high) if fits(time) else (low, middle - 1)
    return low


async def read_backwards(
    log: EventLog, after: int, upto: int
) -> AsyncIterator[list[tuple[int, bytes]]]:
    """The lines after a position, newest first, each with its position, in runs."""
    for last in range(upto, after, -_LINES_PER_READ):
        first = max(last - _LINES_PER_READ, after)
        lines = [line async for run in log.read(first, last) for line in run]
        yield [(first + at, lines[at - 1]) for at in range(len(lines), 0, -1)]
