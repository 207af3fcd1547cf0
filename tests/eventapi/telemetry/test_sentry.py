"""Reports to Sentry: unforeseen errors, and no user input."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from eventapi.commands.resources import Create
from eventapi.http.routes import writes
from eventapi.telemetry.sentry import report_errors
from events.errors import ConfigurationError
from tests.eventapi.http.client import Api

DSN = "http://key@127.0.0.1:1/7"
CANARY = "canary-8831"


class RecordingTransport(Transport):
    """Records the envelopes that would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize())

    def events(self) -> list[Any]:
        """The events, decoded."""
        found = []
        for envelope in self.sent:
            head, *parts = envelope.split(b"\n")
            assert json.loads(head)
            found += [json.loads(part) for part in parts if b'"exception"' in part]
        return found


def reported(work: Callable[[], object]) -> RecordingTransport:
    """The reports that a piece of work causes."""
    transport = RecordingTransport()

    async def run() -> None:
        async with report_errors(DSN, "1.2.3", transport):
            await asyncio.to_thread(work)

    asyncio.run(run())
    return transport


def broken(*content: object) -> Create:
    """Fail with an error that quotes personal values."""
    local = f"{CANARY} {content}"
    try:
        raise KeyError(local)
    except KeyError as error:
        raise ValueError(f"no {local}") from error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(writes, "Create", broken)
    with Api() as api:
        yield api


def test_an_unforeseen_error_is_reported_with_its_request_and_place(failing: Api) -> None:
    ann = failing.caller(CANARY)

    def fail() -> None:
        headers = {"x-request-id": "the-one", "user-agent": CANARY, "cookie": CANARY}
        answer = ann.post("/items", json={"title": CANARY}, headers=headers)
        assert answer.status_code == 500

    transport = reported(fail)
    (event,) = transport.events()
    assert event["tags"] == {"request_id": "the-one"}
    assert event["release"] == "eventapi@1.2.3"
    assert event["level"] == "error"
    assert [error["type"] for error in event["exception"]["values"]] == ["KeyError", "ValueError"]
    functions = [
        frame["function"]
        for error in event["exception"]["values"]
        for frame in error["stacktrace"]["frames"]
    ]
    assert "broken" in functions
    everything = b"".join(transport.sent).decode()
    for secret in (CANARY, ann.token, "Bearer"):
        assert secret not in everything
    assert "vars" not in everything


def test_refusals_and_foreseen_errors_are_not_reported(failing: Api) -> None:
    def refuse() -> None:
        failing.request("GET", "/nowhere")
        failing.login("nobody")
        logging.getLogger("eventapi").error("foreseen: %s", CANARY)
        logging.getLogger("eventapi").warning("a warning", exc_info=ValueError("small"))

    assert reported(refuse).sent == []


def test_errors_of_background_tasks_are_reported() -> None:
    def fail() -> None:
        try:
            raise OSError(CANARY)
        except OSError:
            logging.getLogger("eventapi.journal").exception("a batch failed for %s", CANARY)

    transport = reported(fail)
    (event,) = transport.events()
    assert event["logger"] == "eventapi.journal"
    assert CANARY not in b"".join(transport.sent).decode()


def test_nothing_is_reported_after_the_context_is_closed() -> None:
    transport = reported(lambda: None)
    logging.getLogger("eventapi").error("an error", exc_info=ValueError("late"))
    assert transport.sent == []


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1/7", "ftp://key@127.0.0.1/7"])
async def test_an_invalid_dsn_fails_the_start(dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="EVENTAPI_SENTRY_DSN"):
        async with report_errors(dsn, "1"):
            pass
