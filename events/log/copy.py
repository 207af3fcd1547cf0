"""Copy a log into another one, of any two adapters."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from events.codec import check_links
from events.errors import DivergedLog
from events.log.port import Appender, EventLog, Head
from events.record import START, Record

_BYTES_PER_APPEND = 1 << 22
"""The approximate size of one append: larger ones wait less often for the disk."""


async def copy(
    source: EventLog,
    target: EventLog,
    upto: int,
    *,
    timeout: float,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Copy the source up to a position; return how many events were new.

    A target that already has the first events is completed, so an interrupted copy can be started
    again. Lines are copied byte for byte and checked against the chain of hashes. ``progress`` is
    called with the position reached; ``timeout`` limits the wait for the target's lock, in seconds.
    Raises `DivergedLog` if the target is not a prefix of the source, and what the port raises.
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
    """Return the record of the source, by position and hash, at which a target ends.

    The hash covers all events before it. Raises `DivergedLog` if the target is not a prefix of the
    source up to the position.
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
