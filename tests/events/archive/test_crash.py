"""A crash leaves the archive as its old or its new checkpoint states, and the next run goes on."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from random import Random

import pytest

from events.archive.objects import CHECKPOINT
from events.errors import DivergedLog
from events.transparency.signed_note import Note, TreeHead
from tests.events.archive.stored import (
    CrashError,
    MemoryObjects,
    archive,
    findings_of,
    lines_in,
    note_of,
    small_lines,
)

BEFORE, AFTER = 700, 1_300
LINES = small_lines(AFTER)


class CheckpointFirst(MemoryObjects):
    """A control: the checkpoint is there before what it states."""

    async def put(self, name: str, content: bytes) -> None:
        self.content[CHECKPOINT] = str(note_of(LINES)).encode()
        await super().put(name, content)


class NeverFlushed(MemoryObjects):
    """A control: nothing is durable before the end."""

    async def flush(self) -> None:
        await self._operate()


async def _crash_at(operation: int, kind: type[MemoryObjects], begun: dict[str, bytes]) -> bool:
    """Crash a run at an operation, and check what is there; return whether it crashed."""
    objects = kind(begun)
    objects.operations_left = operation
    try:
        await archive(LINES, objects)
        crashed = False
    except CrashError:
        crashed = True
    process_ended = MemoryObjects(objects.content)
    for left in (process_ended, objects.after_crash(Random(operation))):
        if begun or CHECKPOINT in left.content:
            assert await findings_of(left) == []
            found = await lines_in(left)
            assert found in (LINES[:BEFORE], LINES) if begun else found == LINES
        await archive(LINES, left)
        assert await lines_in(left) == LINES
        assert await findings_of(left) == []
    return crashed


async def _crash_everywhere(kind: type[MemoryObjects], *, is_begun: bool) -> int:
    begun = MemoryObjects()
    if is_begun:
        await archive(LINES[:BEFORE], begun)
    operation = 0
    while await _crash_at(operation, kind, begun.content):
        operation += 1
    return operation


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.anyio
async def test_a_crash_at_any_operation_leaves_a_whole_archive(is_begun: bool) -> None:
    assert await _crash_everywhere(MemoryObjects, is_begun=is_begun) > 10


@pytest.mark.parametrize("control", [CheckpointFirst, NeverFlushed])
@pytest.mark.anyio
async def test_the_check_finds_a_wrong_order(control: type[MemoryObjects]) -> None:
    with pytest.raises(Exception, match=r"missing|assert|not what|not a bundle"):
        await _crash_everywhere(control, is_begun=True)


@pytest.mark.anyio
async def test_runs_at_the_same_time_leave_a_whole_archive() -> None:
    for first, second in ((900, AFTER), (AFTER, 900), (AFTER, AFTER)):
        objects = MemoryObjects()
        await archive(LINES[:BEFORE], objects)
        await asyncio.gather(archive(LINES[:first], objects), archive(LINES[:second], objects))
        assert await findings_of(objects) == []
        size = TreeHead.parse(Note.parse(objects.content[CHECKPOINT].decode())).size
        assert await lines_in(objects) == LINES[:size]
        await archive(LINES, objects)
        assert await lines_in(objects) == LINES


class Overtaken(MemoryObjects):
    """Before the first flush, another run archives other lines."""

    lines: list[bytes] | None = None

    async def flush(self) -> None:
        lines, self.lines = self.lines, None
        if lines:
            await archive(lines, self)
        await super().flush()


@pytest.mark.parametrize("begun", [0, 200])
@pytest.mark.parametrize("size", [300, 400, 500])
@pytest.mark.anyio
async def test_a_run_does_not_replace_the_checkpoint_of_another_log(begun: int, size: int) -> None:
    objects = Overtaken()
    if begun:
        await archive(LINES[:begun], objects)
    objects.lines = forked(size)
    with pytest.raises(DivergedLog, match="another run"):
        await archive(LINES[:400], objects)
    assert objects.content[CHECKPOINT] == str(note_of(forked(size))).encode()


@pytest.mark.parametrize("begun", [0, 200])
@pytest.mark.anyio
async def test_a_run_continues_or_keeps_the_checkpoint_of_another_run(begun: int) -> None:
    for other, wins in ((300, 400), (400, 400), (500, 500)):
        objects = Overtaken()
        if begun:
            await archive(LINES[:begun], objects)
        objects.lines = LINES[:other]
        with pytest.raises(DivergedLog) if other > 400 else nullcontext():
            await archive(LINES[:400], objects)
        assert await lines_in(objects) == LINES[:wins]
        assert await findings_of(objects) == []


def forked(size: int) -> list[bytes]:
    """The lines of a log that differs after 200."""
    return [*LINES[:200], *small_lines(size - 200, seed=1)]
