"""OpenTelemetry traces: a span per request, with a span per write in it.

A span contains the same as a line of the access log: no path, query, header, address or error message.
This module is imported only if traces are on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from eventapi.journal.instrumentation import Instrumentation
from eventapi.telemetry.metrics.meters import METHODS
from events.errors import ConfigurationError

SHUTDOWN_SECONDS: Final = 3.0
"""How long exporting the last spans may take at shutdown; the collector may be down."""

_TRACEPARENT: Final = b"traceparent"
_context_of = TraceContextTextMapPropagator().extract


class Tracing(Instrumentation):
    """The spans of an app; a write is a span within that of its request."""

    def __init__(self, provider: TracerProvider, processor: Callable[[], SpanProcessor]) -> None:
        """``processor`` creates the span processor, when exporting begins."""
        self._provider = provider
        self._processor = processor
        self._tracer = provider.get_tracer("eventapi")

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The app with a span around each request; the access log gets the trace id."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            method = scope["method"] if scope["method"] in METHODS else "HTTP"
            span = self._tracer.start_span(method, _parent(scope), SpanKind.SERVER)
            trace_id = format_trace_id(span.get_span_context().trace_id)
            scope["trace_id"] = trace_id  # type: ignore[typeddict-unknown-key]  # ours
            status = 0

            async def send_and_note_status(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            # The message of an error may be personal, so only the status is recorded.
            with use_span(
                span, end_on_exit=True, record_exception=False, set_status_on_exception=False
            ):
                try:
                    await app(scope, receive, send_and_note_status)
                finally:
                    _set_attributes(span, method, scope.get("path_template"), status)

        return traced

    def write(self) -> AbstractContextManager[object]:
        return self._tracer.start_as_current_span(
            "journal write", record_exception=False, set_status_on_exception=False
        )

    @asynccontextmanager
    async def export(self) -> AsyncIterator[None]:
        """Export spans while the context is open, and the rest at its end.

        Raises `ConfigurationError` if OpenTelemetry rejects its variables.
        """
        try:
            self._provider.add_span_processor(self._processor())
        except ValueError as error:
            raise ConfigurationError(f"OTEL_*: {error}") from None
        try:
            yield
        finally:
            ending = threading.Thread(target=self._provider.shutdown, daemon=True)
            ending.start()
            await asyncio.to_thread(ending.join, SHUTDOWN_SECONDS)


def _parent(scope: HTTPScope) -> Context:
    """The parent span from ``traceparent`` (W3C Trace Context).

    ``tracestate`` is ignored: the server calls no other service that would need it, and
    OpenTelemetry logs the content of an invalid one, which any client can choose.
    """
    return _context_of(
        {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name == _TRACEPARENT
        }
    )


def _set_attributes(span: Span, method: str, route: str | None, status: int) -> None:
    """Set name, attributes and status by OpenTelemetry's semantic conventions."""
    span.set_attribute("http.request.method", method if method in METHODS else "_OTHER")
    if route is not None:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500 or not status:
        span.set_status(StatusCode.ERROR)


def tracing_of(environ: Mapping[str, str], version: str) -> Tracing:
    """Tracing from OpenTelemetry's variables; the default service name is eventapi."""
    about = {"service.version": version}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        about["service.name"] = "eventapi"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    return Tracing(provider, lambda: BatchSpanProcessor(OTLPSpanExporter()))
