"""Guards of the endpoints for operators."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from eventapi.http.authentication import Caller
from eventapi.http.request import ApiRequest
from events.errors import Forbidden
from events.vocabulary.keys import Scope

_Connection = ASGIConnection[Any, Any, Any, Any]


async def operator(connection: _Connection, _: BaseRouteHandler) -> None:
    """Require an operator with a session; raises `Unauthenticated` and `Forbidden`.

    An API key is refused, so that a leaked one takes over no account.
    """
    caller = await _caller(connection)
    if "operator" not in caller.user.roles:
        raise Forbidden("only operators may do this")
    if caller.key is not None:
        raise Forbidden("an API key may not do this: log in")


async def operator_or_key(connection: _Connection, _: BaseRouteHandler) -> None:
    """Require an operator, also by an API key; raises as `operator`."""
    caller = await _caller(connection)
    if "operator" not in caller.user.roles:
        raise Forbidden("only operators may do this")


async def operator_or_auditor(connection: _Connection, _: BaseRouteHandler) -> None:
    """Require an operator or an auditor; raises `Unauthenticated` and `Forbidden`.

    An API key needs the scope of the role: `read` for an operator, `audit` for an auditor.
    """
    caller = await _caller(connection, "read", "audit")
    is_reader = caller.key is None or "read" in caller.key.scopes
    if not (is_reader and "operator" in caller.user.roles) and not caller.is_auditor:
        raise Forbidden("only operators and auditors may do this")


async def _caller(connection: _Connection, *scopes: Scope) -> Caller:
    assert isinstance(connection, ApiRequest)  # noqa: S101 - for the type checker
    return await connection.authenticate(*scopes)
