"""Copying a log into another, whatever the two are kept in."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from events.codec import check_links
from events.errors import DivergedLog
from events.log.port import Appender, EventLog, Head
from events.record import START, Record

_BYTES_PER_APPEND = 1 << 22
"""About so much is appended at once: each append waits for the disk."""


async def copy(
    source: EventLog,
    target: EventLog,
    upto: int,
    *,
    timeout: float,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Bring the target to what the source is up to a position, byte for byte; how many were new.

    A target with a part of it goes on from there, so who was interrupted begins again, and the
    chain is followed on the way. ``progress`` is called with the position reached. Raises
    `DivergedLog` where the target is no such part, and what the port raises; the lock of the target
    is waited for so many seconds.
    """
    async with target.exclusive(timeout) as appender:
        before = appender.head
        last = await resume_point(source, before, upto)
        run: list[bytes] = []
        async for lines in source.read(before.position, upto):
            run += lines
            if sum(map(len, run)) >= _BYTES_PER_APPEND:
                last = await _append(appender, run, last)
                run = []
                if progress is not None:
                    progress(last.position)
        if run:
            last = await _append(appender, run, last)
            if progress is not None:
                progress(last.position)
        return upto - before.position


async def resume_point(source: EventLog, head: Head, upto: int) -> Record:
    """The place in the source where a target ends; the chain tells for all before it.

    Raises `DivergedLog` where the target is no part of what the source is up to a position.
    """
    if head.position > upto:
        raise DivergedLog(f"the copy has {head.position:,} events, the log only {upto:,}")
    if head.position == 0:
        return START
    ((line,),) = [lines async for lines in source.read(head.position - 1, head.position)]
    if not head.matches(line):
        raise DivergedLog(f"the copy is of another log: its event {head.position:,} is another one")
    return replace(START, position=head.position, hash=head.hash)


async def _append(appender: Appender, lines: list[bytes], last: Record) -> Record:
    last = check_links(lines, last)
    await appender.append(lines, Head(last.position, last.hash))
    return last
