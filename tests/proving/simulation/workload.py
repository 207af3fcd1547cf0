"""What the processes of a simulated machine do: serve clients, die, and start again."""

from __future__ import annotations

import asyncio
import pathlib
import time
from hashlib import sha256
from random import Random
from typing import cast
from uuid import UUID

from eventapi.batch import Environment, Once
from eventapi.commands.command import Command
from eventapi.commands.items import CreateItem, UpdateItem
from eventapi.commands.users import RegisterUser
from eventapi.journal import Journal, Limits
from events.errors import (
    ConfigurationError,
    DamagedLog,
    EventapiError,
    LogError,
    Overloaded,
    Refusal,
    RequestInProgress,
    StorageFull,
)
from events.items import Content
from events.log.jsonl import JsonlLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.state import State
from tests.given import profile
from tests.proving.simulation.calls import WALL_CLOCK, Calls
from tests.proving.simulation.ledger import LOG, Ledger, ViolationError, Wish
from tests.proving.simulation.loop import new_loop
from tests.proving.simulation.machine import Machine
from tests.proving.simulation.paths import Path

SIZES = (3, 3, 40, 400, 1500)
"""Lengths of texts: a line then spans sectors and pages now and then."""


class SlowVault(MemoryVault):
    """A vault whose answers take their time; what it was given outlives the power."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    async def put(self, keys: object) -> None:
        self._machine.step("vault put")
        await super().put(keys)  # type: ignore[arg-type]  # as the port has it
        await asyncio.sleep(0)


class World:
    """The clients' side of one machine."""

    def __init__(self, machine: Machine, calls: Calls, wishes: int, processes: int) -> None:
        self.machine = machine
        self.ledger = Ledger(machine)
        self._calls = calls
        self._random = machine.random
        self._left = wishes
        self._processes = processes
        self._vault = SlowVault(machine)
        self._users: list[int] = []
        self._items: list[tuple[int, int]] = []
        random = self._random
        self._limits = Limits(batch=random.choice((1, 3, 16)), lock_timeout=5.0)
        self._clients = random.choice((1, 3, 6))
        self._big = random.random() < 0.5
        self.failures: list[Exception] = []

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def _fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.machine.is_halted = True

    def _environment(self) -> Environment:
        def now() -> str:
            seconds, fraction = divmod(WALL_CLOCK + self._calls.clock_offset + self.machine.now, 1)
            return (
                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:.6f}Z"[2:]
            )

        random = self._random
        return Environment(now, lambda: str(UUID(int=random.getrandbits(128))), random.randbytes)

    def start_all(self) -> None:
        """Start every process, each in its own time."""
        for _ in range(self._processes):
            self._start()

    def _start(self) -> None:
        loop = new_loop(self.machine)
        loop.start(self._live, self._random.uniform(0, 0.01))

    def replace_one(self) -> None:
        """Start a process for one that has gone, as a supervisor does."""
        if not self.is_over:
            self._start()

    def open(self) -> tuple[JsonlLog, Journal, asyncio.Event]:
        """A process's log and journal, and the event that it is to go."""
        log = JsonlLog(cast("pathlib.Path", Path(self._calls, *LOG)))
        gone = asyncio.Event()
        journal = Journal(log, self._vault, self._environment(), self._limits, on_fence=gone.set)
        return log, journal, gone

    async def _live(self) -> None:
        """The life of a process, if it is granted one."""
        try:
            log, journal, gone = self.open()
            await journal.start()
        except DamagedLog as error:
            self._fail(ViolationError(f"it refuses to start: {error}"))
            return
        except (LogError, StorageFull, ConfigurationError, OSError) as error:
            self.machine.counts[f"starts refused: {type(error).__name__}"] += 1
            return
        self.machine.counts["starts"] += 1
        clients = [asyncio.create_task(self._client(journal, gone)) for _ in range(self._clients)]
        await asyncio.wait(clients)
        await journal.close()
        try:
            await log.close()
        except OSError:
            self.machine.counts["failed closes"] += 1

    async def _client(self, journal: Journal, gone: asyncio.Event) -> None:
        try:
            while not self.is_over and not gone.is_set():
                self._left -= 1
                if self._random.random() < 0.4:
                    await self.look(journal)
                else:
                    await self._ask(journal, self._some_wish())
                if self._random.random() < 0.3:
                    await asyncio.sleep(self._random.uniform(0, 0.002))
                if self._random.random() < 0.02:
                    self._calls.clock_offset += self._random.uniform(-3000, 3000)
        except Exception as error:
            self._fail(error)

    async def look(self, journal: Journal) -> None:
        """Read the state, which must have all that was known before."""
        floor = self.ledger.floor
        self.machine.counts["reads"] += 1
        try:
            state = await journal.state()
        except LogError as error:
            if isinstance(error, DamagedLog):
                raise ViolationError(f"a read is refused: {error}") from error
            return
        if state.position:
            self.ledger.shown(state.last, floor)

    async def _ask(self, journal: Journal, wish: Wish) -> None:
        """Wish something; what cannot be known now may be asked again."""
        floor = self.ledger.floor
        self.machine.counts["wishes"] += 1
        try:
            if wish.once is not None:
                outcomes = [await journal.execute(wish.commands[0], once=wish.once)]
            else:
                outcomes = await journal.execute_all(wish.commands)
        except DamagedLog as error:
            raise ViolationError(f"a write is refused: {error}") from error
        except (RequestInProgress, Overloaded, StorageFull) as error:
            self._count_error(error)
            if wish.once is None:
                wish.told = "refused"
        except Refusal as error:
            raise ViolationError(f"what was acknowledged is not found: {error!r}") from error
        except EventapiError as error:
            self._count_error(error)
        else:
            self.machine.counts["acknowledged"] += len(outcomes)
            self.ledger.answered(wish, [outcome.record for outcome in outcomes], floor)
            self._learn(outcomes[0].entity)

    def _count_error(self, error: EventapiError) -> None:
        self.machine.counts[f"answered {type(error).__name__}"] += 1

    def _learn(self, entity: object) -> None:
        owner = getattr(entity, "owner", None)
        number = getattr(entity, "id", 0)
        if owner is None:
            self._users.append(number)
        else:
            self._items.append((number, owner))

    def _some_wish(self) -> Wish:
        random = self._random
        again = [
            wish
            for wish in self.ledger.wishes
            if wish.once is not None and (wish.told == "unknown" or random.random() < 0.1)
        ]
        if again and random.random() < 0.3:
            return random.choice(again)
        number = len(self.ledger.wishes)
        count = random.choice((1, 1, 1, 1, 3))
        texts = tuple(f"wish {number}.{part} " for part in range(count))
        texts = tuple(text + "x" * self._size(random) for text in texts)
        if not self._users or random.random() < 0.05:
            texts = (f"user-{number}",)
            commands: tuple[Command, ...] = (RegisterUser(profile(texts[0])),)
        elif count == 1 and self._items and random.random() < 0.3:
            item, owner = random.choice(self._items)
            commands = (UpdateItem(owner, item, title=texts[0]),)
        else:
            owner = random.choice(self._users)
            commands = tuple(CreateItem(owner, Content(text)) for text in texts)
        wish = Wish(number, commands, texts)
        if len(commands) == 1 and random.random() < 0.3:
            wish.once = Once(sha256(b"%d" % number).hexdigest(), sha256(texts[0].encode()).digest())
        self.ledger.wishes.append(wish)
        return wish

    def _size(self, random: Random) -> int:
        return random.choice(SIZES) if self._big else 3

    # When all is over

    async def inspect(self) -> None:
        """Start once more, ask again for what must happen once, and compare all with the log."""
        try:
            log, journal, _ = self.open()
            await journal.start()
            for wish in self.ledger.wishes:
                if wish.once is not None:
                    await self._ask(journal, wish)
                    if wish.told != "written":
                        raise ViolationError(f"the wish {wish.number} cannot be fulfilled")
            await self.look(journal)
            lines = [line async for run in log.read() for line in run]
            folded = self.ledger.settle(lines, journal._keyring)
            await self._compare(folded, await journal.state(), log)
            await journal.close()
            await log.close()
        except Exception as error:
            self._fail(error)

    async def _compare(self, folded: State, live: State, log: JsonlLog) -> None:
        again = await replay(log, Keyring(), self._vault)
        sums = {(state.digest(), state.checksum()) for state in (folded, live, again)}
        if len(sums) > 1:
            raise ViolationError("what is served is not what the log folds to")
