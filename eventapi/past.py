"""The past of items, from the lines of the log that are theirs and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from msgspec import UNSET
from msgspec.structs import replace

from events.codec import decode
from events.errors import Fault, Invalid, Overloaded
from events.items import ContentChanges, ItemUpdated
from events.log.port import EventLog
from events.record import START, Event, Record, entity_number
from events.sealing import Keyring
from events.vault.port import Vault
from projections.items import Item, Tombstone
from projections.receipts import Entity
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State

_GAP = 32
"""Up to how many lines between two that are wanted it is cheaper to read on than to read anew."""

_AT_ONCE = 256
"""How many records are made of lines before others have their turn."""

_HASH = slice(-66, -2)
"""Where in a line its hash stands."""

_WAITING = 8
"""So many may wait for a whole state of the past; each takes the memory of another one."""


class Past:
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

    async def life(self, item: Item | Tombstone, state: State) -> list[Record]:
        """All records of an item, oldest first; their ``end`` is not told."""
        return await self.records(state.items.lives.of(item.version))

    async def at(self, position: int, items: Iterable[Item | Tombstone], state: State) -> State:
        """The state of these items, and of nothing else, as it was at a position."""
        lives = state.items.lives
        positions = [one for item in items for one in lives.of(item.version) if one <= position]
        # A draft does not remember where lives go on, in a table as long as the log.
        past = State.empty().draft()
        for record in await self.records(sorted(positions)):
            past.apply(record)
        return past

    async def entity_after(self, position: int, subject: str, state: State) -> Entity:
        """The item, or the user of a registration, as it stood right after the event at a position.

        Of a deleted item there is nothing.
        """
        if subject.startswith("items/"):
            item = state.items.known(entity_number(subject))
            if item is None:
                return None
            if item.version == position:
                return item if isinstance(item, Item) else None
            (record,) = await self.records([position])
            if not _is_whole(record.event):
                return (await self.at(position, [item], state)).items.by_id.get(item.id)
            past = State.empty().draft()
            # What an event with the whole content does not say, and never changes.
            past.items.by_id[item.id] = Item(item.id, "", None, item.owner, item.created_at, "", 0)
            return past.apply(record)
        (record,) = await self.records([position])
        return State.empty().draft().apply(record)

    @asynccontextmanager
    async def whole(self, position: int) -> AsyncIterator[State]:
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

    async def line(self, position: int) -> bytes:
        """The line at a position, which there is."""
        (line,) = [line async for run in self._log.read(position - 1, position) for line in run]
        return line

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, which ascend; where they end is not told."""
        wanted, records = set(positions), []
        for first, last in _runs(positions):
            lines = [line async for run in self._log.read(first - 2, last) for line in run]
            before = START
            if first > 1:
                digest = bytes.fromhex(lines.pop(0)[_HASH].decode())
                before = replace(START, position=first - 1, hash=digest)
            found = decode(lines, self._keyring, before)
            records += [replace(record, end=0) for record in found if record.position in wanted]
            await asyncio.sleep(0)
        return records


def _is_whole(event: Event) -> bool:
    """Whether the content of an item after an event does not depend on what was before."""
    if isinstance(event, ItemUpdated):
        personal = event.personal
        return isinstance(personal, ContentChanges) and (
            personal.title is not UNSET and personal.description is not UNSET
        )
    return True


def _runs(positions: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches without a gap that is worth it, each as its first and last position.

    None is of more than may be made at once.
    """
    start = 0
    for end in range(1, len(positions) + 1):
        if end in {len(positions), start + _AT_ONCE} or positions[end] > positions[end - 1] + _GAP:
            yield positions[start], positions[end - 1]
            start = end
