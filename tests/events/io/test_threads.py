"""The thread of an event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from events.io.threads import WorkerThread

TIMEOUT = 30.0


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def fail(error: BaseException) -> None:
    raise error


async def test_work_runs_in_one_other_thread_and_returns_its_result() -> None:
    worker = WorkerThread("worker of a test")
    found = [
        await worker.run(lambda number=n: (number, threading.current_thread())) for n in (1, 2)
    ]
    assert [number for number, _ in found] == [1, 2]
    assert {thread.name for _, thread in found} == {"worker of a test"}
    assert len({thread for _, thread in found}) == 1
    worker.shutdown()


async def test_arguments_are_passed_on() -> None:
    worker = WorkerThread("worker")
    assert await worker.run(divmod, 17, 5) == (3, 2)
    worker.shutdown()


@pytest.mark.parametrize("error", [OSError(28, "full"), ValueError("no"), KeyboardInterrupt()])
async def test_an_error_of_the_work_is_raised(error: BaseException) -> None:
    worker = WorkerThread("worker")
    failed = worker.run(fail, error)
    await asyncio.wait([failed])
    assert failed.exception() is error
    assert await worker.run(lambda: "the thread goes on") == "the thread goes on"
    worker.shutdown()


async def test_work_runs_in_the_order_of_the_calls() -> None:
    worker, begin, order = WorkerThread("worker"), threading.Event(), list[int]()
    first = worker.run(begin.wait, TIMEOUT)
    others = [worker.run(order.append, number) for number in range(100)]
    assert order == []
    begin.set()
    await asyncio.gather(first, *others)
    assert order == list(range(100))
    worker.shutdown()


async def test_a_cancelled_future_leaves_the_work_alone() -> None:
    worker, begin, done = WorkerThread("worker"), threading.Event(), list[str]()
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    worker.run(begin.wait, TIMEOUT)
    cancelled = worker.run(done.append, "done")
    cancelled.cancel()
    begin.set()
    await worker.run(lambda: None)
    assert done == ["done"]
    assert faults == []
    worker.shutdown()


async def test_work_is_refused_without_a_thread_and_the_next_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker, done = WorkerThread("worker"), list[int]()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            worker.run(done.append, 1)
    assert await asyncio.wait_for(worker.run(lambda: 2), TIMEOUT) == 2
    assert done == []
    worker.shutdown()


async def test_shutdown_waits_for_all_work_and_ends_the_thread() -> None:
    worker, done = WorkerThread("worker to shut down"), list[int]()
    for number in range(100):
        worker.run(done.append, number)
    worker.shutdown()
    assert done == list(range(100))
    assert "worker to shut down" not in names_of_threads()
    with pytest.raises(RuntimeError, match="was shut down"):
        worker.run(done.append, 100)


def test_shutdown_without_work_starts_no_thread() -> None:
    before = threading.active_count()
    WorkerThread("worker").shutdown()
    assert threading.active_count() == before


async def test_a_thread_ends_with_its_object() -> None:
    worker = WorkerThread("worker of a lost object")
    thread = await worker.run(threading.current_thread)
    del worker
    gc.collect()
    await asyncio.to_thread(thread.join, TIMEOUT)
    assert not thread.is_alive()


def test_a_result_after_the_end_of_the_loop_is_dropped() -> None:
    begin, done = threading.Event(), list[str]()

    async def leave(worker: WorkerThread, work: Callable[[], object]) -> None:
        worker.run(work)

    def work() -> None:
        begin.wait(TIMEOUT)
        done.append("done")

    worker = WorkerThread("worker")
    asyncio.run(leave(worker, work))
    begin.set()
    worker.shutdown()
    assert done == ["done"]
