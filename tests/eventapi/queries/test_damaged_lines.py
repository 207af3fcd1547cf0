"""A question about the past is answered from undamaged lines, or not at all."""

from __future__ import annotations

import pytest

from eventapi.queries.history import History
from eventapi.testing.given import at, created, registered
from eventapi.testing.items import ITEMS
from eventapi.testing.sample_log import Written, write
from events.errors import DamagedLog
from events.log.memory import MemoryLog
from events.log.search import last_position
from events.sealing import Keyring
from events.vault.memory import MemoryVault

COUNT = 40


@pytest.fixture(scope="module")
def written() -> Written:
    return write([registered(1, "ann"), *(created(number, 1) for number in range(1, COUNT))])


def changed(written: Written, position: int, old: bytes, new: bytes) -> MemoryLog:
    """The log with other bytes at the first such place of a line."""
    lines = list(written.lines)
    assert old in lines[position - 1]
    lines[position - 1] = lines[position - 1].replace(old, new, 1)
    return MemoryLog(lines, written.log.head)


@pytest.mark.parametrize("position", [1, 2, 20, COUNT])
async def test_no_moment_is_found_by_the_time_of_a_damaged_line(
    written: Written, position: int
) -> None:
    damaged = changed(written, position, b'"time":"2026', b'"time":"2027')
    refused: list[int] = []
    for second in range(COUNT + 2):
        is_before = at(second).__ge__
        right = await last_position(written.log, COUNT, is_before)
        try:
            found = await last_position(damaged, COUNT, is_before)
        except DamagedLog as error:
            refused.append(error.position)
        else:
            assert found == right
    assert {*refused} == {position}


@pytest.mark.parametrize("new", [b'"hash":"z', b'"hash":"\xff'])
async def test_a_line_whose_hash_cannot_be_read_is_damage(written: Written, new: bytes) -> None:
    line = written.lines[9]
    start = line.index(b'"hash":"')
    log = changed(written, 10, line[start : start + 9], new)
    history = History(log, Keyring(), MemoryVault(), None, lambda: ITEMS)
    with pytest.raises(DamagedLog) as damage:
        await history.records([11])
    assert damage.value.position == 10
