"""Traces in the way of OpenTelemetry: a span a request, named by its route, and one a write in it.

What a span says is what a line of the access log says, and no more: no path, no query, no header,
no address, no message of an error. This module is imported only where traces are wanted.
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
"""How long the last spans may take at the end; who collects them may be gone."""

_TRACEPARENT: Final = b"traceparent"
_context_of = TraceContextTextMapPropagator().extract


class Tracing(Instrumentation):
    """The spans of an app; what the journal tells is one in that of the request."""

    def __init__(self, provider: TracerProvider, processor: Callable[[], SpanProcessor]) -> None:
        """``processor`` makes what takes the spans, once there can be any."""
        self._provider = provider
        self._processor = processor
        self._tracer = provider.get_tracer("eventapi")

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """The app, with a span around each request, whose trace is told to the access log."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != ScopeType.HTTP:
                await app(scope, receive, send)
                return
            method = scope["method"] if scope["method"] in METHODS else "HTTP"
            span = self._tracer.start_span(method, _parent(scope), SpanKind.SERVER)
            trace_id = format_trace_id(span.get_span_context().trace_id)
            scope["trace_id"] = trace_id  # type: ignore[typeddict-unknown-key]  # ours
            status = 0

            async def watched(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            # What an error says may be personal: it is only told that there was one.
            with use_span(
                span, end_on_exit=True, record_exception=False, set_status_on_exception=False
            ):
                try:
                    await app(scope, receive, watched)
                finally:
                    _set_attributes(span, method, scope.get("path_template"), status)

        return traced

    def write(self) -> AbstractContextManager[object]:
        return self._tracer.start_as_current_span(
            "journal write", record_exception=False, set_status_on_exception=False
        )

    @asynccontextmanager
    async def export(self) -> AsyncIterator[None]:
        """Hand spans on meanwhile, and at the end what is left of them.

        Raises `ConfigurationError` where OpenTelemetry does not like its variables.
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
    """Where the request comes from (W3C Trace Context); of what else is carried, nothing is read.

    Nor of ``tracestate``, in which anybody may write what they like: nobody is asked in turn, so there
    is none to hand it on to, and OpenTelemetry logs what it does not like of it.
    """
    return _context_of(
        {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name == _TRACEPARENT
        }
    )


def _set_attributes(span: Span, method: str, route: str | None, status: int) -> None:
    """Say what it was, in the words of OpenTelemetry's semantic conventions."""
    span.set_attribute("http.request.method", method if method in METHODS else "_OTHER")
    if route is not None:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500 or not status:
        span.set_status(StatusCode.ERROR)


def tracing_of(environ: Mapping[str, str], version: str) -> Tracing:
    """Tracing as OpenTelemetry's variables have it; the service is eventapi unless they name it."""
    about = {"service.version": version}
    if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        about["service.name"] = "eventapi"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    return Tracing(provider, lambda: BatchSpanProcessor(OTLPSpanExporter()))
