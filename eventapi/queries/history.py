"""The history of resources, read from only their own lines of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from msgspec.structs import replace

from eventapi.queries.opened import OpenedLine, open_line
from eventapi.queries.past_values import PastValues
from events.codec import decode, parse, stated_hash
from events.errors import DamagedLog, Fault, Invalid, Overloaded
from events.log.port import EventLog
from events.log.search import last_position
from events.record import START, Record, entity_number
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.resources import Entity
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import has_last_line, replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.idempotency import Changed
from projections.tables.resources import ResourceTable
from projections.tables.tombstones import Tombstone

_MAX_GAP_LINES = 32
"""The largest gap between two wanted lines at which one read is cheaper than two."""

RECORDS_PER_READ = 16
"""Records of one response that are in memory at once; each may take 64 KiB."""

_LINES_PER_READ = 64
"""Lines that are decoded before other tasks run, including lines between wanted ones."""

_MAX_WAITING_STATES = 8
"""Callers that may wait for a whole past state; each one takes the memory of a state.

A caller takes one of these places at a time.
"""

_CONCURRENT_READERS = 4
"""Callers that read at once in a process."""

_MAX_READS_PER_CALLER = 32
"""Reads that one caller may have at a time: one runs, and the others wait."""

_MAX_READS = 512
"""Reads that a process may have at a time; beyond it, a caller without any is still admitted."""


class History:
    """Reads past states of resources, live or deleted."""

    def __init__(
        self,
        log: EventLog,
        keyring: Keyring,
        vault: Vault,
        snapshots: Snapshots | None,
        vocabulary: Callable[[], Vocabulary],
    ) -> None:
        """``keyring`` must have the keys of all users in the states that are passed in.

        ``vocabulary`` returns that of the current state.
        """
        self._vocabulary = vocabulary
        self._log = log
        self._keyring = keyring
        self._vault = vault
        self._snapshots = snapshots
        self._folding = asyncio.Lock()
        self._wanted = 0
        self._readers = asyncio.Semaphore(_CONCURRENT_READERS)
        self._callers: dict[int, _CallerReads] = {}
        self._reads = 0

    @contextmanager
    def admit(self, caller: int) -> Iterator[None]:
        """Admit a read by a user, which may then wait for its turns; raises `Overloaded`.

        The first read of a caller is always admitted, because slow clients of other callers can
        hold their reads for long.
        """
        turns = self._callers.setdefault(caller, _CallerReads())
        if turns.wanted >= (_MAX_READS_PER_CALLER if self._reads < _MAX_READS else 1):
            raise Overloaded("too many requests read the past; wait for their answers")
        turns.wanted += 1
        self._reads += 1
        try:
            yield
        finally:
            turns.wanted -= 1
            self._reads -= 1
            if not turns.wanted:
                del self._callers[caller]

    @asynccontextmanager
    async def turn(self, caller: int) -> AsyncIterator[None]:
        """Wait for a turn of an admitted read: one per user, and a few users at a time.

        So a user with many long histories does not delay the others.
        """
        async with self._callers[caller].lock, self._readers:
            yield

    @asynccontextmanager
    async def turn_of(self, caller: int) -> AsyncIterator[None]:
        """Admit a read that needs one turn, and wait for it; raises `Overloaded`."""
        with self.admit(caller):
            async with self.turn(caller):
                yield

    async def position(self, point: int | str, state: State) -> int:
        """The position of a point: a position itself, or the last position up to a time.

        Raises `Invalid` for a position after that of the state.
        """
        if isinstance(point, int):
            if point > state.position:
                raise Invalid(Fault("/as_of", f"the log ends at position {state.position}"))
            return point
        if state.last.time <= point:
            return state.position
        return await last_position(self._log, state.position, lambda time: time <= point)

    async def position_before(self, point: int | str, state: State) -> int:
        """The last position before a point: before a position, or before a time."""
        if isinstance(point, int):
            return max(point - 1, 0)
        return await last_position(self._log, state.position, lambda time: time < point)

    async def entities_at(
        self,
        position: int,
        entities: Iterable[Entity | Tombstone],
        table: ResourceTable,
        columns: Collection[str] | None = None,
    ) -> dict[int, Entity]:
        """Resources of a table that existed at a position, by number.

        A resource that has not changed since is returned as it is. Of another one the records are
        read backwards until the values of the ``columns``, by default all, are known; the others may
        be `UNSET`.
        """
        past: dict[int, Entity] = {}
        searches: list[PastValues] = []
        for entity in entities:
            version = table.version_at(entity, position)
            if isinstance(entity, Entity) and version == entity.version:
                past[entity.id] = entity
            elif version:
                searches.append(PastValues(entity, version, table, columns))
        waiting, count = searches, 1
        while wanted := {at: one for one in waiting for at in one.next_positions(count)}:
            async for records in self.slices(sorted(wanted, reverse=True)):
                for record in records:
                    wanted[record.position].add(record)
            waiting = [one for one in waiting if not one.is_complete]
            count = min(2 * count, _LINES_PER_READ)
        for one in searches:
            if one.is_complete:
                found = one.entity()
                past[found.id] = found
        return past

    async def entity_after(self, position: int, subject: str, state: State) -> Changed:
        """The resource, or the registered user, right after the event at a position.

        ``None`` for a deleted resource. Reading one that changed since takes a turn of its owner;
        raises `Overloaded`.
        """
        table = state.resources.get(subject.partition("/")[0])
        if table is not None:
            entity = table.find(entity_number(subject))
            if entity is None:
                return None
            if entity.version == position:
                return entity if isinstance(entity, Entity) else None
            async with self.turn_of(entity.owner):
                return (await self.entities_at(position, [entity], table)).get(entity.id)
        (record,) = await self.records([position])
        return State.empty(self._vocabulary()).stage().apply(record)

    @asynccontextmanager
    async def state_at(
        self, position: int, caller: int, *, read_models: bool = False
    ) -> AsyncIterator[State]:
        """The whole state at a position, folded from the nearest snapshot, for a user.

        The lines below the snapshot are not read: a start checks them. One is folded at a time. A
        user waits for a place until their other reads are done. With ``read_models``, those that
        the snapshot does not have are folded as well. Raises `Overloaded`, and the errors of
        `replay`.
        """
        with self.admit(caller):
            async with self._callers[caller].lock, self._place(), self._folding:
                yield await replay(
                    self._log,
                    Keyring(),
                    self._vault,
                    self._vocabulary(),
                    position=position,
                    snapshots=self._snapshots,
                    belongs_to=has_last_line,
                    defer_read_models=not read_models,
                )

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Take a place of those who wait for a past state; raises `Overloaded`."""
        if self._wanted >= _MAX_WAITING_STATES:
            raise Overloaded("too many states of the past are asked for")
        self._wanted += 1
        try:
            yield
        finally:
            self._wanted -= 1

    def read(self, after: int, upto: int) -> AsyncIterator[list[bytes]]:
        """The lines after a position up to another one, in runs; see `EventLog.read`."""
        return self._log.read(after, upto)

    def has_key(self, subject: str) -> bool:
        """Whether what is sealed for a user can be decrypted."""
        return subject in self._keyring

    async def line_at(self, position: int) -> bytes:
        """The line at a position, which must exist."""
        (line,) = await self.lines([position])
        return line

    async def lines(self, positions: Sequence[int]) -> list[bytes]:
        """The lines at these ascending positions, which must exist."""
        found: list[bytes] = []
        for first, last, wanted in _runs(positions):
            lines = [line async for run in self._log.read(first - 1, last) for line in run]
            found += [lines[position - first] for position in wanted]
        return found

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these ascending positions; their ``end`` is 0."""
        return [record async for records in self.slices(positions) for record in records]

    def open(self, line: bytes) -> OpenedLine:
        """What is sealed on a line; nothing if its seal is broken."""
        try:
            return open_line(parse(line), self._keyring)
        except ValueError:
            return OpenedLine(None)  # `log verify --seals` reports a broken seal.

    async def slices(self, positions: Sequence[int]) -> AsyncIterator[list[Record]]:
        """As `records`, a bounded number at a time; the positions may also descend."""
        for first, last, wanted in _runs(positions):
            start = max(first - 1, 1)
            lines = [line async for run in self._log.read(start - 1, last) for line in run]
            yield [
                self.record(position, lines[position - start], lines[position - start - 1])
                for position in wanted
            ]
            await asyncio.sleep(0)

    def record(self, position: int, line: bytes, previous: bytes) -> Record:
        """The record of a line, with the values whose keys exist now; its ``end`` is 0.

        ``previous`` is the line before it, whose hash it continues, and is ignored for the first line.
        Raises `DamagedLog` and `UnknownEvent`.
        """
        before = START
        if position > 1:
            try:
                digest = stated_hash(previous)
            except ValueError as error:
                raise DamagedLog(str(error), position=position - 1, offset=0) from None
            before = replace(START, position=position - 1, hash=digest)
        (found,) = decode([line], self._keyring, self._vocabulary(), before)
        return replace(found, end=0)


class _CallerReads:
    """The reads of one caller: their number, and the lock that admits one at a time."""

    def __init__(self) -> None:
        self.wanted = 0
        self.lock = asyncio.Lock()


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int, Sequence[int]]]:
    """Split positions into reads: first position, last position, and the wanted ones.

    The positions ascend or descend, and so do the reads. A read has at most `RECORDS_PER_READ`
    wanted lines, and at most `_LINES_PER_READ` lines in all.
    """
    start = 0
    for end in range(1, len(positions) + 1):
        if (
            end in {len(positions), start + RECORDS_PER_READ}
            or abs(positions[end] - positions[end - 1]) > _MAX_GAP_LINES
            or abs(positions[end] - positions[start]) >= _LINES_PER_READ
        ):
            wanted = positions[start:end]
            yield min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]), wanted
            start = end
