"""The check of a hash chain, over every adapter."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from events.database.connection import Database
from events.database.tables import EVENTS
from events.errors import DamagedLog
from events.log.check import BYTES_PER_TURN, LINES_PER_TURN, ends_at, follow_chain
from events.log.file import closed
from events.log.file.paths import segments_path
from events.log.memory import MemoryLog
from events.log.port import EventLog, Head
from events.record import START, Record
from tests.events.log_helpers import append, file_bytes, overwrite
from tests.events.stores import KINDS, Files, Rows, Store, new_store
from tests.events.transparency.test_tree import chained

EVENTS_IN_LOG = 5 * LINES_PER_TURN
FLIPPED = 3


class Case:
    """A store with a log of some events."""

    def __init__(self, store: Store, path: Path, cleanup: AsyncExitStack) -> None:
        self._store, self._path, self._cleanup = store, path, cleanup
        self.lines: list[bytes] = []

    async def log(self) -> EventLog:
        """Open the log once more."""
        log = await self._store.open_log()
        self._cleanup.push_async_callback(log.close)
        return log

    async def flip(self, position: int) -> None:
        """Flip a bit of a line."""
        line = bytearray(self.lines[position - 1])
        line[60] ^= 1
        if isinstance(self._store, Files):
            self._overwrite(position, bytes(line))
        elif isinstance(self._store, Rows):
            changed = EVENTS.update().values(line=bytes(line)).where(EVENTS.c.position == position)
            database = await Database.open(self._store.url)
            async with database.writing.begin() as connection:
                await connection.execute(changed)
            await database.close()
        else:
            log = await self.log()
            assert isinstance(log, MemoryLog)
            log._lines[position - 1] = bytes(line)

    def _overwrite(self, position: int, line: bytes) -> None:
        """Replace a line in the open file, or in the closed segment that has it."""
        path, base = self._path / "events.jsonl", 0
        for first, last, segment in closed.list_segments(segments_path(path)):
            part = self.lines[first - 1 : last]
            if first <= position <= last:
                part[position - first] = line
                segment.unlink()
                count = closed.LINES_PER_FRAME
                tiles = (file_bytes(part[at : at + count]) for at in range(0, len(part), count))
                closed.write_segment(segment, tiles, 0o600)
                return
            base += len(file_bytes(part))
        overwrite(path, len(file_bytes(self.lines[: position - 1])) - base, line)


@pytest.fixture(params=KINDS)
async def case(request: pytest.FixtureRequest, tmp_path: Path, cleanup: AsyncExitStack) -> Case:
    case = Case(new_store(request.param, request, tmp_path), tmp_path, cleanup)
    case.lines = await append(await case.log(), EVENTS_IN_LOG)
    return case


async def checked(log: EventLog, last: Record = START, upto: int = EVENTS_IN_LOG) -> list[Record]:
    return [record async for record, _ in follow_chain(log, last, upto)]


async def test_an_intact_chain_is_followed_to_its_end(case: Case) -> None:
    records = await checked(await case.log())
    last = records[-1]
    assert (last.position, last.end) == (EVENTS_IN_LOG, sum(map(len, case.lines)) + EVENTS_IN_LOG)
    assert Head(last.position, last.hash).matches(case.lines[-1])
    assert len(records) >= EVENTS_IN_LOG / LINES_PER_TURN


async def test_a_chain_is_followed_up_to_a_position_and_on_from_there(case: Case) -> None:
    log = await case.log()
    half = (await checked(log, upto=100))[-1]
    assert half.position == 100
    assert (await checked(log, half))[-1] == (await checked(log))[-1]


@pytest.mark.parametrize("length", [1, 4_000, 5_000, 65_000, BYTES_PER_TURN, 2 * BYTES_PER_TURN])
async def test_a_turn_is_bounded_in_lines_and_in_bytes(length: int) -> None:
    """Long lines would otherwise delay requests by tens of milliseconds."""
    lines = list(chained([b"x" * length] * (2 * LINES_PER_TURN + 1)))
    log = MemoryLog(lines, Head(len(lines)))
    turns = [turn async for _, turn in follow_chain(log, START, len(lines))]
    assert [line for turn in turns for line in turn] == lines
    assert all(0 < len(turn) <= LINES_PER_TURN for turn in turns)
    assert all(len(turn) == 1 or sum(map(len, turn)) <= BYTES_PER_TURN for turn in turns)
    most = max(1, min(LINES_PER_TURN, BYTES_PER_TURN // len(lines[0])))
    assert [len(turn) for turn in turns[:-1]] == [most] * (len(turns) - 1)


@pytest.mark.parametrize("position", [1, 2, 100, EVENTS_IN_LOG])
async def test_a_flipped_bit_is_found_at_its_position(case: Case, position: int) -> None:
    await case.flip(position)
    with pytest.raises(DamagedLog) as found:
        await checked(await case.log())
    assert found.value.position == position
    assert found.value.offset == sum(len(line) + 1 for line in case.lines[: position - 1])


async def test_the_last_line_of_a_head_is_recognised_without_the_others(case: Case) -> None:
    head = Head(EVENTS_IN_LOG, bytes.fromhex(case.lines[-1][-66:-2].decode()))
    log = await case.log()
    assert await ends_at(log, head)
    assert not await ends_at(log, Head(head.position - 1, head.hash))
    assert not await ends_at(log, Head(head.position, bytes(32)))
    assert not await ends_at(log, Head(head.position + 1, head.hash))
    await case.flip(FLIPPED)
    assert await ends_at(log, head)
