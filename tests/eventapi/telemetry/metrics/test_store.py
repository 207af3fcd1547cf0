"""The metrics store: sums over workers, and counts that outlive a worker."""

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


def open_store(stack: ExitStack, root: Path, instance: str = "ours") -> MetricsStore:
    return stack.enter_context(closing(MetricsStore(root, instance)))


def count(store: MetricsStore, times: int) -> None:
    store.counter("seen_total", "What was seen.", {"of": "sheep"}).add(times)


def seen(store: MetricsStore) -> float | None:
    return Page(store.collect()).value("seen_total", of="sheep")


def test_counts_of_all_workers_are_added_up(stack: ExitStack, root: Path) -> None:
    stores = [open_store(stack, root) for _ in range(4)]
    for number, store in enumerate(stores, 1):
        count(store, number)
        count(store, 10)
    assert [seen(store) for store in stores] == [50.0] * 4


def test_counts_outlive_their_worker_and_the_next_continues_them(
    stack: ExitStack, root: Path
) -> None:
    staying = open_store(stack, root)
    for _ in range(3):
        with closing(MetricsStore(root, "ours")) as leaving:
            count(leaving, 5)
    assert seen(staying) == 15.0
    assert len(list(root.glob("ours/counter_*"))) == 2


def test_there_are_no_more_files_than_workers_at_a_time(stack: ExitStack, root: Path) -> None:
    first = MetricsStore(root, "ours")
    second = open_store(stack, root)
    first.close()
    third = open_store(stack, root)
    count(second, 1)
    count(third, 1)
    assert {path.name for path in root.glob("ours/*.lock")} == {"0.lock", "1.lock"}
    assert seen(second) == 2.0


def test_histograms_are_added_up_by_bucket(stack: ExitStack, root: Path) -> None:
    stores = [open_store(stack, root) for _ in range(2)]
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
def test_gauges_are_those_of_live_workers(
    stack: ExitStack, root: Path, mode: GaugeMode, both: float, one: float
) -> None:
    staying, leaving = open_store(stack, root), MetricsStore(root, "ours")
    staying.gauge("now", "How it is.", mode).set(2.0)
    leaving.gauge("now", "How it is.", mode).set(3.0)
    assert Page(staying.collect()).value("now") == both
    leaving.close()
    assert Page(staying.collect()).value("now") == one
    open_store(stack, root)  # In the slot of the worker that left, without its gauges.
    assert Page(staying.collect()).value("now") == one


def test_two_servers_on_the_same_data_count_separately(stack: ExitStack, root: Path) -> None:
    ours, theirs = open_store(stack, root), open_store(stack, root, "theirs")
    count(ours, 1)
    count(theirs, 2)
    assert (seen(ours), seen(theirs)) == (1.0, 2.0)


def test_directories_of_ended_servers_are_removed_and_others_are_not(
    stack: ExitStack, root: Path
) -> None:
    living = open_store(stack, root, "living")
    count(living, 3)
    with closing(MetricsStore(root, "ended")) as ended:
        count(ended, 1)
    open_store(stack, root)
    assert {path.name for path in root.iterdir()} == {"lock", "living", "ours"}
    assert seen(living) == 3.0


def test_only_the_owner_can_read_the_files(stack: ExitStack, root: Path) -> None:
    count(open_store(stack, root), 1)
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_counts_of_a_killed_process_are_kept(stack: ExitStack, root: Path) -> None:
    store = open_store(stack, root)
    program = (
        "import os, pathlib, sys; from eventapi.telemetry.metrics.store import MetricsStore;"
        "store = MetricsStore(pathlib.Path(sys.argv[1]), 'ours');"
        "[store.counter('seen_total', 'What was seen.', {'of': 'sheep'}).add() for _ in range(7)];"
        "os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(root)], check=False)
    assert ended.returncode == -9
    assert seen(store) == 7.0


def test_workers_of_one_supervisor_share_an_instance() -> None:
    program = (
        "import multiprocessing;"
        "from eventapi.telemetry.metrics.store import current_instance;"
        "context = multiprocessing.get_context('spawn');"
        "pool = context.Pool(2);"
        "print(current_instance(), *pool.starmap(current_instance, [(), ()]));"
        "pool.terminate(); pool.join()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert len(ended.stdout.split()) == 3
    assert len({*ended.stdout.split()}) == 1
    assert current_instance() not in ended.stdout


def test_the_files_have_the_format_of_the_library(tmp_path: Path) -> None:
    """The library reads our files, and we read and extend the library's."""
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


def test_a_full_file_keeps_its_values_and_drops_new_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / "small.db"
    with closing(MetricsFile(path, 512)) as file:
        for number in range(100):
            file.values[file.index_of(f"a key of some length {number}")] += 1.0
    entries = list(MmapedDict.read_all_values_from_file(str(path)))
    assert 0 < len(entries) < 100
    assert {value for _, value, _, _ in entries} == {1.0}


def test_a_full_disk_fails_the_store_and_leaves_no_file_open(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error at once, and not with SIGBUS at a later store."""

    def full(descriptor: int, offset: int, size: int) -> None:
        if size == 1 << 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.ftruncate(descriptor, size)

    monkeypatch.setattr("os.posix_fallocate", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space"):
        MetricsStore(root, "ours")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_worker_without_room_does_not_hide_the_numbers_of_others(
    stack: ExitStack, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that could not be allocated are skipped."""
    staying = open_store(stack, root)
    count(staying, 3)

    def full(descriptor: int, offset: int, size: int) -> None:
        assert seen(staying) == 3.0  # Also while the file is still empty.
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            MetricsStore(root, "ours")
    assert seen(staying) == 3.0
    count(open_store(stack, root), 1)
    assert seen(staying) == 4.0


@pytest.mark.parametrize("damage", [b"\xff\xff\xff\x7f", b"\x40\0\0\0\0\0\0\0\x39\0\0\0"])
def test_a_damaged_file_raises_an_oserror(tmp_path: Path, damage: bytes) -> None:
    """A start continues without metrics after an `OSError`."""
    path = tmp_path / "counter_0.db"
    path.write_bytes(damage)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=r"counter_0\.db is damaged"):
        MetricsFile(path, 4096)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_number_of_workers_is_known_while_the_lock_is_held(
    stack: ExitStack, root: Path
) -> None:
    """Health calls it in the event loop, which must not wait for a stopped process."""
    store = open_store(stack, root)
    with (root / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        counts: list[int] = []
        thread = threading.Thread(target=lambda: counts.append(store.workers()), daemon=True)
        thread.start()
        thread.join(5)
        assert counts == [1]


def test_a_directory_that_cannot_be_created_raises_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file")
    with pytest.raises(OSError, match="exists"):
        MetricsStore(tmp_path / "metrics", "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_reading_the_metrics_writes_nothing(
    stack: ExitStack, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics can be read after an error made ext4 read-only."""
    store = open_store(stack, root)
    count(store, 3)
    really = os.open

    def read_only(path: str, flags: int, *mode: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system")
        return really(path, flags, *mode)

    monkeypatch.setattr("os.open", read_only)
    assert (seen(store), store.workers()) == (3.0, 1)
