"""The endpoints of declared projections: one query each."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from litestar import Controller
from litestar.handlers import HTTPRouteHandler
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from eventapi.http.decoding import query_texts
from eventapi.http.guards import logged_in
from eventapi.http.handlers import get
from eventapi.http.operation import OPERATION
from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Response
from eventapi.http.routes.templates import renamed
from eventapi.http.schemas.requests import Point, StateQuery
from eventapi.queries.projections import query_projection
from eventapi.resources.as_read import encode_shown
from eventapi.resources.declaration import application_code
from eventapi.resources.declared_projections import DeclaredProjection
from eventapi.resources.projection import Caller
from eventapi.resources.registry import Registry
from events.errors import Fault, Invalid

if TYPE_CHECKING:
    ProjectionResult: TypeAlias = Any

PROJECTION: Final = "projection"
"""The key of a handler's ``opt`` with the projection that it queries."""

_AS_OF: Final = "as_of"


class ProjectionTemplate(Controller):
    """The handler of a projection's query; `projections_controller` copies it."""

    @get(
        "/NAME",
        summary="{summary}",
        query=StateQuery,
        guards=(logged_in,),
        errors=("projection-failed", "validation-failed"),
    )
    async def query(self, request: ApiRequest) -> Response[ProjectionResult]:
        """{description}."""
        projection: DeclaredProjection = request.route_handler.opt[PROJECTION]
        caller, history = request.caller, request.services.history
        texts = query_texts(request.scope["query_string"])
        faults = [
            Fault(f"/{name}", "is given more than once", where="query")
            for name, values in texts.items()
            if len(values) > 1
        ]
        if faults:
            raise Invalid(*faults)
        as_of = texts.pop(_AS_OF, None)
        parameters = projection.parse({name: values[-1] for name, values in texts.items()})
        position = None if as_of is None else await request.resolve_as_of(caller.state, as_of[-1])
        user = caller.user
        answer = await query_projection(
            projection,
            Caller(user.id, user.username, frozenset(user.roles)),
            parameters,
            caller.state,
            history=history,
            position=position,
        )
        with application_code(f"the answer of the projection {projection.name!r}"):
            return Response(200, [JSON], encode_shown(answer))


def projections_controller(registry: Registry) -> type[Controller]:
    """The controller of an application's projections."""
    template = vars(ProjectionTemplate)["query"]
    handlers = {
        f"query_{one.name}": _handler(template, one) for one in registry.projections.values()
    }
    return type(
        "ProjectionsController",
        (Controller,),
        {"path": "/projections", "tags": ("projections",), **handlers},
    )


def _query(projection: DeclaredProjection) -> type[msgspec.Struct]:
    """The parameters of a query, and ``as_of``, for the document."""
    return msgspec.defstruct(
        f"{projection.cls.__name__}Query",
        [(_AS_OF, Point | UnsetType, UNSET)],
        bases=(projection.parameters,),
        kw_only=True,
    )


def _handler(template: HTTPRouteHandler, projection: DeclaredProjection) -> HTTPRouteHandler:
    handler = copy(template)
    words = {
        "summary": projection.summary,
        "description": (projection.description or projection.summary).removesuffix("."),
    }
    handler.paths = {f"/{projection.name}"}
    handler.summary = projection.summary
    operation = replace(template.opt[OPERATION], query=_query(projection))
    handler.opt = {**template.opt, OPERATION: operation, PROJECTION: projection}
    handler.signature_namespace = {"ProjectionResult": projection.result}
    handler._fn = renamed(handler.fn, f"query_{projection.name}", words)
    return handler
