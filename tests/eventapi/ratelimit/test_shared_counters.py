"""The table: one count for all processes, of fixed size, without readable keys."""

from __future__ import annotations

import fcntl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from eventapi.ratelimit.rate import Window
from eventapi.ratelimit.shared_counters import BUCKETS, FILE_BYTES, SharedCounters

SECRET = "a secret key for tests: 0123456789abcdef"


class Clock:
    """A clock that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_table(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], SharedCounters]]:
    tables: list[SharedCounters] = []

    def new_table() -> SharedCounters:
        tables.append(SharedCounters(tmp_path / "limits.table", SECRET, clock))
        return tables[-1]

    yield new_table
    for table in tables:
        table.close()


def test_two_tables_on_a_file_count_as_one(open_table: Callable[[], SharedCounters]) -> None:
    first, second = open_table(), open_table()
    counts = [table.add("ann", 60).count for table in (first, second, first, second)]
    assert counts == [1, 2, 3, 4]
    assert second.add("bob", 60).count == 1


def test_a_window_begins_with_the_first_action_and_ends_as_a_whole(
    open_table: Callable[[], SharedCounters], clock: Clock
) -> None:
    table = open_table()
    table.add("ann", 60)
    clock.now += 45
    assert table.add("ann", 60) == Window(2, 15)
    assert table.get("ann", 60) == Window(2, 15)
    clock.now += 15
    assert table.get("ann", 60) == Window(0, 60)
    assert table.add("ann", 60) == Window(1, 60)


def test_windows_from_before_a_reboot_are_ignored(
    open_table: Callable[[], SharedCounters], clock: Clock
) -> None:
    table = open_table()
    table.add("ann", 60)
    clock.now = 5.0
    assert table.get("ann", 60).count == 0
    assert table.add("ann", 60) == Window(1, 60)


def test_a_cleared_key_begins_a_new_window(open_table: Callable[[], SharedCounters]) -> None:
    table = open_table()
    table.add("ann", 60)
    table.clear("ann")
    table.clear("unknown")
    assert table.get("ann", 60).count == 0
    assert table.add("ann", 60).count == 1


@pytest.mark.long
def test_a_flood_of_new_callers_neither_grows_the_file_nor_evicts_a_high_count(
    open_table: Callable[[], SharedCounters], tmp_path: Path
) -> None:
    table = open_table()
    for _ in range(3):
        table.add("ann", 60)
    for number in range(300_000):
        table.add(f"address {number}", 60)
    assert (tmp_path / "limits.table").stat().st_size == FILE_BYTES
    assert table.add("ann", 60).count == 4


def test_the_file_contains_no_readable_key(
    open_table: Callable[[], SharedCounters], tmp_path: Path
) -> None:
    open_table().add("address 192.0.2.1", 60)
    other = SharedCounters(tmp_path / "other", "another secret: 0123456789abcdefgh")
    other.add("address 192.0.2.1", 60)
    other.close()
    one, two = (tmp_path / name for name in ("limits.table", "other"))
    assert b"192.0.2" not in one.read_bytes()
    assert one.read_bytes() != two.read_bytes()


def test_a_sweep_wipes_ended_windows_only(
    open_table: Callable[[], SharedCounters], tmp_path: Path, clock: Clock
) -> None:
    table = open_table()
    table.add("over", 60)
    table.add("before a reboot", 60)
    clock.now += 60
    table.add("under way", 60)
    table.sweep(0, BUCKETS)
    assert table.get("under way", 60) == Window(1, 60)
    assert live_tags(tmp_path / "limits.table") == 1
    clock.now = -1_000_000.0
    table.sweep(0, BUCKETS)
    assert live_tags(tmp_path / "limits.table") == 0


def test_a_cleared_key_leaves_no_tag(
    open_table: Callable[[], SharedCounters], tmp_path: Path
) -> None:
    table = open_table()
    table.add("ann", 60)
    table.clear("ann")
    assert live_tags(tmp_path / "limits.table") == 0


def live_tags(path: Path) -> int:
    """How many slots of a file have a tag."""
    content = path.read_bytes()
    size = FILE_BYTES // BUCKETS
    tags = (struct.unpack_from("=8Q", content, number * size) for number in range(BUCKETS))
    return sum(map(bool, chain.from_iterable(tags)))


EACH = 300

COUNT = """
import sys, time
from pathlib import Path
from eventapi.ratelimit import shared_counters
from eventapi.ratelimit.shared_counters import SharedCounters

shared_counters._LOCK_TIMEOUT_SECONDS = 60

class Slow(SharedCounters):
    def _claim_slot(self, *where):
        found = super()._claim_slot(*where)
        time.sleep(0.0001)
        return found

table = Slow(Path(sys.argv[1]), "{secret}")
if sys.argv[2] == "unlocked":
    table._acquire = lambda file: False
sys.stdin.readline()
print([table.add("ann", 60).count for _ in range({each})].pop())
"""
"""A pause between reading and writing gives the other processes time to count.

On a busy machine a process may wait longer for the lock than a server would.
"""


def highest_count(path: Path, locking: str) -> int:
    """The highest count of four processes that each count `EACH` times."""
    code = COUNT.format(secret=SECRET, each=EACH)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), locking],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return max(int(worker.communicate(timeout=60)[0]) for worker in workers)


def test_processes_do_not_lose_counts(tmp_path: Path) -> None:
    assert highest_count(tmp_path / "limits.table", "locked") == 4 * EACH


def test_control_without_the_lock_counts_are_lost(tmp_path: Path) -> None:
    assert highest_count(tmp_path / "limits.table", "unlocked") < 4 * EACH


def test_a_holder_that_keeps_the_lock_is_not_waited_for(
    open_table: Callable[[], SharedCounters], tmp_path: Path
) -> None:
    table = open_table()
    with (tmp_path / "limits.table").open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        began = time.monotonic()
        assert table.add("ann", 60).count == 1
        assert time.monotonic() - began < 5


def test_each_process_counts_alone_if_the_file_cannot_be_created(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "limits.table").mkdir()
    table = SharedCounters(tmp_path / "limits.table", SECRET)
    assert [table.add("ann", 60).count for _ in range(2)] == [1, 2]
    assert "each worker counts rate limits on its own" in caplog.text
    table.close()
