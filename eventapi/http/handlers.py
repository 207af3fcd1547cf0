"""Route decorators: Litestar's, with additional data for the OpenAPI document.

The signature of a handler declares its parameters, body and response; `Operation` has the rest.
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

OPERATION: Final = "operation"
ACTION: Final = "action"
"""Keys of a handler's ``opt``: its `Operation`, and the action of a resource that it runs."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a handler for the OpenAPI document, beyond its signature.

    - ``errors``: slugs of problems, in addition to those of every operation.
    - ``query``: the query parameters, which the handler decodes with `ApiRequest.query_as`.
    - ``form_body``: the form of a handler that accepts JSON or a form.
    - ``creates``: success has the version's status for a creation, and its ``Location``.
    - ``empty_statuses``: further success statuses, without a body.
    - ``reads_state``: the handler accepts Min-Event-Position.
    - ``is_limited``: rate limits count the request.
    - ``name``: the function in generated clients; by default the handler's name.
    - ``kind`` and ``noun``: those of the resources that it is about, ``noun`` with its article.
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
    kind: str = ""
    noun: str = ""


class ApiHandler(HTTPRouteHandler):
    """A handler that is never copied.

    Litestar copies a handler for each guard, which costs a third of a read.
    """

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
        opt={OPERATION: operation},
    )


def get(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle GET and HEAD.

    ``details`` are ``guards``, ``tags`` and the fields of `Operation`, here and below.
    """
    return _operation("GET", path, summary, 200, **details)


def post(
    path: str = "/", *, summary: str, status: int = 200, **details: Any
) -> Callable[[Any], HTTPRouteHandler]:
    """Handle POST; see `get` for ``details``."""
    return _operation("POST", path, summary, status, **details)


def put(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle PUT; see `get` for ``details``."""
    return _operation("PUT", path, summary, 200, **details)


def patch(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle PATCH; see `get` for ``details``."""
    return _operation("PATCH", path, summary, 200, **details)


def delete(path: str = "/", *, summary: str, **details: Any) -> Callable[[Any], HTTPRouteHandler]:
    """Handle DELETE, whose response has status 204; see `get` for ``details``."""
    return _operation("DELETE", path, summary, 204, **details)


def operation_of(handler: BaseRouteHandler) -> Operation | None:
    """The `Operation` of a handler; ``None`` if the handler is not part of the API."""
    found: Operation | None = handler.opt.get(OPERATION)
    return found


def options_handlers(controllers: Iterable[type[Controller]]) -> list[HTTPRouteHandler]:
    """OPTIONS handlers for every path of the given controllers.

    Litestar's own OPTIONS handlers list only one method of a path. Register these handlers before
    the controllers.
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
