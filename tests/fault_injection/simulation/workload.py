"""The processes of a simulated machine and their clients."""

from __future__ import annotations

import asyncio
import pathlib
import time
from typing import cast
from uuid import UUID

from eventapi.configuration.settings import Settings
from eventapi.journal.batch import CommandResult, Runtime
from eventapi.journal.config import JournalConfig
from eventapi.journal.journal import Journal
from eventapi.journal.origin import Origin
from eventapi.tasks.closing import run_closing
from eventapi.tasks.snapshots import run_snapshots
from eventapi.testing.items import ITEMS
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
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.fault_injection.simulation.calls import WALL_CLOCK, Calls
from tests.fault_injection.simulation.client_requests import Erase, RequestGenerator
from tests.fault_injection.simulation.disk import File
from tests.fault_injection.simulation.ledger import (
    SNAPSHOTS,
    ClientRequest,
    Ledger,
    ViolationError,
)
from tests.fault_injection.simulation.loop import new_loop
from tests.fault_injection.simulation.machine import Machine
from tests.fault_injection.simulation.paths import Path
from tests.fault_injection.simulation.vault import SimulatedVault, VaultDownError
from tests.fault_injection.simulation.whole_log import LOG


class World:
    """The processes and clients of one machine, and the oracle that checks them."""

    def __init__(
        self, machine: Machine, calls: Calls, requests: int, processes: int, segment_bytes: int
    ) -> None:
        random = machine.random
        self.machine = machine
        self.ledger = Ledger(machine)
        self.vault = SimulatedVault(machine)
        self.snapshots = Snapshots(cast("pathlib.Path", Path(calls, *SNAPSHOTS)), ITEMS)
        self.generator = RequestGenerator(random, self.ledger)
        self.failures: list[Exception] = []
        self._calls = calls
        self._random = random
        self._requests_left = requests
        self._processes = processes
        self._limits = JournalConfig(batch=random.choice((1, 3, 16)), lock_timeout=5.0)
        self._clients = random.choice((1, 3, 6))
        self._snapshot_every = random.choice((0, 3, 12))
        self._cancel_chance = random.choice((0.0, 0.0, 0.1))
        self._teardown_chance = random.choice((0.0, 0.0, 0.8))
        self._segment_bytes = segment_bytes

    @property
    def is_over(self) -> bool:
        return self._requests_left <= 0

    def fail(self, error: Exception) -> None:
        """Record a failure and stop the simulation."""
        self.failures.append(error)
        self.machine.is_halted = True

    def _runtime(self) -> Runtime:
        def now() -> str:
            seconds, fraction = divmod(WALL_CLOCK + self._calls.clock_offset + self.machine.now, 1)
            return (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:.6f}Z"[2:]
            )

        random = self._random
        return Runtime(now, lambda: str(UUID(int=random.getrandbits(128))), random.randbytes)

    def start_all(self) -> None:
        """Start every process, each after a random delay."""
        for _ in range(self._processes):
            self._start()

    def _start(self) -> None:
        loop = new_loop(self.machine)
        loop.start(self._run_process, self._random.uniform(0, 0.01), self._replace_one)

    def _replace_one(self) -> None:
        """Replace a process that died, as a supervisor does."""
        if not self.is_over:
            self._start()

    def open_log(self) -> JsonlLog:
        """Open the log in the running process."""
        return JsonlLog(cast("pathlib.Path", Path(self._calls, *LOG)))

    def open(self) -> tuple[JsonlLog, Journal, asyncio.Event]:
        """Open log and journal, and an event that is set when the process must exit."""
        log = self.open_log()
        must_exit = asyncio.Event()
        journal = Journal(
            log,
            self.vault,
            ITEMS,
            self._runtime(),
            self._limits,
            on_fence=must_exit.set,
            snapshots=self.snapshots,
        )
        return log, journal, must_exit

    async def _run_process(self) -> None:
        """Run a process from its start to its exit, unless it is killed."""
        try:
            log, journal, must_exit = self.open()
            await journal.start()
        except DamagedLog as error:
            self.fail(ViolationError(f"the process refuses to start: {error}"))
            return
        except (LogError, StorageFull, ConfigurationError, VaultDownError, OSError) as error:
            self.machine.counts[f"starts refused: {type(error).__name__}"] += 1
            return
        self.machine.counts["starts"] += 1
        self.ledger.check_erasures(journal._state, self.vault.subjects)
        clients = [
            asyncio.create_task(self._client(journal, must_exit)) for _ in range(self._clients)
        ]
        others = []
        if self._snapshot_every:
            settings = Settings(snapshot_every=self._snapshot_every)
            taking = run_snapshots(journal, self.snapshots, settings)
            others.append(asyncio.create_task(taking))
        if self._segment_bytes:
            closing = run_closing(log, self._segment_bytes, must_exit.set)
            others.append(asyncio.create_task(closing))
        if self._random.random() < self._teardown_chance:
            others.append(asyncio.create_task(self._cancel_writer(log, journal, must_exit)))
        await asyncio.wait(clients)
        for task in others:
            task.cancel()
        if self._segment_bytes:
            await asyncio.wait(others)
        await journal.close()
        self._check_ended(journal)
        try:
            await log.close()
        except OSError:
            self.machine.counts["failed closes"] += 1

    async def _cancel_writer(
        self, log: JsonlLog, journal: Journal, must_exit: asyncio.Event
    ) -> None:
        """Cancel the writer, as the end of an event loop does, preferably while it writes."""
        await asyncio.sleep(self._random.uniform(0, 0.02))
        lock = cast("File", self.machine.process.descriptors[log._lock_file])
        for _ in range(100):
            if lock.locked_by == log._lock_file:
                break
            await asyncio.sleep(0.0003)
        must_exit.set()
        if journal._task is not None:
            self.machine.counts["writers cancelled"] += journal._task.cancel()

    def _check_ended(self, journal: Journal) -> None:
        writer = journal._task
        if writer is not None and not writer.cancelled() and writer.exception() is not None:
            self.fail(ViolationError(f"the writer failed with {writer.exception()!r}"))

    # Snapshots

    async def start_snapshot(self, _: Settings) -> None:
        """Take a snapshot in a separate process, as the command line does."""
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
                    state = await replay(log, keyring, self.vault, ITEMS, snapshots=self.snapshots)
                    self.snapshots.write(state, keyring, self._random.randbytes)
                    self.machine.counts["snapshots taken"] += 1
            await log.close()
        except DamagedLog as error:
            self.fail(ViolationError(f"a snapshot refuses the log: {error}"))
        except (EventapiError, OSError) as error:
            self.machine.counts[f"snapshots refused: {type(error).__name__}"] += 1

    # Closed segments

    async def close_segments(self, log: JsonlLog, segment_bytes: int, timeout: float) -> bool:
        """Close segments; a damaged log, which the task would only report, is a failure."""
        try:
            has_closed = await close_segments(log, segment_bytes, timeout)
        except DamagedLog as error:
            self.fail(ViolationError(f"a closing refuses the log: {error}"))
            raise
        except (EventapiError, OSError) as error:
            self.machine.counts[f"closings failed: {type(error).__name__}"] += 1
            raise
        self.machine.counts["closings"] += has_closed
        return has_closed

    # Clients

    async def _client(self, journal: Journal, must_exit: asyncio.Event) -> None:
        random = self._random
        try:
            while not self.is_over and not must_exit.is_set():
                self._requests_left -= 1
                if random.random() < 0.4:
                    await self.read(journal)
                elif random.random() < self._cancel_chance:
                    await self._write_and_cancel(journal)
                else:
                    await self.write(journal, self.generator.next_request())
                if random.random() < 0.3:
                    await asyncio.sleep(random.uniform(0, 0.002))
                if random.random() < 0.02:
                    self._calls.clock_offset += random.uniform(-3000, 3000)
        except Exception as error:
            self.fail(error)

    async def read(self, journal: Journal) -> None:
        """Read the state; it must include everything visible before."""
        floor = self.ledger.floor
        self.machine.counts["reads"] += 1
        try:
            state = await journal.state()
        except (LogError, VaultDownError) as error:
            if isinstance(error, DamagedLog):
                raise ViolationError(f"a read is refused: {error}") from error
            return
        self.ledger.check_keys(self.vault.subjects)
        if state.position:
            self.ledger.check_read(state.last, floor)

    async def _write_and_cancel(self, journal: Journal) -> None:
        """Send a request and disconnect after a random time."""
        try:
            async with asyncio.timeout(self._random.uniform(0, 0.002)):
                await self.write(journal, self.generator.next_request())
        except TimeoutError:
            self.machine.counts["clients hung up"] += 1

    async def write(self, journal: Journal, request: ClientRequest) -> None:
        """Execute a request and check its answer; errors leave its outcome unknown."""
        floor = self.ledger.floor
        self.machine.counts["requests"] += 1
        try:
            outcomes = await self.execute(journal, request)
        except DamagedLog as error:
            raise ViolationError(f"a write is refused: {error}") from error
        except (RequestInProgress, Overloaded, StorageFull) as error:
            self._count_error(error)
            if request.idempotency is None:
                request.outcome = "refused"
        except Refusal as error:
            if not (
                isinstance(error, NotFound | Unauthenticated)
                and request.user in self.ledger.erasing
            ):
                raise ViolationError(f"an acknowledged event is missing: {error!r}") from error
            self._count_error(error)
            if request.idempotency is None:
                request.outcome = "refused"
        except (LogError, VaultDownError) as error:
            self._count_error(error)
        else:
            self.machine.counts["acknowledged"] += len(outcomes)
            self.ledger.check_answer(request, [outcome.record for outcome in outcomes], floor)
            self.generator.on_written(request, outcomes[0].entity)

    async def execute(self, journal: Journal, request: ClientRequest) -> list[CommandResult]:
        """Execute the commands of a request; after an erasure, destroy the key."""
        origin = Origin(str(request.number))
        if request.idempotency is not None:
            return [await journal.execute(request.commands[0], origin, request.idempotency)]
        outcomes = await journal.execute_all(request.commands, origin)
        if isinstance(request.commands[0], Erase):
            await self.destroy_key(request.user)
        return outcomes

    async def destroy_key(self, user: int) -> None:
        """Destroy the key of a user whose erasure is written."""
        await self.vault.destroy([f"users/{user}"])
        self.ledger.erased.add(f"users/{user}")
        self.machine.counts["erasures"] += 1
        self.generator.on_erased(user)

    def _count_error(self, error: EventapiError) -> None:
        self.machine.counts[f"answered {type(error).__name__}"] += 1
