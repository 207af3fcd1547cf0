"""Sentry is told of errors that nobody foresaw, and of nothing that anybody typed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from eventapi.commands.items import CreateItem
from eventapi.http.routes import items
from eventapi.telemetry.sentry import reporting
from events.errors import ConfigurationError
from tests.eventapi.http.client import Api

DSN = "http://key@127.0.0.1:1/7"
CANARY = "canary-8831"


class Kept(Transport):
    """Keeps what would be sent."""

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


def told(work: Callable[[], object]) -> Kept:
    """What Sentry is told of while something is done."""
    kept = Kept()

    async def run() -> None:
        async with reporting(DSN, "1.2.3", kept):
            await asyncio.to_thread(work)

    asyncio.run(run())
    return kept


def broken(*content: object) -> CreateItem:
    """Fail in the middle of personal values, with an error that quotes them."""
    local = f"{CANARY} {content}"
    try:
        raise KeyError(local)
    except KeyError as error:
        raise ValueError(f"no {local}") from error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(items, "CreateItem", broken)
    with Api() as api:
        yield api


def test_an_unforeseen_error_is_told_with_the_request_and_where_it_was(failing: Api) -> None:
    ann = failing.caller(CANARY)

    def fail() -> None:
        headers = {"x-request-id": "the-one", "user-agent": CANARY, "cookie": CANARY}
        answer = ann.post("/items", json={"title": CANARY}, headers=headers)
        assert answer.status_code == 500

    kept = told(fail)
    (event,) = kept.events()
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
    everything = b"".join(kept.sent).decode()
    for secret in (CANARY, ann.token, "Bearer"):
        assert secret not in everything
    assert "vars" not in everything


def test_what_is_refused_or_foreseen_is_not_told(failing: Api) -> None:
    def refuse() -> None:
        failing.request("GET", "/nowhere")
        failing.login("nobody")
        logging.getLogger("eventapi").error("foreseen: %s", CANARY)
        logging.getLogger("eventapi").warning("a warning", exc_info=ValueError("small"))

    assert told(refuse).sent == []


def test_errors_behind_the_scenes_are_told_as_well() -> None:
    def fail() -> None:
        try:
            raise OSError(CANARY)
        except OSError:
            logging.getLogger("eventapi.journal").exception("a batch failed for %s", CANARY)

    kept = told(fail)
    (event,) = kept.events()
    assert event["logger"] == "eventapi.journal"
    assert CANARY not in b"".join(kept.sent).decode()


def test_afterwards_nothing_is_told() -> None:
    kept = told(lambda: None)
    logging.getLogger("eventapi").error("an error", exc_info=ValueError("late"))
    assert kept.sent == []


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1/7", "ftp://key@127.0.0.1/7"])
def test_a_bad_address_stops_the_start(dsn: str) -> None:
    async def start() -> None:
        async with reporting(dsn, "1"):
            pass

    with pytest.raises(ConfigurationError, match="EVENTAPI_SENTRY_DSN"):
        asyncio.run(start())
