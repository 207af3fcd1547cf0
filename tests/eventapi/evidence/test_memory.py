"""The memory that a pack takes grows little with its lines."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from eventapi.evidence import archive
from eventapi.evidence.selection import Selection, select
from eventapi.evidence.writer import EvidenceWriter
from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import write
from tests.eventapi.evidence.packs import World

BYTES_PER_LINE = 300
"""As the docstring of `eventapi.evidence.writer` says, with some room."""


async def peak(items: int) -> tuple[int, int]:
    """The lines of a pack about one of two users, and the most bytes that writing it takes."""
    history = [created(number, 1 + number % 2) for number in range(1, items + 1)]
    world = World(write([registered(1, "ann"), registered(2, "ben"), *history]))
    selection = Selection(user="ann", open=True)
    selected = await select(selection, world.state, world.history, world.watcher)
    await world.checkpoints.current()
    writer = EvidenceWriter(selection, selected, world.history, world.checkpoints, world.keyring)
    gc.collect()
    tracemalloc.start()
    try:
        async for _ in writer.parts():
            pass
        return len(selected.positions), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def bytes_per_line() -> float:
    """The growth between a small and a larger pack of scattered lines."""
    (few, small), (many, large) = await peak(1_000), await peak(5_000)
    return (large - small) / (many - few)


async def test_a_line_of_a_pack_takes_little_memory() -> None:
    assert await bytes_per_line() < BYTES_PER_LINE


async def test_control_with_a_text_for_each_check_it_takes_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add: Callable[[archive.Digest, bytes], None] = archive.Digest.add
    kept: list[str] = []

    def add_texts(digest: archive.Digest, part: bytes) -> None:
        kept.extend(archive.check_of(line).hex() for line in part.split(b"\n"))
        add(digest, part)

    monkeypatch.setattr(archive.Digest, "add", add_texts)
    assert await bytes_per_line() > BYTES_PER_LINE
