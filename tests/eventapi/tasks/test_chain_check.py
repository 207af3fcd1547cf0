"""The chain below a snapshot is checked in the background, while other tasks run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from eventapi.tasks import chain_check as chain_check_module
from eventapi.tasks.chain_check import ChainCheck
from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import Written, write
from events.errors import DamagedLog, LogNotChecked, LogUnavailable, MissingEvents
from events.log.check import LINES_PER_TURN
from events.log.memory import MemoryLog
from events.log.port import EventLog
from events.record import START, Record
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.tree import Tree

ITEMS = 3 * LINES_PER_TURN
POSITION = 1 + ITEMS


@pytest.fixture(scope="module")
def written() -> Written:
    return write([registered(1, "ann"), *(created(number, 1) for number in range(1, ITEMS + 1))])


class Watched(ChainCheck):
    """A check that notes the damage that it reports, and the lines that it has checked."""

    def __init__(self, log: EventLog, written: Written, upto: int = POSITION) -> None:
        self.damages: list[DamagedLog] = []
        super().__init__(log, written.records[upto - 1], self.damages.append)
        self.lines: list[bytes] = []
        self.on_checked = lambda _, lines: self.lines.extend(lines)


def with_flipped_bit(written: Written, position: int) -> MemoryLog:
    """The log in which one bit of a line is another one."""
    lines = list(written.lines)
    line = bytearray(lines[position - 1])
    line[60] ^= 1
    lines[position - 1] = bytes(line)
    return MemoryLog(lines, written.log.head)


async def test_a_check_of_an_intact_log_ends_done(written: Written) -> None:
    check = Watched(written.log, written)
    assert (check.is_done, check.position, check.upto) == (False, 0, POSITION)
    with pytest.raises(LogNotChecked, match=r"0 of 193 events"):
        check.require_done()
    await check.run()
    assert (check.is_done, check.position, check.damages) == (True, POSITION, [])
    check.require_done()
    await check.wait()
    assert check.lines == written.lines


async def test_a_check_of_nothing_is_done_at_once(written: Written) -> None:
    check = ChainCheck(written.log, START, lambda _: None)
    assert check.is_done
    await check.run()
    await check.wait()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_check_module, "RETRY_SECONDS", 0)
    monkeypatch.setattr(chain_check_module, "CONFIRM_SECONDS", 0)


@pytest.mark.parametrize("position", [1, 100, POSITION])
async def test_a_flipped_bit_is_reported_once_and_the_check_is_never_done(
    written: Written, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    check = Watched(with_flipped_bit(written, position), written)
    await check.run()
    assert [damage.position for damage in check.damages] == [position]
    assert check.lines == written.lines[: check.position]
    assert check.position < position
    assert not check.is_done
    with pytest.raises(LogNotChecked):
        check.require_done()
    (record,) = caplog.records
    assert record.levelno == logging.CRITICAL
    assert f"the log is damaged at position {position:,}" in record.getMessage()
    assert f"the snapshot at {POSITION:,}" in record.getMessage()


async def test_lines_above_the_snapshot_are_not_its_business(written: Written) -> None:
    """The start itself has checked them."""
    check = Watched(with_flipped_bit(written, POSITION), written, POSITION - 1)
    await check.run()
    assert (check.is_done, check.damages) == (True, [])


async def test_a_chain_that_leads_elsewhere_is_damage(written: Written) -> None:
    """A log could be replaced by another intact one after the start."""
    other = write([registered(1, "eve"), *(created(n, 1) for n in range(1, ITEMS + 1))])
    check = Watched(other.log, written)
    await check.run()
    assert [damage.position for damage in check.damages] == [POSITION]


async def test_other_tasks_run_between_a_few_lines(written: Written) -> None:
    check = Watched(written.log, written)
    seen: list[int] = []

    async def other() -> None:
        while not check.is_done:
            seen.append(check.position)
            await asyncio.sleep(0)

    await asyncio.gather(check.run(), other())
    assert seen[:3] == [LINES_PER_TURN, 2 * LINES_PER_TURN, 3 * LINES_PER_TURN]


async def test_lines_that_the_callback_did_not_take_are_checked_again(written: Written) -> None:
    """The task starts again after an error such as a lack of memory."""
    check, tree = Watched(written.log, written), Tree(written.log)
    failures = [MemoryError()]

    def extend(last: Record, lines: Sequence[bytes]) -> None:
        if last.position > LINES_PER_TURN and failures:
            raise failures.pop()
        tree.extend(last, lines)

    check.on_checked = extend
    with pytest.raises(MemoryError):
        await check.run()
    assert (check.position, check.is_done) == (LINES_PER_TURN, False)
    await check.run()
    assert await tree.grow() == POSITION
    assert await tree.root(POSITION) == root_of([*map(leaf_hash, written.lines)])


class OnceGarbled(MemoryLog):
    """A log of which one read returns other bytes, or too few lines."""

    error: type[DamagedLog] | None = None
    is_garbled = True

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        lines = [line async for run in super().read(after, upto) for line in run]
        half = max(100 - after, 0)
        yield lines[:half]
        if self.is_garbled:
            self.is_garbled = False
            if self.error is not None:
                raise self.error("lines are missing", position=100, offset=0)
            lines[half] = lines[half].replace(b"1", b"2")
        yield lines[half:]


@pytest.mark.parametrize("error", [None, DamagedLog, MissingEvents])
async def test_a_read_that_went_wrong_once_is_no_damage(
    written: Written, error: type[DamagedLog] | None, caplog: pytest.LogCaptureFixture
) -> None:
    log = OnceGarbled(written.lines, written.log.head)
    log.error = error
    check = Watched(log, written)
    await check.run()
    assert (check.is_done, check.damages, caplog.records) == (True, [], [])
    assert check.lines == written.lines
    assert not log.is_garbled


class Unreadable(MemoryLog):
    """A log that cannot be read at its second half for a while."""

    failures = 2

    async def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        lines = [line async for run in super().read(after, upto) for line in run]
        half = max(100 - after, 0)
        yield lines[:half]
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("the disk does not answer")
        yield lines[half:]


async def test_a_log_that_cannot_be_read_is_read_again_from_where_it_failed(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    check = Watched(Unreadable(written.lines, written.log.head), written)
    await check.run()
    assert (check.is_done, check.position, check.damages) == (True, POSITION, [])
    assert check.lines == written.lines
    (record,) = caplog.records  # Said once.
    assert "cannot be checked yet" in record.getMessage()
