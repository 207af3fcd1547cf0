"""The past of items, from the lines of the log that are theirs and no others."""

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

_GAP = 32
"""Up to how many lines between two that are wanted it is cheaper to read on than to read anew."""

RECORDS_PER_READ = 16
"""How many records of an answer are in memory at once; each may have 64 KiB."""

_LINES_PER_READ = 64
"""How many lines are decoded before others have their turn, wanted or between wanted ones."""

_HASH = slice(-66, -2)
"""Where in a line its hash stands."""

_WAITING = 8
"""So many may wait for a whole state of the past; each takes the memory of another one."""

_READERS = 4
"""How many callers' pasts are read at once in a process."""

_READS_PER_CALLER = 32
"""How many reads of the past one caller may have, of which all but one wait."""

_READS = 512
"""How many reads of the past a process may have; a caller without any is admitted all the same."""


class History:
    """What was, of what is or was in a state."""

    def __init__(
        self, log: EventLog, keyring: Keyring, vault: Vault, snapshots: Snapshots | None
    ) -> None:
        """``keyring`` has the keys of all users in the states that are asked about."""
        self._log = log
        self._keyring = keyring
        self._vault = vault
        self._snapshots = snapshots
        self._folding = asyncio.Lock()
        self._wanted = 0
        self._readers = asyncio.Semaphore(_READERS)
        self._callers: dict[int, _Turns] = {}
        self._reads = 0

    @contextmanager
    def admit(self, caller: int) -> Iterator[None]:
        """Let a read of the past by a user wait for its turns; raises `Overloaded`.

        Slow clients keep their reads for long, so those of others never refuse a caller's first.
        """
        turns = self._callers.setdefault(caller, _Turns())
        if turns.wanted >= (_READS_PER_CALLER if self._reads < _READS else 1):
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
        """A turn of an admitted read: a user has one at a time, and few users have one at once.

        So a user with many long histories delays no other.
        """
        async with self._callers[caller].lock, self._readers:
            yield

    @asynccontextmanager
    async def turn_of(self, caller: int) -> AsyncIterator[None]:
        """The one turn of a read of the past; raises `Overloaded`."""
        with self.admit(caller):
            async with self.turn(caller):
                yield

    async def position(self, point: int | str, state: State) -> int:
        """The position that a point of the log means: itself, or the last one by that time.

        Raises `Invalid` for a position that the state has not come to.
        """
        if isinstance(point, int):
            if point > state.position:
                raise Invalid(Fault("/as_of", f"the log ends at position {state.position}"))
            return point
        # Times never go back in a log, so it can be searched in halves.
        low, high = 0, state.position
        if state.last.time <= point:
            return high
        while low < high:
            middle = (low + high + 1) // 2
            record = (await self.records([middle]))[0]
            low, high = (middle, high) if record.time <= point else (low, middle - 1)
        return low

    async def of_item(self, item: Item | Tombstone, state: State) -> list[Record]:
        """All records of an item, oldest first; their ``end`` is not told."""
        return await self.records(state.items.lives.of(item.version))

    async def items_at(
        self, position: int, items: Iterable[Item | Tombstone], state: State
    ) -> State:
        """The state of these items, and of nothing else, as it was at a position.

        Of each item only the records are read back to its last whole content.
        """
        lives = state.items.lives
        searches = [_Search(item, lives.of(item.version, upto=position)) for item in items]
        past = State.empty()
        count = 1
        while searches := [one for one in searches if one.positions]:
            wanted = {at: one for one in searches for at in one.next_positions(count)}
            async for records in self.slices(sorted(wanted, reverse=True)):
                for record in records:
                    wanted[record.position].take(record)
            for one in searches:
                if (item := one.found()) is not None:
                    past.items.by_id[item.id] = item
                    past.items.by_owner.add(item.owner, item.id)
            count = min(2 * count, _LINES_PER_READ)
        return past

    async def entity_after(self, position: int, subject: str, state: State) -> Entity:
        """The item, or the user of a registration, as it stood right after the event at a position.

        Of a deleted item there is nothing. An item that changed since is read in a turn of its
        owner; raises `Overloaded`.
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
        """All of the state as it was at a position, from the nearest snapshot on; one at a time.

        Raises `Overloaded`, and what `replay` raises.
        """
        if self._wanted >= _WAITING:
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
        """The line at a position, which there is."""
        (line,) = [line async for run in self._log.read(position - 1, position) for line in run]
        return line

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, which ascend; where they end is not told."""
        return [record async for records in self.slices(positions) for record in records]

    async def slices(self, positions: Sequence[int]) -> AsyncIterator[list[Record]]:
        """The same in the order of the positions, up or down, a bounded number at a time."""
        for first, last, wanted in _runs(positions):
            lines = [line async for run in self._log.read(first - 2, last) for line in run]
            before = START
            if first > 1:
                digest = bytes.fromhex(lines.pop(0)[_HASH].decode())
                before = replace(START, position=first - 1, hash=digest)
            found = decode(lines, self._keyring, before)
            yield [replace(found[position - first], end=0) for position in wanted]
            await asyncio.sleep(0)


class _Turns:
    """The reads of one caller: how many are wanted, and the lock that lets one through."""

    def __init__(self) -> None:
        self.wanted = 0
        self.lock = asyncio.Lock()


class _Search:
    """The search for the content of one item, from its newest position backwards."""

    def __init__(self, item: Item | Tombstone, positions: list[int]) -> None:
        """``positions`` ascend and are those of the item's events up to the point asked for."""
        self.positions = positions
        self._item = item
        self._newest: Record | None = None
        self._title: str | UnsetType = UNSET
        self._description: str | UnsetType | None = UNSET

    def next_positions(self, count: int) -> list[int]:
        """The next positions to read, newest first; they are not given out again."""
        taken = self.positions[: -count - 1 : -1]
        del self.positions[-count:]
        return taken

    def take(self, record: Record) -> None:
        """Take the next older record in; one behind a whole content is ignored."""
        if self._is_whole():
            return
        if self._newest is None:
            self._newest = record
        event = record.event
        personal = getattr(event, "personal", None)
        if isinstance(event, ItemDeleted):
            # Older than a deletion is only what a restoration, which is whole, has brought back.
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
        """The item as it was, once all of it is known; ``None`` before, and where it was deleted."""
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
    """Stretches without a gap that is worth it: first and last position, and those wanted.

    The positions ascend or descend, and so do the stretches. None has more than
    `RECORDS_PER_READ` wanted lines and `_LINES_PER_READ` lines in all.
    """
    start = 0
    for end in range(1, len(positions) + 1):
        if (
            end in {len(positions), start + RECORDS_PER_READ}
            or abs(positions[end] - positions[end - 1]) > _GAP
            or abs(positions[end] - positions[start]) >= _LINES_PER_READ
        ):
            wanted = positions[start:end]
            yield min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]), wanted
            start = end
