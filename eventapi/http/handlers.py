"""Route decorators: Litestar's, with additional data for the OpenAPI document.

The signature of a handler declares its parameters, body and response; `Operation` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, Literal, Self

from litestar import Controller, Litestar, Request, route
from litestar.connection import ASGIConnection
from litestar.handlers import HTTPRouteHandler
from litestar.types import ExceptionHandlersMap, Guard
from litestar.utils.path import join_paths

from eventapi.http.change_reason import CHANGE_REASON
from eventapi.http.guards import check_reason, refuse_query
from eventapi.http.operation import OPERATION, Operation
from eventapi.http.response import Response

Method = Literal["DELETE", "GET", "PATCH", "POST", "PUT"]


class ApiHandler(HTTPRouteHandler):
    """A handler whose functions return a `Response` of this project.

    Litestar copies a handler for each guard, computes its exception handlers and renders its result
    for each request, which costs a third of a read. A controller copies its handlers deeply for each
    prefix and application, which costs a sixth of a start.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return copy(self)

    async def authorize_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        """Run the guards."""
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]  # Litestar's types have None, too

    def resolve_exception_handlers(self) -> ExceptionHandlersMap:
        """The handlers of the application: there are no others."""
        return self._exception_handlers

    @cached_property
    def _exception_handlers(self) -> ExceptionHandlersMap:
        return super().resolve_exception_handlers()

    async def to_response(self, app: Litestar, data: Any, request: Request[Any, Any, Any]) -> Any:
        """Return the response itself, which is an ASGI application."""
        return data


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
    checks: list[Guard] = []
    if method != "GET":
        request_headers = (*details.pop("request_headers", ()), CHANGE_REASON)
        details["request_headers"] = request_headers
        checks.append(check_reason)
    operation = Operation(**details)
    if operation.query is None and not operation.ignores_query:
        checks.append(refuse_query)
    return ApiHandler(
        path,
        http_method=["GET", "HEAD"] if method == "GET" else [method],
        status_code=status,
        summary=summary,
        tags=tags,
        guards=[*guards, *checks],
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
