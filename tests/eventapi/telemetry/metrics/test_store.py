"""Numbers of several workers are added up, outlive who counted them, and are nobody else's."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from eventapi.telemetry.metrics.shared import MetricsFile
from eventapi.telemetry.metrics.store import GaugeMode, MetricsStore, current_instance
from tests.eventapi.telemetry.metrics.reading import Page

BOUNDS = (0.1, 1.0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


def opened(stack: ExitStack, root: Path, instance: str = "ours") -> MetricsStore:
    return stack.enter_context(closing(MetricsStore(root, instance)))


def count(store: MetricsStore, times: int) -> None:
    store.counter("seen_total", "What was seen.", {"of": "sheep"}).add(times)


def seen(store: MetricsStore) -> float | None:
    return Page(store.collect()).value("seen_total", of="sheep")


def test_counts_of_all_workers_are_added_up(stack: ExitStack, root: Path) -> None:
    stores = [opened(stack, root) for _ in range(4)]
    for number, store in enumerate(stores, 1):
        count(store, number)
        count(store, 10)
    assert [seen(store) for store in stores] == [50.0] * 4


def test_what_was_counted_outlives_the_worker_and_the_next_counts_on(
    stack: ExitStack, root: Path
) -> None:
    staying = opened(stack, root)
    for _ in range(3):
        with closing(MetricsStore(root, "ours")) as leaving:
            count(leaving, 5)
    assert seen(staying) == 15.0
    assert len(list(root.glob("ours/counter_*"))) == 2


def test_no_more_files_than_workers_at_a_time(stack: ExitStack, root: Path) -> None:
    first = MetricsStore(root, "ours")
    second = opened(stack, root)
    first.close()
    third = opened(stack, root)
    count(second, 1)
    count(third, 1)
    assert {path.name for path in root.glob("ours/*.lock")} == {"0.lock", "1.lock"}
    assert seen(second) == 2.0


def test_histograms_are_added_up_by_bucket(stack: ExitStack, root: Path) -> None:
    stores = [opened(stack, root) for _ in range(2)]
    for store in stores:
        for value in (0.05, 0.1, 0.5, 7.0):
            store.histogram("waits_seconds", "Waits.", BOUNDS).add(value)
    page = Page(stores[0].collect())
    buckets = [page.value("waits_seconds_bucket", le=le) for le in ("0.1", "1.0", "+Inf")]
    assert buckets == [4.0, 6.0, 8.0]
    assert page.value("waits_seconds_count") == 8.0
    assert page.value("waits_seconds_sum") == pytest.approx(15.3)


@pytest.mark.parametrize(
    ("mode", "both", "one"),
    [("sum", 5.0, 2.0), ("max", 3.0, 2.0), ("min", 2.0, 2.0), ("mostrecent", 3.0, 2.0)],
)
def test_gauges_are_those_of_workers_that_live(
    stack: ExitStack, root: Path, mode: GaugeMode, both: float, one: float
) -> None:
    staying, leaving = opened(stack, root), MetricsStore(root, "ours")
    staying.gauge("now", "How it is.", mode).set(2.0)
    leaving.gauge("now", "How it is.", mode).set(3.0)
    assert Page(staying.collect()).value("now") == both
    leaving.close()
    assert Page(staying.collect()).value("now") == one
    opened(stack, root)  # In the slot of the one that left, whose gauges say nothing of it.
    assert Page(staying.collect()).value("now") == one


def test_another_server_on_the_same_data_has_numbers_of_its_own(
    stack: ExitStack, root: Path
) -> None:
    ours, theirs = opened(stack, root), opened(stack, root, "theirs")
    count(ours, 1)
    count(theirs, 2)
    assert (seen(ours), seen(theirs)) == (1.0, 2.0)


def test_what_is_left_of_servers_that_ended_is_removed_and_what_lives_is_not(
    stack: ExitStack, root: Path
) -> None:
    living = opened(stack, root, "living")
    count(living, 3)
    with closing(MetricsStore(root, "ended")) as ended:
        count(ended, 1)
    opened(stack, root)
    assert {path.name for path in root.iterdir()} == {"lock", "living", "ours"}
    assert seen(living) == 3.0


def test_nobody_else_may_look(stack: ExitStack, root: Path) -> None:
    count(opened(stack, root), 1)
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_what_a_killed_process_has_counted_is_there(stack: ExitStack, root: Path) -> None:
    store = opened(stack, root)
    program = (
        "import os, pathlib, sys; from eventapi.telemetry.metrics.store import MetricsStore;"
        "store = MetricsStore(pathlib.Path(sys.argv[1]), 'ours');"
        "[store.counter('seen_total', 'What was seen.', {'of': 'sheep'}).add() for _ in range(7)];"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert ended.returncode == -9
    assert seen(store) == 7.0


def test_workers_of_a_supervisor_are_one_instance_and_another_process_is_not() -> None:
    program = (
        "import multiprocessing;"
        "from eventapi.telemetry.metrics.store import current_instance;"
        "context = multiprocessing.get_context('spawn');"
        "pool = context.Pool(2);"
        "print(current_instance(), *pool.starmap(current_instance, [(), ()]));"
        "pool.terminate(); pool.join()"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert len(said.stdout.split()) == 3
    assert len({*said.stdout.split()}) == 1
    assert current_instance() not in said.stdout


def test_the_files_are_those_of_the_library(tmp_path: Path) -> None:
    """What we write it reads, and what it has written we read and write on."""
    keys = ["k" * length for length in range(1, 20)] + ["\u00e4" * 5]
    with closing(MetricsFile(tmp_path / "ours.db", 4096)) as ours:
        for number, key in enumerate(keys, 1):
            ours.values[ours.index_of(key)] = number
    read = {
        key: value
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(tmp_path / "ours.db"))
    }
    assert read == {key: float(number) for number, key in enumerate(keys, 1)}
    with closing(MmapedDict(str(tmp_path / "theirs.db"))) as theirs:
        for number, key in enumerate(keys, 1):
            theirs.write_value(key, float(number), 0.0)
    with closing(MetricsFile(tmp_path / "theirs.db", 1 << 16)) as ours:
        assert [ours.values[ours.index_of(key)] for key in keys] == list(range(1, len(keys) + 1))
        ours.values[ours.index_of("one more")] = 99.0
    found = MmapedDict.read_all_values_from_file(str(tmp_path / "theirs.db"))
    assert [key for key, *_ in found] == [*keys, "one more"]


def test_where_there_is_no_room_nothing_breaks_and_nothing_else_is_touched(
    tmp_path: Path,
) -> None:
    path = tmp_path / "small.db"
    with closing(MetricsFile(path, 512)) as file:
        for number in range(100):
            file.values[file.index_of(f"a key of some length {number}")] += 1.0
    entries = list(MmapedDict.read_all_values_from_file(str(path)))
    assert 0 < len(entries) < 100
    assert {value for _, value, _, _ in entries} == {1.0}


def test_where_the_disk_is_full_nothing_is_left_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told at once, and not by a signal once a page is written."""

    def full(descriptor: int, offset: int, size: int) -> None:
        if size == 1 << 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.ftruncate(descriptor, size)

    monkeypatch.setattr("os.posix_fallocate", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space"):
        MetricsStore(root, "ours")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_had_no_room_takes_the_numbers_of_others_from_nobody(
    stack: ExitStack, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is when they are looked at: what a worker could not begin is empty, and passed over."""
    staying = opened(stack, root)
    count(staying, 3)

    def full(descriptor: int, offset: int, size: int) -> None:
        assert seen(staying) == 3.0  # Also in the moment before there is room.
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            MetricsStore(root, "ours")
    assert seen(staying) == 3.0
    count(opened(stack, root), 1)
    assert seen(staying) == 4.0


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\x7f", b"\x40\0\0\0\0\0\0\0\x39\0\0\0"])
def test_a_file_that_is_damaged_is_an_error_of_the_system(tmp_path: Path, damage: bytes) -> None:
    """And so not one that keeps a worker, and with it the server, from starting."""
    path = tmp_path / "counter_0.db"
    path.write_bytes(damage)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=r"counter_0\.db is damaged"):
        MetricsFile(path, 4096)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_how_many_there_are_is_told_whoever_holds_the_lock(stack: ExitStack, root: Path) -> None:
    """Health asks, in the event loop: it must not wait for a process that stands still."""
    store = opened(stack, root)
    with (root / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said: list[int] = []
        asking = threading.Thread(target=lambda: said.append(store.workers()), daemon=True)
        asking.start()
        asking.join(5)
        assert said == [1]


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file")
    with pytest.raises(OSError, match="exists"):
        MetricsStore(tmp_path / "metrics", "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_who_only_looks_writes_nothing(
    stack: ExitStack, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has turned read-only, as ext4 does after an error, can still be asked."""
    store = opened(stack, root)
    count(store, 3)
    really = os.open

    def read_only(path: str, flags: int, *mode: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system")
        return really(path, flags, *mode)

    monkeypatch.setattr("os.open", read_only)
    assert (seen(store), store.workers()) == (3.0, 1)
