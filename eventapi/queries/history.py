"""The history of items, read from only their own lines of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from events.codec import decode
from events.errors import Fault, Invalid, Overloaded
from events.log.port import EventLog
from events.record import START, Record, entity_number
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.items import Content, ContentChanges, ItemDeleted, ItemUpdated
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.idempotency import Entity
from projections.tables.items import UNREADABLE, Item, Tombstone

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
    """Reads past states of items, live or deleted."""

    def __init__(
        self, log: EventLog, keyring: Keyring, vault: Vault, snapshots: Snapshots | None
    ) -> None:
        """``keyring`` must have the keys of all users in the states that are passed in."""
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

    async def of_item(self, item: Item | Tombstone, state: State) -> list[Record]:
        """All records of an item, oldest first; their ``end`` is 0."""
        return await self.records(state.items.versions.of(item.version))

    async def items_at(
        self, position: int, items: Iterable[Item | Tombstone], state: State
    ) -> State:
        """A state with only these items, as of a position.

        Reads the records of each item backwards until title and description are known.
        """
        lives = state.items.versions
        searches = [_Search(item, lives.of(item.version, upto=position)) for item in items]
        past = State.empty()
        count = 1
        while searches := [one for one in searches if one.positions]:
            wanted = {at: one for one in searches for at in one.next_positions(count)}
            async for records in self.slices(sorted(wanted, reverse=True)):
                for record in records:
                    wanted[record.position].add(record)
            for one in searches:
                if (item := one.found()) is not None:
                    past.items.by_id[item.id] = item
                    past.items.by_owner.add(item.owner, item.id)
            count = min(2 * count, _LINES_PER_READ)
        return past

    async def entity_after(self, position: int, subject: str, state: State) -> Entity:
        """The item, or the registered user, right after the event at a position.

        ``None`` for a deleted item. Reading an item that changed since takes a turn of its owner;
        raises `Overloaded`.
        """
        if subject.startswith("items/"):
            item = state.items.find(entity_number(subject))
            if item is None:
                return None
            if item.version == position:
                return item if isinstance(item, Item) else None
            async with self.turn_of(item.owner):
                return (await self.items_at(position, [item], state)).items.by_id.get(item.id)
        (record,) = await self.records([position])
        return State.empty().stage().apply(record)

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
            found = decode(lines, self._keyring, before)
            yield [replace(found[position - first], end=0) for position in wanted]
            await asyncio.sleep(0)


class _CallerReads:
    """The reads of one caller: their number, and the lock that admits one at a time."""

    def __init__(self) -> None:
        self.wanted = 0
        self.lock = asyncio.Lock()


class _Search:
    """The search for the content of one item, from its newest position backwards."""

    def __init__(self, item: Item | Tombstone, positions: list[int]) -> None:
        """``positions`` are those of the item's events up to the wanted point, ascending."""
        self.positions = positions
        self._item = item
        self._newest: Record | None = None
        self._title: str | UnsetType = UNSET
        self._description: str | UnsetType | None = UNSET

    def next_positions(self, count: int) -> list[int]:
        """Remove and return the next positions to read, newest first."""
        taken = self.positions[: -count - 1 : -1]
        del self.positions[-count:]
        return taken

    def add(self, record: Record) -> None:
        """Add the next older record; it is ignored if the content is complete."""
        if self._is_whole():
            return
        if self._newest is None:
            self._newest = record
        event = record.event
        personal = getattr(event, "personal", None)
        if isinstance(event, ItemDeleted):
            # Older records do not count: a restoration after the deletion has the whole content.
            self.positions.clear()
        elif isinstance(event, ItemUpdated):
            if isinstance(personal, ContentChanges):
                self._title = personal.title if self._title is UNSET else self._title
                if self._description is UNSET:
                    self._description = personal.description
        else:
            content = personal if isinstance(personal, Content) else UNREADABLE
            self._title = content.title if self._title is UNSET else self._title
            if self._description is UNSET:
                self._description = content.description
        if self._is_whole():
            self.positions.clear()

    def _is_whole(self) -> bool:
        return self._title is not UNSET and self._description is not UNSET

    def found(self) -> Item | None:
        """The past item; ``None`` while it is not complete, and if it was deleted."""
        if self._newest is None or self._title is UNSET or self._description is UNSET:
            return None
        item, newest = self._item, self._newest
        return Item(
            item.id,
            self._title,
            self._description,
            item.owner,
            item.created_at,
            newest.time,
            newest.position,
        )


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
