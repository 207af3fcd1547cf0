"""A thread that runs the work of an event loop, one piece after another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar
from weakref import finalize

T = TypeVar("T")

_Job: TypeAlias = tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]
_Jobs: TypeAlias = "SimpleQueue[_Job | None]"


class WorkerThread:
    """One thread, from the first work to `shutdown` or the end of this object.

    It takes half the CPU of `loop.run_in_executor`, which makes two futures and several locks for
    each piece of work. The end of the process does not wait for it: what it has not completed by
    then is as after a crash.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: _Jobs = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_shut_down = False

    def run(self, work: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """Run work after all earlier work, and return the future of its result.

        Cancelling the future does not stop the work. Raises `RuntimeError` after `shutdown`, or if
        no thread can be started: then the work is never done.
        """
        if self._is_shut_down:
            raise RuntimeError(f"the thread {self._name} was shut down")
        if self._thread is None:
            self._thread = self._started()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((future, work, arguments))
        return future

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=_run_all, args=(self._jobs,), name=self._name, daemon=True)
        thread.start()
        finalize(self, self._jobs.put, None)
        return thread

    def shutdown(self) -> None:
        """End the thread after all work that it has, and wait for that."""
        self._is_shut_down = True
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()


def _run_all(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        _run(*job)
        del job  # Otherwise the objects of the work would live until the next one.


def _run(future: asyncio.Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        result = work(*arguments)
    except BaseException as error:
        _post(future, None, error)
    else:
        _post(future, result, None)


def _post(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    with suppress(RuntimeError):  # The loop is closed, so nothing waits for the result.
        future.get_loop().call_soon_threadsafe(_resolve, future, result, error)


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
