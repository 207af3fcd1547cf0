"""The life of a serving process: its end, signals and garbage collection."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # The parent of several workers imports none of it.
    from eventapi.queries.live_events import LiveEvents
    from eventapi.queries.subscriptions import LogWatcher

FENCED: Final = os.EX_IOERR
"""The exit code after a failed sync: the server must be started again."""

DAMAGED: Final = os.EX_DATAERR
"""The exit code after a start if the log below the snapshot turns out to be damaged."""

FLUSH_SECONDS = 1.0

_OBJECTS_PER_COLLECTION: Final = 10_000
"""New objects between two runs of the collector.

A hundred writes that wait for one sync have some thousands, which are freed without it. Python's 700
would start it twenty times while they wait, 5 % of the CPU of a create.
"""


def exit_after_flush(code: int = FENCED) -> None:
    """End this process soon, because its memory or its log cannot be trusted.

    Waiting requests get their error response before that.
    """
    asyncio.get_running_loop().call_later(FLUSH_SECONDS, os._exit, code)


def exit_with_parent() -> None:
    """End this process gracefully as soon as its supervisor has ended, for any reason.

    A worker without a supervisor would keep the port, and no process would replace it.
    """
    supervisor, loop = multiprocessing.parent_process(), asyncio.get_running_loop()
    if supervisor is None:
        return

    def end() -> None:
        loop.remove_reader(supervisor.sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(supervisor.sentinel, end)


@cache
def freeze_gc() -> None:
    """Exclude start-up objects from garbage collection.

    Scanning them would delay every request. Only for the first application in a process, or the objects of closed ones would never be freed.
    """
    gc.freeze()


def start_gc() -> None:
    """Begin to collect the garbage of requests, at the end of a start that paused it."""
    freeze_gc()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    gc.enable()


@asynccontextmanager
async def close_streams_at_signal(feed: LogWatcher, live: LiveEvents) -> AsyncIterator[None]:
    """End the event streams at a signal to end.

    The server waits for its connections.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}

    def close() -> None:
        feed.close()
        live.close()

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(close)
        before[signal.Signals(number)](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Handlers that are not Python functions belong to something else than the server.
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)
        close()
