"""Check the hash chain of a log's lines, and nothing else of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from events.codec import check_links
from events.log.port import EventLog, Head
from events.record import Record

LINES_PER_TURN: Final = 64
BYTES_PER_TURN: Final = 256 * 1024
"""The most that is hashed before other tasks run: 0.4 ms of CPU, for the chain and the tree."""


async def follow_chain(
    log: EventLog, last: Record, upto: int
) -> AsyncIterator[tuple[Record, Sequence[bytes]]]:
    """Check the lines after the record ``last`` up to a position, a few at a time.

    Yields position, hash and end of the last line that is checked, as `check_links` does, and the
    lines that were checked since. Other tasks run between two of them. Raises `DamagedLog`, and the
    errors of `EventLog.read`.
    """
    async for lines in log.read(last.position, upto):
        for turn in _turns(lines):
            last = check_links(turn, last)
            yield last, turn
            await asyncio.sleep(0)


def _turns(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Parts of lines that are hashed in one turn, each of one line at least."""
    start = size = 0
    for end, line in enumerate(lines):
        size += len(line)
        if end - start == LINES_PER_TURN or (size > BYTES_PER_TURN and end > start):
            yield lines[start:end]
            start, size = end, len(line)
    if lines:
        yield lines[start:]


async def ends_at(log: EventLog, head: Head) -> bool:
    """Whether the line at a head's position states its hash; reads only that line.

    A hash covers all lines before its own. So the log up to there is the one that had this head, or
    its chain is broken; `follow_chain` finds out. Raises the errors of `EventLog.read`.
    """
    lines = [line async for run in log.read(head.position - 1, head.position) for line in run]
    return bool(lines) and head.matches(lines[-1])
