"""Who watches the app: the wiring of metrics, traces and reports of errors, as the settings want it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from eventapi.background import kept_running
from eventapi.extras import reports_wanted, traces_wanted
from eventapi.http.metrics import counting
from eventapi.http.observers import Observer
from eventapi.metrics.exposition import Exposition
from eventapi.metrics.meters import Meters, opened_meters
from eventapi.settings import Settings
from eventapi.storage import Parts
from eventapi.watching import Watch, together

if TYPE_CHECKING:
    from eventapi.http.tracing import Tracing


def tracing_from(environ: Mapping[str, str], version: str) -> Tracing | None:
    """Tracing, if OpenTelemetry's variables ask for it; raises `ConfigurationError`."""
    if not traces_wanted(environ):
        return None
    from eventapi.http.tracing import tracing_of  # noqa: PLC0415 - an extra, and slow to import

    return tracing_of(environ, version)


@asynccontextmanager
async def watched(
    settings: Settings, parts: Parts, tracing: Tracing | None, version: str
) -> AsyncIterator[tuple[Watch, Meters | None]]:
    """What the journal is to tell, and what counts, if anything does; raises `ConfigurationError`.

    Where the log is in memory, the numbers are those of this process alone.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_reporting(settings, version))
        if tracing is not None:
            await stack.enter_async_context(tracing.exporting())
        meters = None
        if settings.metrics == "on":
            directory = settings.data_path / "metrics" if parts.log is None else None
            meters = stack.enter_context(opened_meters(directory, version))
        yield together([watch for watch in (meters, tracing) if watch is not None]), meters


def _reporting(settings: Settings, version: str) -> AbstractAsyncContextManager[None]:
    if not settings.sentry_dsn or not reports_wanted(settings.sentry_dsn):
        return nullcontext()
    from eventapi.reporting import reporting  # noqa: PLC0415 - an extra, and slow to import

    return reporting(settings.sentry_dsn, version)


@asynccontextmanager
async def counted(observers: list[Observer], exposition: Exposition | None) -> AsyncIterator[None]:
    """Count what is answered meanwhile, and keep telling how things are."""
    if exposition is None:
        yield
        return
    count = counting(exposition.meters)
    observers.insert(0, count)
    try:
        async with kept_running(exposition.keep_fresh, "metrics"):
            yield
    finally:
        observers.remove(count)
