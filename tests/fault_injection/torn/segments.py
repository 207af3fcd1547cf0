"""Damage to a log with closed segments: to its open file, a segment, and what a crash leaves.

Segments of a few lines are written by the real closing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest import mock

from events.errors import DamagedLog
from events.log.file import closed
from events.log.file.closing import close_segments
from events.log.file.log import JsonlLog
from events.log.file.paths import SUFFIX, closed_segments, segments_path
from events.log.file.reader import JsonlReader
from tests.events.log_helpers import open_file_log, publish, quarantined_tails, read_all, recover
from tests.fault_injection.torn.cases import CASES, SECTOR_BYTES, Cases
from tests.fault_injection.torn.history import History, Verdict
from tests.fault_injection.torn.judge import judge_file

TILE = 4
CLOSED_LINES = 16
"""Number of lines in segments of two tiles each, where the open file is damaged."""

FEW_LINES = 3 * TILE
"""The lines of a log whose segments, or files beside them, are damaged."""

LINES = 80
"""A history for all cases; each opens a log, so it is short."""

Judged = Iterator[tuple[Verdict, Verdict, int]]
"""Expected verdict, given verdict and number of published lines of each case."""


@contextmanager
def small_tiles() -> Iterator[None]:
    """Let segments end after every few lines."""
    with mock.patch.object(closed, "LINES_PER_FRAME", TILE):
        yield


def open_file_verdicts(directory: Path, history: History, cases: Cases, stride: int) -> Judged:
    """Damage the open file behind closed segments; the cases of a whole log that do only that."""
    path, start = directory / "events.jsonl", history.ends[CLOSED_LINES]
    segments_path(path).mkdir(parents=True)
    with small_tiles():
        for first in range(0, CLOSED_LINES, 2 * TILE):
            _write_segment(path, history, first, 2 * TILE)
        for content, marked in cases(history, stride):
            if marked > CLOSED_LINES and content.startswith(history.content[:start]):
                given = judge_file(path, history, content, marked, CLOSED_LINES)
                yield history.expected_verdict(content, marked), given, marked
        assert not any(".zst" in kept.name for kept in directory.rglob("quarantine/*"))


def _write_segment(path: Path, history: History, first: int, count: int) -> Path:
    """Write the segment of ``count`` lines after ``first``."""
    segment = closed.segment_path(segments_path(path), first + 1, first + count)
    segment.parent.mkdir(exist_ok=True, parents=True)
    ends = [history.ends[at] for at in range(first, first + count + 1, TILE)]
    tiles = [history.content[one:other] for one, other in pairwise(ends)]
    closed.write_segment(segment, tiles, 0o600)
    return segment


def segment_verdicts(directory: Path, history: History, stride: int) -> Judged:
    """Cut a segment at every length, flip each bit, and zero each sector of it."""
    path = directory / "events.jsonl"
    with small_tiles():
        segment = _write_segment(path, history, 0, 2 * TILE)
        path.write_bytes(history.content[history.ends[2 * TILE] : history.ends[FEW_LINES]])
        publish(path, history.lines[:FEW_LINES], history.heads[FEW_LINES])
        content = segment.read_bytes()
        for damaged, may_be_whole in _damages(content, stride):
            segment.write_bytes(damaged)
            given = _read_verdict(path, history)
            is_unharmed = may_be_whole and given == Verdict("whole", FEW_LINES)
            # A few bits of the format have no meaning for the lines.
            yield given if is_unharmed else Verdict("damaged"), given, FEW_LINES
            assert segment.read_bytes() == damaged, "a damaged segment must not be changed"


def _damages(content: bytes, stride: int) -> Iterator[tuple[bytes, bool]]:
    """Damaged contents, and whether the lines may still be right."""
    for size in range(0, len(content), stride):
        yield content[:size], False
        yield content[:size].ljust(len(content), b"\0"), False
    for start in range(0, len(content), SECTOR_BYTES):
        end = min(start + SECTOR_BYTES, len(content))
        yield content[:start] + bytes(end - start) + content[end:], False
    for bit in range(0, len(content) * 8, stride):
        yield _flip(content, bit), True


def _flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def _read_verdict(path: Path, history: History) -> Verdict:
    """The verdict of a server and of a command that only reads; other lines are wrong."""

    async def read(opening: type[JsonlLog | JsonlReader]) -> list[bytes]:
        log = opening(path)
        try:
            if isinstance(log, JsonlLog):
                await recover(log)
            return await read_all(log)
        finally:
            await log.close()

    found = []
    for opening in (JsonlLog, JsonlReader):
        try:
            lines = asyncio.run(read(opening))
        except DamagedLog as error:
            is_named = str(segments_path(path)) in str(error)
            found.append(Verdict("damaged" if is_named else "torn"))
        else:
            is_right = lines == history.lines[:FEW_LINES]
            found.append(Verdict("whole" if is_right else "torn", len(lines)))
    return found[0] if found[0] == found[1] else Verdict("torn")


def left_over_verdicts(directory: Path, history: History, stride: int) -> Judged:
    """Leave a part of each file that a closing writes beside the log, as a crash does.

    None of them harms the log, and the next closing ends with all lines and without them.
    """
    with small_tiles():
        for name in ("the segment's file", "the next open file", "the segment"):
            content, place = _left_over(directory, history, name)
            for size in sorted({*range(0, len(content), stride), len(content)}):
                for part in (content[:size], content[:size].ljust(len(content), b"\0")):
                    shutil.rmtree(directory)
                    is_wrong = part != content and place.name.endswith(SUFFIX)
                    given = _closing_verdict(directory, history, place, part, is_wrong=is_wrong)
                    yield Verdict("whole", FEW_LINES + 1), given, FEW_LINES


def _left_over(directory: Path, history: History, name: str) -> tuple[bytes, Path]:
    """The whole content and the path of a file that a closing writes."""
    path = directory / "events.jsonl"
    segment = _write_segment(path, history, 0, 2 * TILE)
    if name == "the next open file":
        rest = history.content[history.ends[2 * TILE] : history.ends[FEW_LINES]]
        return rest, path.with_name("events.jsonl.next.tmp")
    is_named = name == "the segment"
    return segment.read_bytes(), segment if is_named else segment.with_name(f"{1:016}.tmp")


def _closing_verdict(
    directory: Path, history: History, place: Path, content: bytes, *, is_wrong: bool
) -> Verdict:
    """Open, close segments, and read, with this file beside the log."""
    path = directory / "events.jsonl"
    place.parent.mkdir(parents=True)
    segments_path(path).mkdir(exist_ok=True)
    place.write_bytes(content)
    path.write_bytes(history.content[: history.ends[FEW_LINES + 1]])
    publish(path, history.lines[: FEW_LINES + 1], history.heads[FEW_LINES + 1])

    async def verdict() -> Verdict:
        async with open_file_log(path) as log:
            await recover(log)
            before = await read_all(log)
            assert await close_segments(log, 1, 5)
            after = await read_all(log)
        async with open_file_log(path) as log:
            await recover(log)
            again = await read_all(log)
        lines = history.lines[: FEW_LINES + 1]
        is_right = before == after == again == lines and len(closed_segments(path)) > 0
        # What was there under the name of a segment, and is none, may be the only copy of lines.
        is_kept = quarantined_tails(path) == ([content] if is_wrong else [])
        has_rest = any(directory.rglob("*.tmp"))
        return Verdict("whole" if is_right and is_kept and not has_rest else "torn", len(after))

    return asyncio.run(verdict())


def rows(history: History, directory: Path, stride: int) -> dict[str, Callable[[], Judged]]:
    """The rows of the table, by the name of the damage."""
    found: dict[str, Callable[[], Judged]] = {}
    for number, (name, cases) in enumerate(CASES.items()):
        room = directory / f"open-{number}"
        found[f"{name}, behind segments"] = partial(
            open_file_verdicts, room, history, cases, stride
        )
    found["a segment"] = partial(segment_verdicts, directory / "segment", history, stride)
    found["left over from a closing"] = partial(
        left_over_verdicts, directory / "left", history, stride
    )
    return found
