"""Connect the modules of the log to the calls of a simulated machine.

Names like ``os``, ``fcntl``, ``time`` and ``mmap`` are replaced in those modules. Their own code
runs unchanged.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import ModuleType, SimpleNamespace

from eventapi.tasks import closing as closing_task
from eventapi.tasks import snapshots as snapshotting
from events.io import files
from events.log.file import closed, closing, lines, lock, reserve, segments
from events.log.file import commit_index as mark
from events.log.file import log as jsonl
from projections import snapshots
from tests.fault_injection.simulation.calls import Calls, Flag, Lock, View
from tests.fault_injection.simulation.loop import WorkerThread
from tests.fault_injection.simulation.paths import temporary_file


def _names_of_closing(
    calls: Calls, fcntl: SimpleNamespace, time: SimpleNamespace, pieces: int
) -> dict[tuple[ModuleType, str], object]:
    """The names that the closing of segments uses; a segment has only a few lines."""
    return {
        (closed, "os"): calls,
        (closed, "LINES_PER_FRAME"): 2,
        (closed, "_SYNCED_BYTES"): pieces,
        (closing, "os"): calls,
        (closing, "fcntl"): fcntl,
        (closing, "time"): time,
        (closing, "threading"): SimpleNamespace(Event=partial(Flag, calls)),
        (closing, "BYTES_PER_READ"): pieces,
        (closing, "_FEW_BYTES"): pieces // 3,
        (closing_task, "CHECK_INTERVAL_SECONDS"): 0.0005,
        (closing_task, "RETRY_SECONDS"): 0.0005,
        (closing_task, "random"): calls.machine.random,
    }


@contextmanager
def operating_system(calls: Calls, *, pieces: int) -> Iterator[None]:
    """Connect the modules of log, closing and snapshots to the simulated machine.

    ``pieces`` is how many bytes of the log are read at a time. Sizes are small, so that a short log
    reaches the code paths of a long one.
    """
    fcntl = SimpleNamespace(
        flock=calls.flock, LOCK_EX=calls.LOCK_EX, LOCK_NB=calls.LOCK_NB, LOCK_UN=calls.LOCK_UN
    )
    numbers = count()
    tokens = SimpleNamespace(token_hex=lambda size: f"{next(numbers):0{size * 2}x}")
    time = SimpleNamespace(monotonic=calls.monotonic, sleep=calls.sleep, time_ns=calls.time_ns)
    names: dict[tuple[ModuleType, str], object] = {
        (files, "os"): calls,
        (files, "secrets"): tokens,
        (jsonl, "os"): calls,
        (jsonl, "time"): time,
        (jsonl, "WorkerThread"): WorkerThread,
        (jsonl, "BYTES_PER_READ"): pieces,
        (lock, "fcntl"): fcntl,
        (lock, "time"): time,
        (lines, "wrap"): calls.wrap,
        (lines, "INLINE_READ_BYTES"): pieces * 2,
        (lines, "BYTES_PER_READ"): pieces,
        (lines, "BYTES_PER_RUN"): max(pieces // 3, 1),
        (lines, "POSITIONS_PER_INDEX_ENTRY"): 4,
        (lines, "MAX_LINES_COUNTED"): 8,
        (segments, "os"): calls,
        (segments, "threading"): SimpleNamespace(Lock=partial(Lock, calls)),
        (reserve, "os"): calls,
        (reserve, "RESERVE_BYTES"): 16,
        **_names_of_closing(calls, fcntl, time, pieces),
        (snapshots, "fcntl"): fcntl,
        (snapshotting, "CHECK_INTERVAL_SECONDS"): 0.005,
        (snapshotting, "random"): calls.machine.random,
        (mark, "os"): calls,
        (mark, "time"): time,
        (mark, "mmap"): SimpleNamespace(mmap=calls.map),
        (mark, "memoryview"): View,
        (mark, "tempfile"): SimpleNamespace(NamedTemporaryFile=temporary_file),
    }
    missing = object()
    before = {key: getattr(*key, missing) for key in names}
    for (module, name), value in before.items():
        if value is missing and not hasattr(builtins, name):
            # Without this check a renamed constant would silently keep its real value.
            raise AttributeError(f"{module.__name__} has no {name} to replace")
    closed._cached_size.cache_clear()
    closed._cached_table.cache_clear()
    try:
        for (module, name), value in names.items():
            setattr(module, name, value)
        yield
    finally:
        for (module, name), value in before.items():
            if value is missing:
                delattr(module, name)
            else:
                setattr(module, name, value)
