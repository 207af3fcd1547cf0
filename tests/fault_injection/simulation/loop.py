"""An asyncio event loop on the clock and scheduler of a simulated machine."""

from __future__ import annotations

import asyncio
from asyncio import Future, Handle, Task, TimerHandle
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any

from tests.fault_injection.simulation.machine import (
    FOR_EVER,
    STEP_SECONDS,
    KilledError,
    Machine,
    Process,
    Strand,
)

_DEFAULT_WORKERS = 6


class Executor:
    """A thread pool of a simulated process, with a limited number of workers."""

    def __init__(self, workers: int = 1, thread_name_prefix: str = "") -> None:
        self.workers = workers
        self.machine: Machine | None = None
        self.running = 0
        self.waiting: deque[Callable[[], None]] = deque()

    def shutdown(self) -> None:
        """Wait for the running jobs, blocking the strand as a thread would."""
        while self.running and self.machine is not None:
            self.machine.sleep_until(self.machine.now + STEP_SECONDS)


class WorkerThread(Executor):
    """Replaces `events.io.threads.WorkerThread`."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name)

    def run(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run work in a strand of its own."""
        loop: Any = asyncio.get_running_loop()
        future: Future[Any] = loop.run_in_executor(self, work, *arguments)
        return future


class Loop(asyncio.AbstractEventLoop):
    """The event loop of one process; it runs in its own strand."""

    def __init__(self, machine: Machine, process: Process) -> None:
        self._machine = machine
        self._process = process
        self._ready: deque[Handle] = deque()
        self._timers: list[TimerHandle] = []
        self._strand: Strand | None = None
        self._default_executor = Executor(_DEFAULT_WORKERS)
        process.loop = self

    def start(
        self,
        main: Callable[[], Coroutine[Any, Any, None]],
        delay: float = 0.0,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a coroutine to its end in a new strand; then the process exits."""
        self._process.on_death = on_death
        self._strand = self._machine.spawn(self._process, lambda: self._run(main), delay)

    def _run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self.create_task(main())
        while not task.done() and not self._process.dead:
            self._take_due()
            if self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
                    self._machine.step("turn")
            else:
                due = self._timers[0].when() if self._timers else FOR_EVER
                self._machine.sleep_until(due)
        self._process.dead = True
        if task.done() and not isinstance(task.exception(), KilledError):
            task.result()

    def _take_due(self) -> None:
        while self._timers and self._timers[0].when() <= self._machine.now:
            self._ready.append(heappop(self._timers))

    # The interface that asyncio needs

    def time(self) -> float:
        return self._machine.now

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]  # less precise types
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        timer = TimerHandle(when, callback, args, self, context)
        heappush(self._timers, timer)
        return timer

    def call_later(  # type: ignore[override]  # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Nothing to do: a cancelled timer is skipped when it is due."""

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> Task[Any]:
        task: Task[Any] = Task(coro, loop=self, **options)
        self._process.tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]  # as above
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Future[Any]:
        executor = executor or self._default_executor
        future = self.create_future()

        def resolve(result: object, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def job() -> None:
            result: object = None
            error: Exception | None = None
            try:
                result = func(*args)
            except Exception as raised:
                error = raised
            self._wake(resolve, result, error)
            executor.running -= 1
            self._start_job(executor)

        executor.machine = self._machine
        executor.waiting.append(job)
        self._start_job(executor)
        return future

    def _start_job(self, executor: Executor) -> None:
        if executor.waiting and executor.running < executor.workers:
            executor.running += 1
            self._machine.spawn(self._process, executor.waiting.popleft())

    def _wake(self, callback: Callable[..., None], *args: Any) -> None:
        self.call_soon(callback, *args)
        if self._strand is not None and self._strand.wake_at > self._machine.now:
            self._strand.wake_at = self._machine.now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ignore errors that a killed process leaves behind."""


def new_loop(machine: Machine) -> Loop:
    """The event loop of a new process."""
    return Loop(machine, machine.new_process())  # type: ignore[abstract]  # the rest is not needed
