"""One endpoint, said once: Litestar's route and the OpenAPI document are both made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.types import Method

from eventapi.http.request import ApiRequest
from eventapi.http.response import Response


class _NoQuery(msgspec.Struct, frozen=True):
    """The parameters of an endpoint that has none."""


Handler = Callable[[ApiRequest], Awaitable[Response]]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A method and a path, and all that a client may want to know of them.

    ``answers`` maps a status to the type of its body, or ``None`` for an empty one; ``errors`` are
    slugs, beside those that every endpoint has; ``headers`` names headers of the request that
    matter, ``other_media_types`` what else can be asked for with Accept, ``answer_headers`` those of the
    successful answer; ``statuses`` are those of slugs that differ here; ``reads_state`` is whether it
    can be asked to wait for a position of the log; ``limited`` is whether the limits of
    `eventapi.http.middleware.rate_limit` count it; ``any_query`` whether parameters of the query are ignored;
    ``operation_id`` names the operation in generated clients, by default as the handler.
    """

    method: Method
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: dict[int, Any]
    authenticated: bool = True
    body: Any = None
    body_required: bool = True
    media_types: Sequence[str] = ("application/json",)
    form_types: Sequence[str] = ()
    query: type[msgspec.Struct] | None = None
    headers: Sequence[str] = ()
    answer_headers: Sequence[str] = ()
    answer_media_type: str = "application/json"
    other_media_types: Sequence[str] = ()
    errors: Sequence[str] = ()
    statuses: Mapping[str, int] = {}
    reads_state: bool = True
    limited: bool = True
    any_query: bool = False
    operation_id: str | None = None

    def route(self) -> HTTPRouteHandler:
        """Litestar's handler; what answers GET answers HEAD."""
        route = HTTPRouteHandler(self.path, http_method=self.methods, status_code=200)
        if self.query is not None or self.any_query:
            return route(self.handler)
        return route(_without_query(self.handler, self.authenticated))

    @property
    def name(self) -> str:
        """The name of the operation; the same in every version."""
        return self.operation_id or self.handler.__name__

    @property
    def methods(self) -> list[Method]:
        """All that are answered by this endpoint."""
        return ["GET", "HEAD"] if self.method == "GET" else [self.method]


def _without_query(handler: Handler, authenticated: bool) -> Handler:
    """The handler, which refuses parameters of a query once the caller is known."""

    @wraps(handler)
    async def checked(request: ApiRequest) -> Response:
        if request.scope["query_string"]:
            if authenticated:
                await request.authenticated()
            request.query_as(_NoQuery)
        return await handler(request)

    return checked


def options_routes(endpoints: Iterable[Endpoint]) -> list[HTTPRouteHandler]:
    """Litestar's handlers of OPTIONS, whose own know one method of a path only.

    They must be registered before any other of the same path.
    """
    allowed: dict[str, set[str]] = {}
    for endpoint in endpoints:
        allowed.setdefault(endpoint.path, {"OPTIONS"}).update(endpoint.methods)
    return [
        HTTPRouteHandler(path, http_method=["OPTIONS"], status_code=200)(_options(methods))
        for path, methods in allowed.items()
    ]


def _options(methods: set[str]) -> Handler:
    allow = ", ".join(sorted(methods)).encode()

    async def options(request: ApiRequest) -> Response:
        return Response(204, [(b"allow", allow)])

    return options
