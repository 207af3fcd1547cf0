"""``eventapi serve --accept-clock``: accept the clock of this machine."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec

from eventapi.bootstrap.paths import clock_path
from eventapi.bootstrap.storage import open_database, open_log
from eventapi.configuration.settings import Settings
from eventapi.journal.clock import Reference, SystemUptime, boot_id, system_now, write_reference
from eventapi.values.times import seconds_of
from events.log.port import EventLog


class _Line(msgspec.Struct, frozen=True):
    time: str


async def accept_clock(settings: Settings, patience: float) -> str:
    """Store the current clock as the reference; return a sentence about the result.

    If the last event is later than the clock, that difference is accepted, too. Raises the errors
    of `open_log`, and `OSError`.
    """
    async with AsyncExitStack() as stack:
        if settings.is_database:
            log: EventLog
            log, _ = await stack.enter_async_context(open_database(settings, patience))
        else:
            log = await stack.enter_async_context(open_log(settings))
        last = await _last_time(log)
    now = system_now()
    is_ahead = last > now
    epoch = seconds_of(now) - SystemUptime()()
    write_reference(clock_path(settings), Reference(boot_id(), epoch, last if is_ahead else ""))
    if is_ahead:
        return (
            f"the clock is accepted: it is {now}; events have the time {last} until it is past that"
        )
    return f"the clock is accepted: it is {now}"


async def _last_time(log: EventLog) -> str:
    last = ""
    async for lines in log.read(log.position - 1):
        last = msgspec.json.decode(lines[-1], type=_Line).time
    return last
