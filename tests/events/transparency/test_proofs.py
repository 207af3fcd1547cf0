"""Proofs of many records in one checkpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import SigningSuspended
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import TreeHead
from events.transparency.signing.file import FileSigning
from events.transparency.signing.memory import MemorySigning
from events.transparency.tree import Tree
from tests.events.transparency.proof_checks import root_from_inclusion
from tests.events.transparency.test_tree import LONGEST, LongLog

SIZES = st.sampled_from([1, 2, 255, 256, 257, 700])


class CountingTree(Tree):
    """A tree that counts the subtrees whose roots are computed."""

    computed = 0

    async def subtree_root(self, start: int, end: int) -> bytes:
        self.computed += 1
        return await super().subtree_root(start, end)


@given(SIZES, st.lists(st.integers(0, 699), max_size=20))
async def test_every_proof_leads_to_the_root_in_any_order(size: int, indexes: list[int]) -> None:
    checkpoints = Checkpoints(Tree(LongLog(size)), MemorySigning())
    proofs = await checkpoints.proofs()

    for index in (one % size for one in indexes):
        found = await proofs.inclusion(index + 1)
        assert found == await checkpoints.inclusion(index + 1)
        head = TreeHead.parse(found.checkpoint)
        assert root_from_inclusion(index, head.size, LONGEST[index], found.hashes) == head.root


async def test_proofs_in_order_share_their_subtrees() -> None:
    tree = CountingTree(LongLog(4_096))
    proofs = await Checkpoints(tree, MemorySigning()).proofs()
    tree.computed = 0

    for position in range(1, 4_097):
        await proofs.inclusion(position)

    assert tree.computed <= 2 * 4_096


async def test_proofs_stay_in_their_checkpoint_while_the_log_grows() -> None:
    log = LongLog(300)
    checkpoints = Checkpoints(Tree(log), MemorySigning())
    proofs = await checkpoints.proofs()
    first = await proofs.inclusion(1)
    log.extend(900)
    await checkpoints.current()

    second = await proofs.inclusion(2)

    assert second.checkpoint == first.checkpoint
    assert TreeHead.parse(second.checkpoint).size == proofs.size == 300


def test_recorded_proofs_sign_and_create_nothing(tmp_path: Path) -> None:
    def checkpoints(size: int) -> Checkpoints:
        return Checkpoints(Tree(LongLog(size)), FileSigning(tmp_path / "events.jsonl"))

    assert asyncio.run(checkpoints(3).recorded_proofs()) is None
    assert list(tmp_path.iterdir()) == []
    note = asyncio.run(checkpoints(3).current())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    proofs = asyncio.run(checkpoints(5).recorded_proofs())

    assert proofs is not None
    assert asyncio.run(proofs.inclusion(3)).checkpoint == note
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(SigningSuspended):
        asyncio.run(checkpoints(2).recorded_proofs())
