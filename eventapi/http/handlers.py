"""The decorators of the handlers: Litestar's, with more for the OpenAPI document.

What a handler takes and returns is in its signature. `Operation` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Self

import msgspec
from litestar import Controller, route
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Guard
from litestar.utils.path import join_paths

from eventapi.http.guards import refuse_query
from eventapi.http.response import Response

Method = Literal["DELETE", "GET", "PATCH", "POST", "PUT"]

_OPERATION: Final = "operation"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What clients need to know of a handler beside its signature.

    ``errors`` are slugs of problems, beside those that every operation has. ``query`` describes the
    query parameters, which the handler decodes with `ApiRequest.query_as`. ``form_body`` is the
    body of a handler that takes JSON or a form. With ``creates``, a success has the status of the
    version, and the version's ``Location``. ``empty_statuses`` are further successes without a body.
    ``reads_state`` is whether the client can ask to wait for a position of the log, ``is_limited``
    whether rate limits count the request. ``name`` is that of the function in generated clients, by
    default the handler's.
    """

    errors: Sequence[str] = ()
    request_headers: Sequence[str] = ()
    response_headers: Sequence[str] = ()
    media_type: str = "application/json"
    other_media_types: Sequence[str] = ()
    query: type[msgspec.Struct] | None = None
    ignores_query: bool = False
    form_body: type[msgspec.Struct] | None = None
    creates: bool = False
    empty_statuses: Sequence[int] = ()
    reads_state: bool = True
    is_limited: bool = True
    name: str | None = None


class ApiHandler(HTTPRouteHandler):
    """A handler that Litestar does not copy for each guard, because that costs a third of a read."""

    def __copy__(self) -> Self:
        return self


def _operation(
    method: Method,
    path: str,
    summary: str,
    status: int,
    *,
    guards: Sequence[Guard] = (),
    tags: Sequence[str] = (),
    **details: Any,
) -> Callable[[Any], HTTPRouteHandler]:
    operation = Operation(**details)
    has_query = operation.query is not None or operation.ignores_query
    return ApiHandler(
        path,
        http_method=["GET", "HEAD"] if method == "GET" else [method],
        status_code=status,
        summary=summary,
        tags=tags,
        guards=[*guards] if has_query else [*guards, refuse_query],
        opt={_OPERATION: operation},
    )


def get(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle GET, and HEAD with it; ``details`` are ``guards``, ``tags`` and those of `Operation`."""
    return _operation("GET", path, summary, 200, **details)


def post(
    path: str = "/", *, summary: str, status: int = 200, **details: Any
) -> Callable[[Any], HTTPRouteHandler]:
    """Handle POST; ``details`` are ``guards``, ``tags`` and those of `Operation`."""
    return _operation("POST", path, summary, status, **details)


def put(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle PUT; ``details`` are ``guards``, ``tags`` and those of `Operation`."""
    return _operation("PUT", path, summary, 200, **details)


def patch(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle PATCH; ``details`` are ``guards``, ``tags`` and those of `Operation`."""
    return _operation("PATCH", path, summary, 200, **details)


def delete(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle DELETE, which answers 204; ``details`` are ``guards``, ``tags`` and those of `Operation`."""
    return _operation("DELETE", path, summary, 204, **details)


def operation_of(handler: BaseRouteHandler) -> Operation | None:
    """What was given to the decorator; ``None`` for a handler that is not part of the API."""
    found: Operation | None = handler.opt.get(_OPERATION)
    return found


def options_handlers(controllers: Iterable[type[Controller]]) -> list[HTTPRouteHandler]:
    """Handlers of OPTIONS for every path of some controllers.

    Litestar's own know one method of a path only. Register these before the controllers.
    """
    allowed: dict[str, set[str]] = {}
    for controller in controllers:
        for handler in vars(controller).values():
            if isinstance(handler, HTTPRouteHandler):
                for path in handler.paths:
                    methods = allowed.setdefault(
                        join_paths([vars(controller)["path"], path]), {"OPTIONS"}
                    )
                    methods.update(str(method) for method in handler.http_methods)
    return [_options_handler(path, methods) for path, methods in allowed.items()]


def _options_handler(path: str, methods: set[str]) -> HTTPRouteHandler:
    allow = ", ".join(sorted(methods)).encode()

    async def options() -> Response[None]:
        return Response(204, [(b"allow", allow)])

    return route(path, http_method=["OPTIONS"], status_code=204)(options)
