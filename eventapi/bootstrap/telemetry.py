"""Set up metrics, tracing and error reporting from the settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eventapi.bootstrap.storage import Overrides
from eventapi.configuration.settings import Settings
from eventapi.http.middleware.observers import Observer
from eventapi.http.routes.metrics import counting
from eventapi.journal.instrumentation import Instrumentation, LateInstrumentation, combine
from eventapi.tasks.restart import restart_on_error
from eventapi.telemetry.metrics.exposition import Exposition
from eventapi.telemetry.metrics.gauges import Sample
from eventapi.telemetry.metrics.meters import Meters, meters_unless_full, open_meters
from eventapi.telemetry.optional import require_sentry, require_tracing
from events.messages.server_log import METRICS_BEGIN

if TYPE_CHECKING:
    from eventapi.http.middleware.tracing import Tracing


logger = logging.getLogger("eventapi.metrics")

RETRY_SECONDS: Final = 5.0
"""Pause between attempts to create the files of the metrics."""


class Metering:
    """The metrics of one worker, from the moment their files can be created."""

    def __init__(self, stack: ExitStack, directory: Path | None, version: str) -> None:
        """Try to create the files; they are closed with the stack."""
        self._open = partial(open_meters, stack, directory, version)
        self._late = LateInstrumentation()
        self.meters = stack.enter_context(meters_unless_full(directory, version))
        self.exposition: Exposition | None = None

    @property
    def watch(self) -> Instrumentation:
        """The instrumentation for the journal."""
        return self.meters or self._late

    @asynccontextmanager
    async def count_requests(
        self, observers: list[Observer], sample: Callable[[], Awaitable[Sample]]
    ) -> AsyncIterator[None]:
        """Count requests while the context is open, once the files exist."""
        if self.meters is not None:
            self.exposition = Exposition(self.meters, sample)
            async with count_requests(observers, self.exposition):
                yield
            return

        async def count_later() -> None:
            self.meters = self._late.watch = await self._open_later()
            self.exposition = Exposition(self.meters, sample)
            async with count_requests(observers, self.exposition):
                await asyncio.Event().wait()

        async with restart_on_error(count_later, "metrics"):
            yield

    async def _open_later(self) -> Meters:
        while self.meters is None:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(OSError):
                self.meters = self._open()
                logger.warning(METRICS_BEGIN)
        return self.meters


def tracing_of(environ: Mapping[str, str], version: str) -> Tracing | None:
    """Tracing, if OpenTelemetry's variables turn it on; raises `ConfigurationError`."""
    if not require_tracing(environ):
        return None
    from eventapi.http.middleware.tracing import tracing_of  # noqa: PLC0415 - optional and slow

    return tracing_of(environ, version)


@asynccontextmanager
async def setup_telemetry(
    settings: Settings, parts: Overrides, tracing: Tracing | None, version: str
) -> AsyncIterator[tuple[Instrumentation, Metering | None]]:
    """The instrumentation of the journal, and the metrics unless they are off.

    With a log in memory, the metrics are those of this process alone. Raises `ConfigurationError`.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_report_errors(settings, version))
        if tracing is not None:
            await stack.enter_async_context(tracing.export())
        metering = None
        if settings.metrics == "on":
            directory = settings.data_path / "metrics" if parts.log is None else None
            metering = Metering(stack.enter_context(ExitStack()), directory, version)
        watches: list[Instrumentation | None] = [
            None if metering is None else metering.watch,
            tracing,
        ]
        yield combine([watch for watch in watches if watch is not None]), metering


def _report_errors(settings: Settings, version: str) -> AbstractAsyncContextManager[None]:
    if not settings.sentry_dsn or not require_sentry(settings.sentry_dsn):
        return nullcontext()
    from eventapi.telemetry.sentry import report_errors  # noqa: PLC0415 - optional and slow

    return report_errors(settings.sentry_dsn, version)


@asynccontextmanager
async def count_requests(
    observers: list[Observer], exposition: Exposition | None
) -> AsyncIterator[None]:
    """Count requests and write gauges while the context is open."""
    if exposition is None:
        yield
        return
    count = counting(exposition.meters)
    observers.insert(0, count)
    try:
        async with restart_on_error(exposition.run_sampling, "metrics"):
            yield
    finally:
        observers.remove(count)
