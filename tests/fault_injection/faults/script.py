"""The scripted workload: open, write, close segments, take a snapshot, close.

It runs in one thread, so that the n-th call of one run is the n-th of the next. It reports what it
does line by line over a socket, which faults on files cannot affect.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from eventapi.commands.command import Command
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.config import JournalConfig
from eventapi.journal.journal import Journal
from eventapi.journal.origin import Origin
from eventapi.testing.given import at, profile
from eventapi.testing.items import ITEMS, Content, create_item, delete_item, update_item
from events.errors import EventapiError
from events.io.threads import WorkerThread
from events.log.file import closed, closing
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.port import EventLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from projections.replay import replay
from projections.snapshots import Snapshots

Report = Callable[[str], None]

P = ParamSpec("P")
T = TypeVar("T")

SHORT_TIMEOUTS = JournalConfig(lock_timeout=0.2, start_timeout=0.2)

FIRST_WRITES: Sequence[Sequence[Command]] = (
    [RegisterUser(profile("ann"))],
    [create_item(1, Content("first"))],
    [update_item(1, 1, title="first, changed")],
    [RegisterUser(profile("bob")), create_item(1, Content("of two"))],
    [delete_item(1, 1)],
    [create_item(1, Content("last"))],
)
LATER_WRITES: Sequence[Sequence[Command]] = (
    [RegisterUser(profile("eve"))],
    [create_item(1, Content("after"))],
)
"""The writes to a directory that an earlier run has used."""

CLOSING: Sequence[Command] = ()
"""In place of a write, the closing of all full segments."""

LINES_PER_FRAME = 2
"""Lines of a tile: so few that the writes fill segments."""


def with_closings(writes: Sequence[Sequence[Command]]) -> Sequence[Sequence[Command]]:
    """Close full segments after every second write."""
    found: list[Sequence[Command]] = []
    for number, commands in enumerate(writes):
        found += [commands, CLOSING] if number % 2 else [commands]
    return found


class InlineExecutor(ThreadPoolExecutor):
    """An executor that runs jobs in the calling thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class InlineThread(WorkerThread):
    """A thread that runs its work in the calling thread."""

    def run(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(InlineExecutor(1), work, *arguments)


class _Tracebacks(logging.Handler):
    """Reports every traceback that would be logged."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._report(f"traceback {record.exc_info[1]!r}")


def deterministic_runtime(seed: str) -> Runtime:
    """A clock and random bytes that are the same in every run."""
    ticks, draws = count(), count()

    def random_bytes(size: int) -> bytes:
        return hashlib.shake_128(f"{seed} {next(draws)}".encode()).digest(size)

    return Runtime(lambda: at(next(ticks)), lambda: SOURCE, random_bytes)


SOURCE = "00000000-0000-4000-8000-000000000001"


@asynccontextmanager
async def open_journal(directory: Path, seed: str) -> AsyncIterator[tuple[Journal, JsonlLog]]:
    """Open a journal over a directory, as the server does, but in one thread."""
    asyncio.get_running_loop().set_default_executor(InlineExecutor(1))
    log = JsonlLog(directory / "events.jsonl")
    log._thread = InlineThread("log")
    try:
        vault = SqliteVault(directory / "vault.sqlite")
        try:
            snapshots = Snapshots(directory / "snapshots", ITEMS)
            journal = Journal(
                log, vault, ITEMS, deterministic_runtime(seed), SHORT_TIMEOUTS, snapshots=snapshots
            )
            await journal.start()
            try:
                yield journal, log
            finally:
                await journal.close()
        finally:
            await vault.close()
    finally:
        await log.close()


async def perform(directory: Path, writes: Sequence[Sequence[Command]], report: Report) -> None:
    """Send every write once, whatever its outcome, then take a snapshot."""
    logging.getLogger().handlers = [_Tracebacks(report)]
    seed = hashlib.sha256(repr(writes).encode()).hexdigest()
    try:
        async with open_journal(directory, seed) as (journal, log):
            report("started")
            for number, commands in enumerate(writes):
                if commands:
                    await _write(journal, f"{seed[:8]}-{number}", commands, report)
                else:
                    await _close_segments(log, report)
            await _snapshot(directory, log, report)
    except EventapiError as error:
        report(f"ended {type(error).__name__} {error}")
    except Exception as error:
        report(f"traceback {error!r}")
    else:
        report("closed")


async def _write(journal: Journal, name: str, commands: Sequence[Command], report: Report) -> None:
    report(f"sent {name} {len(commands)}")
    try:
        outcomes = await journal.execute_all(commands, Origin(name))
    except EventapiError as error:
        report(f"refused {name} {type(error).__name__}")
    else:
        positions = " ".join(str(outcome.record.position) for outcome in outcomes)
        report(f"acked {name} {positions}")


async def _close_segments(log: JsonlLog, report: Report) -> None:
    """Close segments as the task of a server does; failures are reported."""
    try:
        has_closed = await close_segments(log, 1, SHORT_TIMEOUTS.lock_timeout)
    except (EventapiError, OSError) as error:
        report(f"closing_failed {type(error).__name__}")
    else:
        report(f"closing {has_closed}")


def shorten_segments() -> None:
    """Let short logs have segments, and make the same calls in every closing of this process."""
    closed.LINES_PER_FRAME = LINES_PER_FRAME  # type: ignore[misc]  # the process ends with the run
    closing._paced = lambda parts, stop: iter(parts)


async def _snapshot(directory: Path, log: EventLog, report: Report) -> None:
    """Take a snapshot as `eventapi snapshot` does; failures are reported."""
    snapshots, keyring = Snapshots(directory / "snapshots", ITEMS), Keyring()
    try:
        vault = SqliteVault(directory / "vault.sqlite")
        try:
            with snapshots.locked():
                state = await replay(log, keyring, vault, ITEMS, snapshots=snapshots)
                snapshots.write(state, keyring, deterministic_runtime("snapshot").random_bytes)
        finally:
            await vault.close()
    except (EventapiError, OSError) as error:
        report(f"snapshot_failed {type(error).__name__}")
