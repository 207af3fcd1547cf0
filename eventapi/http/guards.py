"""Guards: checks that run before a request's body is decoded."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from eventapi.http.request import ApiRequest

_Connection = ASGIConnection[Any, Any, Any, Any]


class _NoQuery(msgspec.Struct, frozen=True):
    """The query of a handler that accepts no parameters."""


async def logged_in(connection: _Connection, _: BaseRouteHandler) -> None:
    """Authenticate the caller; raises `Unauthenticated`."""
    await _request(connection).authenticate()


async def own_session(connection: _Connection, _: BaseRouteHandler) -> None:
    """Authenticate a caller with a session; raises `Unauthenticated` and `Forbidden`."""
    await _request(connection).authenticate_session()


async def optional_login(connection: _Connection, _: BaseRouteHandler) -> None:
    """Authenticate the caller if there is a token.

    Raises `Unauthenticated` for a bad token.
    """
    await _request(connection).authenticate_reader()


async def event_reader(connection: _Connection, _: BaseRouteHandler) -> None:
    """Authenticate the reader of an event, if there is a token.

    Raises `Unauthenticated` and `Forbidden`.
    """
    await _request(connection).authenticate_event_reader()


async def auditor(connection: _Connection, _: BaseRouteHandler) -> None:
    """Require an auditor as the caller; raises `Unauthenticated` and `Forbidden`."""
    await _request(connection).authenticate_auditor()


async def refuse_query(connection: _Connection, _: BaseRouteHandler) -> None:
    """Reject query parameters, because the handler has none; raises `Invalid`."""
    if connection.scope["query_string"]:
        _request(connection).query_as(_NoQuery)


async def check_reason(connection: _Connection, _: BaseRouteHandler) -> None:
    """Check Change-Reason before anything else happens; raises `Invalid`."""
    _request(connection).change_reason()


def _request(connection: _Connection) -> ApiRequest:
    assert isinstance(connection, ApiRequest)  # noqa: S101 - for the type checker
    return connection
