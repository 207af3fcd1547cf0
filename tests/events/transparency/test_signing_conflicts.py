"""Two instances that sign at once, in a store whose lock admits both, as that of Galera."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from events.errors import LogConflict
from events.transparency import checkpoints as checkpoints_module
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.memory import MemorySigning
from events.transparency.signing.port import SigningState
from events.transparency.tree import Tree
from tests.events.transparency.test_tree import LongLog

KEY = Signer.from_seed(bytes(range(1, 33)), "eventapi/")


class ConflictingSigning(MemorySigning):
    """A store that refuses the next writes, because another instance was first."""

    conflicts = 0
    other: Callable[[], Awaitable[object]] | None = None
    """What the other instance writes, if it writes at all."""

    recorded = 0

    def lose_confirmation(self) -> None:
        """Restore the store to another place."""
        self._state = replace(self._state, status="unconfirmed")

    async def record(self, note: Note) -> None:
        self.recorded += 1
        await super().record(note)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[MemorySigning]:
        before = self._state
        async with super().exclusive() as recorder:
            yield recorder
        if self.conflicts:
            self.conflicts -= 1
            self._state = before
            if self.other is not None:
                await self.other()
            raise LogConflict("another transaction was first")


async def signed(size: int) -> tuple[Checkpoints, ConflictingSigning]:
    """Checkpoints of a log with lines, of which the first three are signed."""
    log, store = LongLog(3), ConflictingSigning()
    made = Checkpoints(Tree(log), store)
    await made.current()
    log.extend(size)
    return made, store


async def newest(made: Checkpoints) -> Note:
    note = (await made.signing_state()).note
    assert note is not None
    return note


async def confirm(made: Checkpoints) -> object:
    return await made.confirm(await newest(made))


async def cosign(made: Checkpoints) -> object:
    return await made.add_cosignatures(await newest(made))


OPERATIONS: dict[str, Callable[[Checkpoints], Awaitable[object]]] = {
    "sign": lambda made: made.current(),
    "confirm": confirm,
    "cosign": cosign,
    "begin": lambda made: made.begin(KEY),
}


EFFECTS: dict[str, Callable[[SigningState], bool]] = {
    "sign": lambda state: state.head is not None and state.head.size == 7,
    "confirm": lambda state: state.status == "confirmed",
    "cosign": lambda state: state.cosigned is not None,
    "begin": lambda state: state.signer is not None and state.signer.verifier == KEY.verifier,
}
"""What each operation changes in the store."""


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_write_that_was_refused_is_decided_and_written_again(name: str) -> None:
    made, store = await signed(7)
    if name == "confirm":
        store.lose_confirmation()
    assert not EFFECTS[name](await store.read())
    store.conflicts = 3
    await OPERATIONS[name](made)
    assert store.conflicts == 0
    assert EFFECTS[name](await store.read())


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_write_that_is_refused_for_too_long_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints_module, "_CONFLICT_SECONDS", 0.0)
    made, store = await signed(7)
    before, store.conflicts = await store.read(), 1
    with pytest.raises(LogConflict):
        await OPERATIONS[name](made)
    assert await store.read() == before


async def test_the_checkpoint_of_the_instance_that_was_first_is_not_signed_again() -> None:
    made, store = await signed(7)
    other = Checkpoints(Tree(made.tree._log), store)
    store.conflicts, store.other = 1, other.current
    before = store.recorded
    assert TreeHead.parse(await made.current()).size == 7
    assert store.recorded == before + 2  # One was refused, and one is of the other instance.
