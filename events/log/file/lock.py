"""The lock on a log file: one writer in all processes at a time, in turn.

It consists of two ``flock`` locks, which the kernel releases when their process ends:

    the lock        on ``events.jsonl.lock``: its holder may append
    the turnstile   on ``events.jsonl`` itself: its holder is the next to get the lock

A writer acquires the turnstile, then the lock, and then releases the turnstile. Without the
turnstile, a busy process would acquire the lock again right after its release, before the processes
that wait for it poll the next time, and could starve them for seconds. With it, the busy process
finds the turnstile held by the writer that is next. See docs/decisions/lock.md.

A log that is cut when segments are closed is another file from then on, and so is its turnstile.
That costs at most a turn: the lock alone excludes other writers.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import threading
import time
from typing import Final

from events.io.tasks import wait_uncancellable
from events.io.threads import WorkerThread
from events.messages.server_log import LOCK_NOT_RELEASED

logger = logging.getLogger("events.log")

_TURNSTILE_POLL_SECONDS: Final = 0.0005
_LOCK_POLL_SECONDS: Final = 0.0001
"""Shorter: many processes may poll the turnstile, but only one of them polls the lock."""


class FileLock:
    """The lock, and the turnstile before it, as open files of one process."""

    def __init__(self, lock: int, thread: WorkerThread) -> None:
        """Use an open descriptor, which the caller closes, and a thread to wait in."""
        self._lock = lock
        self._thread = thread

    async def acquire(self, turnstile: int, deadline: float) -> bool:
        """Acquire the lock; return False if it is held by others until ``deadline``.

        ``turnstile`` is the descriptor of the log, and ``deadline`` a time of `time.monotonic`. A
        free lock is acquired in any case. When this is cancelled or raises `OSError`, the lock may
        be held: call `release`.
        """
        if _try_lock(turnstile) and self._try_lock_from(turnstile):
            _unlock(turnstile)
            return True
        # A blocking flock could not be given up at the deadline, and the timers of the event loop
        # are coarser than the time for which the lock is held: so a thread polls.
        given_up = threading.Event()
        try:
            polling = self._thread.run(self._poll, turnstile, deadline, given_up)
        except RuntimeError:  # There is no thread, which would give the turnstile back.
            _unlock(turnstile)
            raise
        try:
            return await asyncio.shield(polling)
        except asyncio.CancelledError:
            given_up.set()
            await wait_uncancellable(polling)
            raise

    def release(self) -> None:
        """Release the lock; log an error, because the work under the lock is done."""
        _unlock(self._lock)

    def _try_lock_from(self, turnstile: int) -> bool:
        """Try to acquire the lock; keep the turnstile unless the file system has no locks."""
        try:
            return _try_lock(self._lock)
        except OSError:
            _unlock(turnstile)
            raise

    def _poll(self, turnstile: int, deadline: float, given_up: threading.Event) -> bool:
        pause = _TURNSTILE_POLL_SECONDS
        try:
            for descriptor in (turnstile, self._lock):
                while not _try_lock(descriptor):
                    if time.monotonic() >= deadline or given_up.is_set():
                        return False
                    time.sleep(pause)
                pause = _LOCK_POLL_SECONDS
            return True
        finally:
            _unlock(turnstile)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        logger.critical(LOCK_NOT_RELEASED.fill(reason=error.strerror))
