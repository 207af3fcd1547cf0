"""What the processes of a simulated machine do: serve clients, take snapshots, die, start again."""

from __future__ import annotations

import asyncio
import pathlib
import time
from typing import cast
from uuid import UUID

from eventapi.configuration.settings import Settings
from eventapi.journal.batch import CommandResult, Runtime
from eventapi.journal.journal import Journal, JournalConfig
from eventapi.tasks.snapshots import run_snapshots
from events.errors import (
    ConfigurationError,
    DamagedLog,
    EventapiError,
    LogError,
    NotFound,
    Overloaded,
    Refusal,
    RequestInProgress,
    StorageFull,
    Unauthenticated,
)
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.fault_injection.simulation.calls import WALL_CLOCK, Calls
from tests.fault_injection.simulation.disk import File
from tests.fault_injection.simulation.ledger import LOG, SNAPSHOTS, Ledger, ViolationError, Wish
from tests.fault_injection.simulation.loop import new_loop
from tests.fault_injection.simulation.machine import Machine
from tests.fault_injection.simulation.paths import Path
from tests.fault_injection.simulation.vault import SimulatedVault, VaultDownError
from tests.fault_injection.simulation.wishing import Erase, Wishing


class World:
    """The clients' side of one machine."""

    def __init__(self, machine: Machine, calls: Calls, wishes: int, processes: int) -> None:
        random = machine.random
        self.machine = machine
        self.ledger = Ledger(machine)
        self.vault = SimulatedVault(machine)
        self.snapshots = Snapshots(cast("pathlib.Path", Path(calls, *SNAPSHOTS)))
        self.wishing = Wishing(random, self.ledger)
        self.failures: list[Exception] = []
        self._calls = calls
        self._random = random
        self._left = wishes
        self._processes = processes
        self._limits = JournalConfig(batch=random.choice((1, 3, 16)), lock_timeout=5.0)
        self._clients = random.choice((1, 3, 6))
        self._snapshot_every = random.choice((0, 3, 12))
        self._hang_ups = random.choice((0.0, 0.0, 0.1))
        self._tear_downs = random.choice((0.0, 0.0, 0.8))

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def fail(self, error: Exception) -> None:
        """A promise was broken, or the simulation itself went wrong: enough seen."""
        self.failures.append(error)
        self.machine.is_halted = True

    def _environment(self) -> Runtime:
        def now() -> str:
            seconds, fraction = divmod(WALL_CLOCK + self._calls.clock_offset + self.machine.now, 1)
            return (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:.6f}Z"[2:]
            )

        random = self._random
        return Runtime(now, lambda: str(UUID(int=random.getrandbits(128))), random.randbytes)

    def start_all(self) -> None:
        """Start every process, each in its own time."""
        for _ in range(self._processes):
            self._start()

    def _start(self) -> None:
        loop = new_loop(self.machine)
        loop.start(self._live, self._random.uniform(0, 0.01), self._replace_one)

    def _replace_one(self) -> None:
        """Start a process for one that has gone, as a supervisor does."""
        if not self.is_over:
            self._start()

    def open_log(self) -> JsonlLog:
        """The log, as a process of its own opens it."""
        return JsonlLog(cast("pathlib.Path", Path(self._calls, *LOG)))

    def open(self) -> tuple[JsonlLog, Journal, asyncio.Event]:
        """A process's log and journal, and the event that it is to go."""
        log = self.open_log()
        gone = asyncio.Event()
        journal = Journal(
            log,
            self.vault,
            self._environment(),
            self._limits,
            on_fence=gone.set,
            snapshots=self.snapshots,
        )
        return log, journal, gone

    async def _live(self) -> None:
        """The life of a process, if it is granted one."""
        try:
            log, journal, gone = self.open()
            await journal.start()
        except DamagedLog as error:
            self.fail(ViolationError(f"it refuses to start: {error}"))
            return
        except (LogError, StorageFull, ConfigurationError, VaultDownError, OSError) as error:
            self.machine.counts[f"starts refused: {type(error).__name__}"] += 1
            return
        self.machine.counts["starts"] += 1
        self.ledger.is_finished(journal._state, self.vault.subjects)
        clients = [asyncio.create_task(self._client(journal, gone)) for _ in range(self._clients)]
        others = []
        if self._snapshot_every:
            settings = Settings(snapshot_every=self._snapshot_every)
            taking = run_snapshots(journal, self.snapshots, settings)
            others.append(asyncio.create_task(taking))
        if self._random.random() < self._tear_downs:
            others.append(asyncio.create_task(self._tear_down(log, journal, gone)))
        await asyncio.wait(clients)
        for task in others:
            task.cancel()
        await journal.close()
        self._check_ended(journal)
        try:
            await log.close()
        except OSError:
            self.machine.counts["failed closes"] += 1

    async def _tear_down(self, log: JsonlLog, journal: Journal, gone: asyncio.Event) -> None:
        """What the end of an event loop does to what runs in it, if it can be while it writes."""
        await asyncio.sleep(self._random.uniform(0, 0.02))
        lock = cast("File", self.machine.process.descriptors[log._lock_file])
        for _ in range(100):
            if lock.locked_by == log._lock_file:
                break
            await asyncio.sleep(0.0003)
        gone.set()
        if journal._task is not None:
            self.machine.counts["writers cancelled"] += journal._task.cancel()

    def _check_ended(self, journal: Journal) -> None:
        writer = journal._task
        if writer is not None and not writer.cancelled() and writer.exception() is not None:
            self.fail(ViolationError(f"the writer died of {writer.exception()!r}"))

    # Snapshots

    async def start_taking(self, _: Settings) -> None:
        """Take a snapshot in a process of its own, as the command line does."""
        new_loop(self.machine).start(self._take_snapshot)

    async def _take_snapshot(self) -> None:
        try:
            log = self.open_log()
            if log.position == 0:
                async with log.exclusive(5.0):
                    pass
            with self.snapshots.locked() as alone:
                if alone:
                    keyring = Keyring()
                    state = await replay(log, keyring, self.vault, snapshots=self.snapshots)
                    self.snapshots.write(state, keyring, self._random.randbytes)
                    self.machine.counts["snapshots taken"] += 1
            await log.close()
        except DamagedLog as error:
            self.fail(ViolationError(f"no snapshot can be taken: {error}"))
        except (EventapiError, OSError) as error:
            self.machine.counts[f"snapshots refused: {type(error).__name__}"] += 1

    # Clients

    async def _client(self, journal: Journal, gone: asyncio.Event) -> None:
        random = self._random
        try:
            while not self.is_over and not gone.is_set():
                self._left -= 1
                if random.random() < 0.4:
                    await self.look(journal)
                elif random.random() < self._hang_ups:
                    await self._ask_in_a_hurry(journal)
                else:
                    await self.ask(journal, self.wishing.some())
                if random.random() < 0.3:
                    await asyncio.sleep(random.uniform(0, 0.002))
                if random.random() < 0.02:
                    self._calls.clock_offset += random.uniform(-3000, 3000)
        except Exception as error:
            self.fail(error)

    async def look(self, journal: Journal) -> None:
        """Read the state, which must have all that was known before."""
        floor = self.ledger.floor
        self.machine.counts["reads"] += 1
        try:
            state = await journal.state()
        except (LogError, VaultDownError) as error:
            if isinstance(error, DamagedLog):
                raise ViolationError(f"a read is refused: {error}") from error
            return
        self.ledger.keys_are_gone(self.vault.subjects)
        if state.position:
            self.ledger.shown(state.last, floor)

    async def _ask_in_a_hurry(self, journal: Journal) -> None:
        """Wish something, and hang up before there is an answer."""
        try:
            async with asyncio.timeout(self._random.uniform(0, 0.002)):
                await self.ask(journal, self.wishing.some())
        except TimeoutError:
            self.machine.counts["clients hung up"] += 1

    async def ask(self, journal: Journal, wish: Wish) -> None:
        """Wish something; what cannot be known now may be asked again."""
        floor = self.ledger.floor
        self.machine.counts["wishes"] += 1
        try:
            outcomes = await self.fulfil(journal, wish)
        except DamagedLog as error:
            raise ViolationError(f"a write is refused: {error}") from error
        except (RequestInProgress, Overloaded, StorageFull) as error:
            self._count_error(error)
            if wish.once is None:
                wish.told = "refused"
        except Refusal as error:
            if not (
                isinstance(error, NotFound | Unauthenticated) and wish.user in self.ledger.erasing
            ):
                raise ViolationError(f"what was acknowledged is not found: {error!r}") from error
            self._count_error(error)
            if wish.once is None:
                wish.told = "refused"
        except (LogError, VaultDownError) as error:
            self._count_error(error)
        else:
            self.machine.counts["acknowledged"] += len(outcomes)
            self.ledger.answered(wish, [outcome.record for outcome in outcomes], floor)
            self.wishing.learn(wish, outcomes[0].entity)

    async def fulfil(self, journal: Journal, wish: Wish) -> list[CommandResult]:
        """Have a wish written, and a key destroyed where that follows from it."""
        requestid = str(wish.number)
        if wish.once is not None:
            return [await journal.execute(wish.commands[0], requestid, wish.once)]
        outcomes = await journal.execute_all(wish.commands, requestid)
        if isinstance(wish.commands[0], Erase):
            await self.destroy_key(wish.user)
        return outcomes

    async def destroy_key(self, user: int) -> None:
        """What follows an erasure that is written."""
        await self.vault.destroy([f"users/{user}"])
        self.ledger.erased.add(f"users/{user}")
        self.machine.counts["erasures"] += 1
        self.wishing.forget(user)

    def _count_error(self, error: EventapiError) -> None:
        self.machine.counts[f"answered {type(error).__name__}"] += 1
