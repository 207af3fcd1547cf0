"""Copies between adapters: byte for byte, resumable, never into another log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path

import pytest

from events.errors import DamagedLog, DivergedLog
from events.log import copy as copy_module
from events.log.copy import copy
from events.log.file.log import JsonlLog
from events.log.memory import MemoryLog
from events.log.port import EventLog, Head
from tests.events.log_helpers import read_all, some_lines

LINES, HEAD = some_lines(12, size=100)


@asynccontextmanager
async def log_of(kind: str, path: Path, lines: list[bytes]) -> AsyncIterator[EventLog]:
    """Open a log of an adapter that has these lines."""
    log: EventLog = JsonlLog(path) if kind == "jsonl" else MemoryLog()
    try:
        if lines:
            async with log.exclusive(5) as appender:
                await appender.append(lines, Head(len(lines), _hash_of(lines[-1])))
        yield log
    finally:
        await log.close()


def _hash_of(line: bytes) -> bytes:
    return bytes.fromhex(line[-66:-2].decode())


@pytest.mark.parametrize(
    ("kinds", "had"), [*product(product(["jsonl", "memory"], repeat=2), [0, 5, 12])]
)
async def test_a_copy_has_the_same_lines_and_resumes_a_partial_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, str], had: int
) -> None:
    monkeypatch.setattr(copy_module, "_BYTES_PER_APPEND", 1_000)
    reached: list[int] = []
    async with (
        log_of(kinds[0], tmp_path / "source", LINES) as source,
        log_of(kinds[1], tmp_path / "target", LINES[:had]) as target,
    ):
        assert await copy(source, target, 12, timeout=5, progress=reached.append) == 12 - had
        assert await read_all(target) == LINES
        assert reached == sorted(reached)
        assert await copy(source, target, 12, timeout=5) == 0


async def test_a_copy_ends_at_the_requested_position(tmp_path: Path) -> None:
    async with (
        log_of("memory", tmp_path, LINES) as source,
        log_of("jsonl", tmp_path / "target", []) as target,
    ):
        assert await copy(source, target, 7, timeout=5) == 7
        assert await read_all(target) == LINES[:7]
        with pytest.raises(DivergedLog, match="the copy has 7 events, the log only 6"):
            await copy(source, target, 6, timeout=5)


async def test_a_copy_into_another_log_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    others, _ = some_lines(5, size=90)
    async with (
        log_of("memory", tmp_path, LINES) as source,
        log_of("memory", tmp_path, others) as target,
    ):
        with pytest.raises(DivergedLog, match="its event 5 is another one"):
            await copy(source, target, 12, timeout=5)
        assert await read_all(target) == others


async def test_a_broken_chain_is_not_copied(tmp_path: Path) -> None:
    broken = [*LINES[:5], LINES[5].replace(b"items/6", b"items/9"), *LINES[6:]]
    async with (
        log_of("memory", tmp_path, broken) as source,
        log_of("memory", tmp_path, LINES[:2]) as target,
    ):
        with pytest.raises(DamagedLog, match="position 6"):
            await copy(source, target, 12, timeout=5)
        assert await read_all(target) == LINES[:2]
