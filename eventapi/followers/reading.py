"""Read the lines of the log that a follower wants."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from eventapi.followers.port import Follower
from eventapi.queries.subscriptions import LogWatcher, kind_of
from projections.state import State

LINES_PER_READ: Final = 1_000

BYTES_PER_READ: Final = 1 << 17
"""How much is kept until it is handled, which may take days; a server may have 100 webhooks."""


class Wanted(msgspec.Struct, frozen=True):
    """A line to handle, and the one before it; that of the first line is empty."""

    position: int
    line: bytes
    previous: bytes


async def read_wanted(
    watcher: LogWatcher, follower: Follower, after: int, state: State
) -> tuple[Sequence[Wanted], int, bytes]:
    """Read the next lines; return the wanted ones, and position and text of the last.

    ``after`` is a position before that of the state. Nothing is handled meanwhile, because a retry for
    hours must not keep a read open. The read ends after `LINES_PER_READ`, and earlier if the wanted
    lines have `BYTES_PER_READ`.
    """
    wanted: list[Wanted] = []
    size, end, last = 0, after, b""
    upto = min(state.position, after + LINES_PER_READ)
    async with aclosing(watcher.lines(max(after - 1, 0), upto)) as runs:
        async for run in runs:
            for position, line in run:
                if position > after and follower.wants(kind_of(line), state):
                    wanted.append(Wanted(position, line, last))
                    size += len(line) + len(last)
                end, last = position, line
                if size >= BYTES_PER_READ:
                    return wanted, end, last
    return wanted, end, last
