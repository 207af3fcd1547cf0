"""Traces: a span per request and per write, within the trace of the client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from eventapi.commands.resources import Create
from eventapi.http.middleware.tracing import Tracing, tracing_of
from eventapi.http.routes import writes
from events.errors import ConfigurationError
from tests.eventapi.http.client import Api, quiet_settings

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Traced:
    """An app with the spans that it exports."""

    def __init__(self, file: Path) -> None:
        self.exporter = InMemorySpanExporter()
        tracing = Tracing(
            TracerProvider(shutdown_on_exit=False), lambda: SimpleSpanProcessor(self.exporter)
        )
        settings = quiet_settings(log_level="info", log_format="json", log_file=str(file))
        self.file = file
        self.api = Api(settings, tracing=tracing)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    found = Traced(tmp_path_factory.mktemp("traced") / "server.log")
    with found.api:
        yield found


@pytest.fixture
def traced(shared: Traced) -> Traced:
    """The app of all tests, without spans and lines of earlier ones."""
    shared.exporter.clear()
    shared.file.write_bytes(b"")
    return shared


def test_a_request_is_a_span_named_by_its_route(traced: Traced) -> None:
    ann = traced.api.caller()
    number = ann.create()
    ann.get(f"/api/v2/items/{number}")
    (span,) = traced.spans("GET /api/v2/items/{item_id}")
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/api/v2/items/{item_id}",
        "http.response.status_code": 200,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_write_is_a_child_span_of_its_request(traced: Traced) -> None:
    traced.api.caller().create()
    (request,) = traced.spans("POST /items")
    write = traced.spans("journal write")[-1]
    assert write.parent is not None
    assert request.context is not None
    assert write.parent.span_id == request.context.span_id
    assert request.start_time is not None
    assert request.end_time is not None
    assert request.start_time <= (write.start_time or 0) <= (write.end_time or 0)
    assert (write.end_time or 0) <= request.end_time


def test_the_trace_of_the_client_continues_and_is_in_the_access_log(traced: Traced) -> None:
    traced.api.request("GET", "/health/live", headers={"traceparent": TRACEPARENT})
    (span,) = traced.spans("GET /health/live")
    assert span.parent is not None
    assert format_span_id(span.parent.span_id) == PARENT
    traced.api.request("GET", "/health/live")
    first, second = traced.lines()
    assert first["trace_id"] == TRACE
    assert second["trace_id"] == trace_of(traced.spans("GET /health/live")[1]) != TRACE


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format_trace_id(span.context.trace_id)


@pytest.mark.parametrize("sent", ["", "00-x-y-z", "00-" + "0" * 32 + "-" + PARENT + "-01", "é" * 9])
def test_an_invalid_traceparent_begins_a_new_trace(traced: Traced, sent: str) -> None:
    answer = traced.api.request(
        "GET", "/health/live", headers=[(b"traceparent", sent.encode("latin-1"))]
    )
    assert answer.status_code == 200
    (span,) = traced.spans("GET /health/live")
    assert span.parent is None


@pytest.mark.parametrize(
    "sent",
    [
        "canary@example.org",
        "canary=a,canary=b",
        "Canary=1",
        "good=1,canary=",
        ",".join(f"canary{number}=1" for number in range(40)),
        "canary=" + "x" * 300,
        "canary=\u00e9",
        "canary=1",
    ],
)
def test_the_trace_state_is_neither_logged_nor_exported(
    traced: Traced, caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    headers = [(b"traceparent", TRACEPARENT.encode()), (b"tracestate", sent.encode("latin-1"))]
    assert traced.api.request("GET", "/health/live", headers=headers).status_code == 200
    assert "canary" not in caplog.text.lower()
    (span,) = traced.spans("GET /health/live")
    assert trace_of(span) == TRACE
    assert span.context is not None
    assert not span.context.trace_state


def test_a_request_without_a_route_is_a_span_without_a_route(traced: Traced) -> None:
    traced.api.request("GET", "/canary")
    traced.api.request("CANARY", "/items")
    unknown, other = traced.spans("GET"), traced.spans("HTTP")
    assert [span.attributes for span in unknown + other] == [
        {"http.request.method": "GET", "http.response.status_code": 404},
        {"http.request.method": "_OTHER", "http.response.status_code": 405},
    ]


def test_a_failed_request_is_an_error_span_without_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Create:
        raise ValueError("canary")

    monkeypatch.setattr(writes, "Create", fail)
    broken = Traced(tmp_path / "server.log")
    with broken.api as api:
        assert api.caller().post("/items", json={"title": "a"}).status_code == 500
    (span,) = broken.spans("POST /items")
    assert span.status.status_code is StatusCode.ERROR
    assert "canary" not in span.to_json()


def test_a_refused_write_records_no_reason(traced: Traced) -> None:
    ann, bob = traced.api.caller(), traced.api.caller()
    before = len(traced.spans("journal write"))
    answer = bob.under("/api/v2").patch("/auth/me", json={"email": f"{ann.name}@example.org"})
    assert answer.status_code == 409
    (write,) = traced.spans("journal write")[before:]
    assert list(write.events) == []
    assert write.status.description is None


def test_nothing_personal_is_in_a_span(traced: Traced) -> None:
    name = f"canary-{token_hex(8)}"  # A rerun uses the same app.
    ann = traced.api.caller(name)
    number = ann.create("canary title", "canary text")
    ann.get("/items?q=canary", headers={"baggage": "canary=1", "user-agent": "canary"})
    ann.get(f"/items/{number}canary", headers={"tracestate": "vendor=1", "cookie": "canary"})
    traced.api.login(name, "canary-password")
    exported = "".join(span.to_json() for span in traced.exporter.get_finished_spans())
    assert "journal write" in exported
    assert "canary" not in exported
    assert ann.token not in exported


async def test_an_invalid_variable_of_opentelemetry_fails_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")

    with pytest.raises(ConfigurationError, match=r"^OTEL_.*max_queue_size"):
        async with tracing_of({}, "1").export():
            pass
