"""Descriptions of operations, read from Litestar's registered handlers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import NoneType
from typing import Any, Final, get_args

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute

from eventapi.http.guards import auditor, event_reader, logged_in, optional_login, own_session
from eventapi.http.operation import Operation, operation_of
from eventapi.http.operator_guards import operator, operator_or_auditor, operator_or_key
from eventapi.http.request import declared_body
from eventapi.http.schemas.responses import ApiVersion

_AUTHENTICATING: Final = frozenset(
    {
        auditor,
        event_reader,
        logged_in,
        operator,
        operator_or_auditor,
        operator_or_key,
        optional_login,
        own_session,
    }
)
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Described(msgspec.Struct, frozen=True):
    """An operation at a path.

    ``answers`` maps each status to the type of the response's body, or ``None`` without a body.
    ``body`` is the type of the request's body, or ``None``. ``is_authenticated``: a bad token is
    refused, and a missing one as well, unless the caller ``may_be_anonymous``.
    """

    path: str
    method: str
    name: str
    summary: str
    description: str
    tags: Sequence[str]
    operation: Operation
    is_authenticated: bool
    may_be_anonymous: bool
    answers: dict[int, Any]
    response_headers: Sequence[str]
    body: Any
    body_is_required: bool
    media_types: Sequence[str]
    version: ApiVersion


def described(routes: Iterable[BaseRoute]) -> list[Described]:
    """Every documented operation of an application's routes, by path and method.

    Litestar's order differs between processes, and all workers must serve the same document.
    """
    operations = [
        _described(route.path_format, handler, operation)
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if (operation := operation_of(handler)) is not None
    ]
    return sorted(operations, key=_order)


def _order(operation: Described) -> tuple[str, int]:
    return operation.path, _METHODS.index(operation.method)


def _described(path: str, handler: HTTPRouteHandler, operation: Operation) -> Described:
    (method,) = (str(one) for one in handler.http_methods if one != "HEAD")
    version: ApiVersion = handler.resolve_request_class().version  # type: ignore[attr-defined]
    is_created = operation.creates and version.created_status == 201
    answer = get_args(handler.parsed_fn_signature.return_type.annotation)[0]
    status = version.created_status if operation.creates else handler.status_code
    answers = {status: None if answer is NoneType else answer}
    answers |= dict.fromkeys(operation.empty_statuses)
    body, is_required, media_types = _body(handler, operation, version)
    return Described(
        path,
        method,
        operation.name or handler.fn.__name__,
        handler.summary or "",
        handler.fn.__doc__ or "",
        sorted(handler.resolve_tags()),
        operation,
        not _AUTHENTICATING.isdisjoint(handler.resolve_guards()),
        optional_login in handler.resolve_guards(),
        answers,
        (*operation.response_headers, "Location") if is_created else operation.response_headers,
        body,
        is_required,
        media_types,
        version,
    )


def _body(
    handler: HTTPRouteHandler, operation: Operation, version: ApiVersion
) -> tuple[Any, bool, Sequence[str]]:
    if operation.form_body is not None:
        return version.body(operation.form_body), True, ("application/json", *version.form_types)
    field = handler.parsed_data_field
    if field is None:
        return None, False, ()
    kind, media_types = declared_body(handler)
    return kind, not field.has_default, sorted(media_types)
