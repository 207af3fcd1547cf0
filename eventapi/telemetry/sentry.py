"""Reports of unforeseen errors to Sentry: records with a traceback only.

An event contains the type of the error, its place in the code and the request id, and nothing that
a user typed. Only listed fields are sent, so a field that a later SDK adds is not. The message of an
error is left out too, because it may quote a value. This module is imported only if Sentry is configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sentry_sdk import Client
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import BadDsn, event_from_exception

from events.errors import ConfigurationError

FLUSH_SECONDS: Final = 2.0
"""How long sending the last events may take at shutdown."""

_EVENT_FIELDS: Final = (
    *("event_id", "timestamp", "level", "logger", "platform"),
    *("release", "environment", "server_name", "sdk", "tags"),
)
_ERROR_FIELDS: Final = ("type", "module", "mechanism")
_FRAME_FIELDS: Final = (
    *("filename", "abs_path", "module", "function", "lineno", "in_app"),
    *("pre_context", "context_line", "post_context"),
)
"""``pre_context``, ``context_line`` and ``post_context`` are lines of the code."""


@asynccontextmanager
async def report_errors(
    dsn: str, version: str, transport: Transport | None = None
) -> AsyncIterator[None]:
    """Report errors during the context; raises `ConfigurationError` for a bad DSN."""
    try:
        client = _client(dsn, version, transport)
    except (BadDsn, ValueError):  # The messages may quote the key.
        raise ConfigurationError(
            "EVENTAPI_SENTRY_DSN must be a URL such as https://KEY@sentry.example/1"
        ) from None
    handler = _SentryHandler(client)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        await asyncio.to_thread(client.close, FLUSH_SECONDS)


def _client(dsn: str, version: str, transport: Transport | None) -> Client:
    return Client(
        dsn,
        release=f"eventapi@{version}",
        transport=transport,
        default_integrations=False,
        auto_enabling_integrations=False,
        auto_session_tracking=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        before_send=strip_event,
    )


class _SentryHandler(logging.Handler):
    """Sends an event for each record that has a traceback."""

    def __init__(self, client: Client) -> None:
        super().__init__(logging.ERROR)
        self._client = client

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None or record.exc_info[0] is None:
            return
        try:
            event, hint = event_from_exception(record.exc_info, self._client.options)
            event["logger"] = record.name
            event["tags"] = {
                name: value
                for name in ("request_id", "trace_id")
                if (value := getattr(record, name, None))
            }
            self._client.capture_event(event, hint)
        except Exception:
            self.handleError(record)


def strip_event(event: Event, _hint: Hint) -> Event:
    """Remove every field of an event that may contain personal data."""
    given: dict[str, Any] = dict(event)
    kept: Any = {name: given[name] for name in _EVENT_FIELDS if name in given}
    errors = given.get("exception", {}).get("values", [])
    kept["exception"] = {"values": [_strip_error(error) for error in errors]}
    return kept  # type: ignore[no-any-return]  # a dict


def _strip_error(error: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {name: error[name] for name in _ERROR_FIELDS if name in error}
    frames = (error.get("stacktrace") or {}).get("frames", [])
    kept["stacktrace"] = {
        "frames": [
            {name: frame[name] for name in _FRAME_FIELDS if name in frame} for frame in frames
        ]
    }
    return kept
