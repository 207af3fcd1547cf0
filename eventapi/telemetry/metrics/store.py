"""Numbers in files that all workers share, so that each can report the sums.

This is prometheus-client's multiprocess mode without its globals: the same files and sums, for one
app instead of one process. See docs/decisions/metrics.md.

::

    DATA/metrics/
      lock                       held while a worker registers or lists the others
      <instance>/                one server: a supervisor and its workers, or one process
        0.lock                   locked by the worker in this slot, for as long as it lives
        counter_0.db ...         its numbers, by kind, as prometheus-client writes them

A worker takes the first free slot and continues the counts in it. So counts outlive their worker, and
there are never more files than workers at a time. Gauges describe the present, so only those of
locked slots count. The next server that starts removes the directories of servers that have ended.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Final, Literal, get_args

from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.utils import floatToGoString

from eventapi.telemetry.metrics.shared import MetricsFile, Values
from events.io.files import is_locked, make_directory, make_one_directory, open_or_make

GaugeMode = Literal["sum", "max", "min", "mostrecent"]
"""How the gauges of several workers are combined."""

_FILE_BYTES: Final = {
    "counter": 4 << 19,
    "histogram": 7 << 18,
    **dict.fromkeys((f"gauge_live{mode}" for mode in get_args(GaugeMode)), 1 << 12),
    "gauge_livemax": 1 << 18,
}
"""The size of each kind of file, with room for every possible series."""

_NO_LABELS: Final[Mapping[str, str]] = {}


class Counter:
    """A number that only increases."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Values, at: int) -> None:
        self._values = values
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Increase the number."""
        self._values[self._at] += amount


class Gauge:
    """A number that describes the present."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Values, at: int) -> None:
        self._values = values
        self._at = at

    def set(self, value: float) -> None:
        """Set the number."""
        self._values[self._at] = value
        self._values[self._at + 1] = time.time()


class Histogram:
    """The number of values up to each bound, and their sum."""

    __slots__ = ("_at", "_bounds", "_sum", "_values")

    def __init__(
        self, bounds: Sequence[float], values: Values, at: Sequence[int], total: int
    ) -> None:
        self._bounds = bounds
        self._values = values
        self._at = at
        self._sum = total

    def add(self, value: float) -> None:
        """Add a value."""
        self._values[self._at[bisect_left(self._bounds, value)]] += 1.0
        self._values[self._sum] += value

    def with_counters(self, counters: Sequence[Counter]) -> Callable[[float], None]:
        """A function that adds a value and 1 to each counter, in one call for speed."""
        bounds, values, places, total = self._bounds, self._values, self._at, self._sum
        first, *others = counters
        counts, at = first._values, first._at

        def add(value: float) -> None:
            values[places[bisect_left(bounds, value)]] += 1.0
            values[total] += value
            counts[at] += 1.0
            for other in others:
                other.add()

        return add


class MetricsStore:
    """The numbers of one worker, beside those of the other workers of its server.

    Not thread-safe, except for `collect`.
    """

    def __init__(self, root: Path, instance: str) -> None:
        """Lock a slot of an instance under ``root``; raises `OSError`."""
        self._root = root
        self._directory = root / instance
        if not root.is_dir():
            make_directory(root)
        with self._root_locked(fcntl.LOCK_EX):
            _remove_abandoned(root, self._directory)
            make_one_directory(self._directory)
            self._slot, self._lock = _lock_free_slot(self._directory)
            for stale in self._directory.glob(f"gauge_*_{self._slot}.db"):
                stale.unlink()
        self._known = 1
        self._files: dict[str, MetricsFile] = {}
        try:
            # Create all now, because the disk may be full later.
            for kind, size in _FILE_BYTES.items():
                path = self._directory / f"{kind}_{self._slot}.db"
                self._files[kind] = MetricsFile(path, size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the slot; the counts stay."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        os.close(self._lock)

    def counter(self, name: str, text: str, labels: Mapping[str, str] = _NO_LABELS) -> Counter:
        """The counter with this name, which ends in ``_total``, and these labels."""
        file = self._files["counter"]
        return Counter(
            file.values, file.index_of(_key(name.removesuffix("_total"), name, labels, text))
        )

    def gauge(
        self, name: str, text: str, mode: GaugeMode, labels: Mapping[str, str] = _NO_LABELS
    ) -> Gauge:
        """The gauge with this name and these labels."""
        file = self._files[f"gauge_live{mode}"]
        return Gauge(file.values, file.index_of(_key(name, name, labels, text)))

    def histogram(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> Histogram:
        """The histogram with this name, these labels, and a bucket per bound and one more."""
        file = self._files["histogram"]
        buckets = [
            file.index_of(_key(name, f"{name}_bucket", {**labels, "le": le}, text))
            for le in map(floatToGoString, (*bounds, float("inf")))
        ]
        total = file.index_of(_key(name, f"{name}_sum", labels, text))
        return Histogram(bounds, file.values, buckets, total)

    def collect(self) -> list[Metric]:
        """The sums over all workers of this server; of gauges, over live workers only.

        They include everything that was counted before the call. Raises `OSError`.
        """
        with self._root_locked(fcntl.LOCK_SH):
            live = self._live_slots()
            files = [
                str(path)
                for path in sorted(self._directory.glob("*.db"))
                if not path.name.startswith("gauge") or path.stem.rpartition("_")[2] in live
                # A worker is just creating it, or the disk was full.
                if path.stat().st_size
            ]
            return list(MultiProcessCollector.merge(files))

    def workers(self) -> int:
        """The number of workers of this server, including this one; raises `OSError`.

        Never waits: while another worker registers, it is the last known number.
        """
        with suppress(BlockingIOError), self._root_locked(fcntl.LOCK_SH | fcntl.LOCK_NB):
            self._known = len(self._live_slots())
        return self._known

    def _live_slots(self) -> set[str]:
        return {path.stem for path in self._directory.glob("*.lock") if is_locked(path)}

    @contextmanager
    def _root_locked(self, how: int) -> Iterator[None]:
        """Hold the lock of all instances, which processes hold for milliseconds only.

        A shared lock writes nothing, so that a file system that turned read-only can still be read.
        """
        lock = self._root / "lock"
        if how & fcntl.LOCK_EX:
            descriptor = open_or_make(lock, os.O_RDWR)
        else:
            descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def current_instance() -> str:
    """The unique name of the server that this process belongs to.

    Every supervisor passes its own random key to the workers that it starts.
    """
    return blake2b(multiprocessing.current_process().authkey, digest_size=8).hexdigest()


def _key(family: str, name: str, labels: Mapping[str, str], text: str) -> str:
    return mmap_key(family, name, list(labels), list(labels.values()), text)


def _lock_free_slot(directory: Path) -> tuple[int, int]:
    """Lock the first free slot; return it and the descriptor that holds the lock."""
    for slot in count():
        descriptor = open_or_make(directory / f"{slot}.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        else:
            return slot, descriptor
    raise AssertionError  # `count` is endless.


def _remove_abandoned(root: Path, ours: Path) -> None:
    """Remove the directories of servers without a live worker."""
    for directory in root.iterdir():
        if directory == ours or not directory.is_dir():
            continue
        if not any(is_locked(path) for path in directory.glob("*.lock")):
            shutil.rmtree(directory)
