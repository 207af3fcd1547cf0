"""The history of resources, read from only their own lines of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode
from events.errors import Fault, Invalid, Overloaded
from events.log.port import EventLog
from events.record import START, Record, entity_number
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.resources import (
    Content,
    Created,
    Deleted,
    Entity,
    ResourceType,
    Restored,
    Updated,
)
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.idempotency import Changed
from projections.tables.resources import ResourceTable, Tombstone

_MAX_GAP_LINES = 32
"""The largest gap between two wanted lines at which one read is cheaper than two."""

RECORDS_PER_READ = 16
"""Records of one response that are in memory at once; each may take 64 KiB."""

_LINES_PER_READ = 64
"""Lines that are decoded before other tasks run, including lines between wanted ones."""

_HASH = slice(-66, -2)
"""The place of the hash in a line."""

_MAX_WAITING_STATES = 8
"""Callers that may wait for a whole past state; each one takes the memory of a state."""

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
        # Times in a log never decrease, so a binary search finds the position.
        low, high = 0, state.position
        if state.last.time <= point:
            return high
        while low < high:
            middle = (low + high + 1) // 2
            record = (await self.records([middle]))[0]
            low, high = (middle, high) if record.time <= point else (low, middle - 1)
        return low

    async def entities_at(
        self, position: int, entities: Iterable[Entity | Tombstone], table: ResourceTable
    ) -> dict[int, Entity]:
        """Resources of a table as of a position, by number, without those that did not exist then.

        Reads the records of each resource backwards until all of its values are known.
        """
        searches = [
            _Search(entity, table.versions.of(entity.version, upto=position), table.resource)
            for entity in entities
        ]
        past: dict[int, Entity] = {}
        count = 1
        while searches := [one for one in searches if one.positions]:
            wanted = {at: one for one in searches for at in one.next_positions(count)}
            async for records in self.slices(sorted(wanted, reverse=True)):
                for record in records:
                    wanted[record.position].add(record)
            for one in searches:
                if (found := one.found()) is not None:
                    past[found.id] = found
            count = min(2 * count, _LINES_PER_READ)
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
    async def state_at(self, position: int) -> AsyncIterator[State]:
        """The whole state at a position, folded from the nearest snapshot; one at a time.

        Raises `Overloaded`, and the errors of `replay`.
        """
        if self._wanted >= _MAX_WAITING_STATES:
            raise Overloaded("too many states of the past are asked for")
        self._wanted += 1
        try:
            async with self._folding:
                yield await replay(
                    self._log,
                    Keyring(),
                    self._vault,
                    self._vocabulary(),
                    position=position,
                    snapshots=self._snapshots,
                )
        finally:
            self._wanted -= 1

    async def line_at(self, position: int) -> bytes:
        """The line at a position, which must exist."""
        (line,) = [line async for run in self._log.read(position - 1, position) for line in run]
        return line

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these ascending positions; their ``end`` is 0."""
        return [record async for records in self.slices(positions) for record in records]

    async def slices(self, positions: Sequence[int]) -> AsyncIterator[list[Record]]:
        """As `records`, a bounded number at a time; the positions may also descend."""
        for first, last, wanted in _runs(positions):
            lines = [line async for run in self._log.read(first - 2, last) for line in run]
            before = START
            if first > 1:
                digest = bytes.fromhex(lines.pop(0)[_HASH].decode())
                before = replace(START, position=first - 1, hash=digest)
            found = decode(lines, self._keyring, self._vocabulary(), before)
            yield [replace(found[position - first], end=0) for position in wanted]
            await asyncio.sleep(0)


class _CallerReads:
    """The reads of one caller: their number, and the lock that admits one at a time."""

    def __init__(self) -> None:
        self.wanted = 0
        self.lock = asyncio.Lock()


class _Search:
    """The search for the values of one resource, from its newest position backwards."""

    def __init__(
        self, entity: Entity | Tombstone, positions: list[int], resource: ResourceType
    ) -> None:
        """``positions`` are those of the resource's events up to the wanted point, ascending."""
        self.positions = positions
        self._entity = entity
        self._resource = resource
        self._newest: Record | None = None
        self._values: dict[str, Any] = {}

    def next_positions(self, count: int) -> list[int]:
        """Remove and return the next positions to read, newest first."""
        taken = self.positions[: -count - 1 : -1]
        del self.positions[-count:]
        return taken

    def add(self, record: Record) -> None:
        """Add the next older record; it is ignored if all values are known."""
        if self._is_whole():
            return
        if self._newest is None:
            self._newest = record
        event = record.event
        if isinstance(event, Deleted):
            # Older records do not count: a restoration after the deletion has the whole content.
            self.positions.clear()
        elif isinstance(event, Created | Restored):
            self._add_values(event.personal, event.clear)
            self._add_values(self._resource.blank, self._resource.blank_clear)
        elif isinstance(event, Updated):
            self._add_values(event.personal, event.clear)
        if self._is_whole():
            self.positions.clear()

    def _add_values(self, *parts: object) -> None:
        """Add values that no newer record has set."""
        for part in parts:
            if isinstance(part, Content):
                for name in self._resource.names:
                    value = getattr(part, name, UNSET)
                    if value is not UNSET:
                        self._values.setdefault(name, value)

    def _is_whole(self) -> bool:
        return len(self._values) == len(self._resource.names) and self._newest is not None

    def found(self) -> Entity | None:
        """The past resource; ``None`` while it is not complete, and if it was deleted."""
        if self._newest is None or not self._is_whole():
            return None
        entity, newest = self._entity, self._newest
        found: Entity = self._resource.entity(
            entity.id,
            *(self._values[name] for name in self._resource.names),
            entity.owner,
            entity.created_at,
            newest.time,
            newest.position,
        )
        return found


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
