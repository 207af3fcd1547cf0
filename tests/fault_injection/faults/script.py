"""The scripted workload: open, write, take a snapshot, close; the same calls in every run.

It runs in one thread, so that the n-th call of one run is the n-th of the next. What it does it
says first, line by line, over a socket: no fault on files can get at that.
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
from typing import ParamSpec, TypeVar

from eventapi.commands.command import Command
from eventapi.commands.items import CreateItem, DeleteItem, UpdateItem
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal, JournalConfig
from eventapi.testing.given import at, profile
from events.errors import EventapiError
from events.log.file.log import JsonlLog
from events.log.port import EventLog
from events.sealing import Keyring
from events.vault.sqlite import SqliteVault
from events.vocabulary.items import Content
from projections.replay import replay
from projections.snapshots import Snapshots

Say = Callable[[str], None]

P = ParamSpec("P")
T = TypeVar("T")

IMPATIENT = JournalConfig(lock_timeout=0.2, start_timeout=0.2)

WISHES: Sequence[Sequence[Command]] = (
    [RegisterUser(profile("ann"))],
    [CreateItem(1, Content("first"))],
    [UpdateItem(1, 1, title="first, changed")],
    [RegisterUser(profile("bob")), CreateItem(1, Content("of two"))],
    [DeleteItem(1, 1)],
    [CreateItem(1, Content("last"))],
)
AFTER: Sequence[Sequence[Command]] = (
    [RegisterUser(profile("eve"))],
    [CreateItem(1, Content("after"))],
)
"""What is wished of a directory that was worked on before."""


class InPlace(ThreadPoolExecutor):
    """An executor whose one thread is the caller's."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


class _Tracebacks(logging.Handler):
    """Tells of every traceback that a person would be shown."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self._say(f"traceback {record.exc_info[1]!r}")


def environment(seed: str) -> Runtime:
    """Clock and randomness that are the same every time."""
    ticks, draws = count(), count()

    def random_bytes(size: int) -> bytes:
        return hashlib.shake_128(f"{seed} {next(draws)}".encode()).digest(size)

    return Runtime(lambda: at(next(ticks)), lambda: SOURCE, random_bytes)


SOURCE = "00000000-0000-4000-8000-000000000001"


@asynccontextmanager
async def opened(directory: Path, seed: str) -> AsyncIterator[tuple[Journal, EventLog]]:
    """A journal over a directory, as the wiring makes it, in one thread."""
    asyncio.get_running_loop().set_default_executor(InPlace(1))
    log = JsonlLog(directory / "events.jsonl")
    log._thread = InPlace(1)
    try:
        vault = SqliteVault(directory / "vault.sqlite")
        try:
            snapshots = Snapshots(directory / "snapshots")
            journal = Journal(log, vault, environment(seed), IMPATIENT, snapshots=snapshots)
            await journal.start()
            try:
                yield journal, log
            finally:
                await journal.close()
        finally:
            await vault.close()
    finally:
        await log.close()


async def perform(directory: Path, wishes: Sequence[Sequence[Command]], say: Say) -> None:
    """Wish everything once, whatever comes of it, then take a snapshot."""
    logging.getLogger().handlers = [_Tracebacks(say)]
    seed = hashlib.sha256(repr(wishes).encode()).hexdigest()
    try:
        async with opened(directory, seed) as (journal, log):
            say("started")
            for number, wish in enumerate(wishes):
                await _wish(journal, f"{seed[:8]}-{number}", wish, say)
            await _snapshot(directory, log, say)
    except EventapiError as error:
        say(f"ended {type(error).__name__} {error}")
    except Exception as error:
        say(f"traceback {error!r}")
    else:
        say("closed")


async def _wish(journal: Journal, name: str, wish: Sequence[Command], say: Say) -> None:
    say(f"sent {name} {len(wish)}")
    try:
        outcomes = await journal.execute_all(wish, name)
    except EventapiError as error:
        say(f"refused {name} {type(error).__name__}")
    else:
        positions = " ".join(str(outcome.record.position) for outcome in outcomes)
        say(f"acked {name} {positions}")


async def _snapshot(directory: Path, log: EventLog, say: Say) -> None:
    """As `eventapi snapshot` does it; it may fail, in one line."""
    snapshots, keyring = Snapshots(directory / "snapshots"), Keyring()
    try:
        vault = SqliteVault(directory / "vault.sqlite")
        try:
            with snapshots.locked():
                state = await replay(log, keyring, vault, snapshots=snapshots)
                snapshots.write(state, keyring, environment("snapshot").random_bytes)
        finally:
            await vault.close()
    except (EventapiError, OSError) as error:
        say(f"unsnapped {type(error).__name__}")
