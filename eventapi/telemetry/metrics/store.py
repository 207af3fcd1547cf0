"""Where numbers are kept: in files that all workers of a server share, so each can tell the sums.

This is prometheus-client's multiprocess mode without its globals: the same files and the same sums,
but kept for an app and not for whatever was imported first. See docs/decisions/metrics.md.

::

    DATA/metrics/
      lock                       held while somebody comes or looks who is there
      <instance>/                one server: a supervisor and its workers, or one process
        0.lock                   locked by the worker in this slot, for as long as it lives
        counter_0.db ...         its numbers, by kind, as prometheus-client writes them

A worker takes the first free slot, and counts on from where the one before it in the slot came to:
so counts outlive who counted, and there are no more files than workers at a time. Gauges say how
things are, so only those of slots that are locked count. What is left of other servers is removed
by the next one that starts.
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
"""How the gauges of several workers become one."""

_FILE_BYTES: Final = {
    "counter": 3 << 19,
    "histogram": 5 << 18,
    **dict.fromkeys((f"gauge_live{mode}" for mode in get_args(GaugeMode)), 1 << 12),
}
"""The kinds of files, each with room for every series that there can be."""

_NO_LABELS: Final[Mapping[str, str]] = {}


class Counter:
    """A number that only grows."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Values, at: int) -> None:
        self._values = values
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Count on."""
        self._values[self._at] += amount


class Gauge:
    """A number that says how it is now."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: Values, at: int) -> None:
        self._values = values
        self._at = at

    def set(self, value: float) -> None:
        """Say it."""
        self._values[self._at] = value
        self._values[self._at + 1] = time.time()


class Histogram:
    """How many values there were up to each bound, and their sum."""

    __slots__ = ("_at", "_bounds", "_sum", "_values")

    def __init__(
        self, bounds: Sequence[float], values: Values, at: Sequence[int], total: int
    ) -> None:
        self._bounds = bounds
        self._values = values
        self._at = at
        self._sum = total

    def add(self, value: float) -> None:
        """Count a value."""
        self._values[self._at[bisect_left(self._bounds, value)]] += 1.0
        self._values[self._sum] += value

    def with_counters(self, counters: Sequence[Counter]) -> Callable[[float], None]:
        """Counts a value, and one in each counter: in one step, for what every request pays for."""
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
    """The numbers of one worker, beside those of the others of its server.

    Not for several threads at once, `collected` aside.
    """

    def __init__(self, root: Path, instance: str) -> None:
        """Take a slot of an instance under ``root``; raises `OSError` where that cannot be."""
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
            # All at once: later there may be no room.
            for kind, size in _FILE_BYTES.items():
                path = self._directory / f"{kind}_{self._slot}.db"
                self._files[kind] = MetricsFile(path, size)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let the slot go; what was counted stays."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        os.close(self._lock)

    def counter(self, name: str, text: str, labels: Mapping[str, str] = _NO_LABELS) -> Counter:
        """The counter of that name, which ends in ``_total``, and these labels."""
        file = self._files["counter"]
        return Counter(
            file.values, file.index_of(_key(name.removesuffix("_total"), name, labels, text))
        )

    def gauge(
        self, name: str, text: str, mode: GaugeMode, labels: Mapping[str, str] = _NO_LABELS
    ) -> Gauge:
        """The gauge of that name and these labels."""
        file = self._files[f"gauge_live{mode}"]
        return Gauge(file.values, file.index_of(_key(name, name, labels, text)))

    def histogram(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> Histogram:
        """The histogram of that name and these labels, with buckets up to each bound and one more."""
        file = self._files["histogram"]
        buckets = [
            file.index_of(_key(name, f"{name}_bucket", {**labels, "le": le}, text))
            for le in map(floatToGoString, (*bounds, float("inf")))
        ]
        total = file.index_of(_key(name, f"{name}_sum", labels, text))
        return Histogram(bounds, file.values, buckets, total)

    def collect(self) -> list[Metric]:
        """The sums over all workers of this server, dead ones too; of gauges, over those that live.

        What a worker counted before the call is in them. Raises `OSError`.
        """
        with self._root_locked(fcntl.LOCK_SH):
            live = self._live_slots()
            files = [
                str(path)
                for path in sorted(self._directory.glob("*.db"))
                if not path.name.startswith("gauge") or path.stem.rpartition("_")[2] in live
                # Somebody is just beginning it, or found no room for it.
                if path.stat().st_size
            ]
            return list(MultiProcessCollector.merge(files))

    def workers(self) -> int:
        """How many workers this server has, this one among them; raises `OSError`.

        Waits for nobody: while somebody comes it is what was known before.
        """
        with suppress(BlockingIOError), self._root_locked(fcntl.LOCK_SH | fcntl.LOCK_NB):
            self._known = len(self._live_slots())
        return self._known

    def _live_slots(self) -> set[str]:
        return {path.stem for path in self._directory.glob("*.lock") if is_locked(path)}

    @contextmanager
    def _root_locked(self, how: int) -> Iterator[None]:
        """Hold the lock of all instances; it is only ever held for milliseconds.

        Who only looks writes nothing, so a file system that has turned read-only can be asked still.
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
    """What names the server that this process belongs to, and no other, now or later.

    A supervisor gives every worker that it starts its own random key, however it was started.
    """
    return blake2b(multiprocessing.current_process().authkey, digest_size=8).hexdigest()


def _key(family: str, name: str, labels: Mapping[str, str], text: str) -> str:
    return mmap_key(family, name, list(labels), list(labels.values()), text)


def _lock_free_slot(directory: Path) -> tuple[int, int]:
    """The first slot that nobody is in, now locked, and the descriptor that keeps it so."""
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
    raise AssertionError  # Numbers have no end.


def _remove_abandoned(root: Path, ours: Path) -> None:
    """Remove what is left of servers of which no worker lives."""
    for directory in root.iterdir():
        if directory == ours or not directory.is_dir():
            continue
        if not any(is_locked(path) for path in directory.glob("*.lock")):
            shutil.rmtree(directory)
