"""Controllers of declared resources, made from the templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from types import FunctionType
from typing import Any, Final

from litestar import Controller
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Guard
from msgspec.structs import replace

from eventapi.http.guards import logged_in, optional_login
from eventapi.http.operation import ACTION, OPERATION
from eventapi.http.request import ApiRequest
from eventapi.http.routes.resources import ActionTemplate, ResourceTemplate
from eventapi.http.routes.sharing import SharingTemplate
from eventapi.http.routes.writes import check_known
from eventapi.http.schemas.resources import Shape
from eventapi.resources.actions import Action

_NUMBER: Final = "number"
"""The parameter of the templates that has the number of a resource."""

_WRITES: Final = frozenset({"create", "replace", "update", "restore"})
"""Handlers that set values, which may have to be unique."""


def resource_controller(shape: Shape) -> type[Controller]:
    """The controller of a kind in a version of the API."""
    resource = shape.resource
    words = {
        "kind": resource.kind,
        "collection": resource.collection,
        "a_noun": shape.a_noun,
    }
    handlers = {
        name: _filled(handler, shape, words, name) for name, handler in _handlers(ResourceTemplate)
    }
    if not shape.version.is_replacement:
        if resource.shareable:
            handlers |= {
                name: _filled(handler, shape, words, name)
                for name, handler in _handlers(SharingTemplate)
            }
        for action in resource.actions.values():
            handlers[f"act_{action.name}"] = _action_handler(shape, words, action)
    return type(
        f"{resource.cls.__name__}Controller",
        (Controller,),
        {
            "path": f"/{resource.collection}",
            "tags": (resource.collection,),
            "signature_namespace": shape.namespace,
            "shape": shape,
            "__doc__": ResourceTemplate.__doc__,
            **handlers,
        },
    )


def _handlers(template: type[Controller]) -> Iterable[tuple[str, HTTPRouteHandler]]:
    for name, value in vars(template).items():
        if isinstance(value, HTTPRouteHandler):
            yield name, value


def _action_handler(shape: Shape, words: Mapping[str, str], action: Action) -> HTTPRouteHandler:
    (template,) = (handler for _, handler in _handlers(ActionTemplate))
    texts = {
        "action": action.name,
        "action_summary": action.summary,
        "action_description": action.description.removesuffix("."),
    }
    handler = _filled(template, shape, {**words, **texts}, "act")
    handler.paths = {path.replace("ACTION", action.name) for path in handler.paths}
    handler.opt[ACTION] = action.name
    handler.signature_namespace = {"ActionBody": action.body}
    if action.needs_body:
        function: Any = handler.fn
        function.__defaults__ = None
        function.__annotations__ = function.__annotations__ | {"data": "JSONBody[ActionBody]"}
    return handler


def _filled(
    template: HTTPRouteHandler, shape: Shape, words: Mapping[str, str], name: str
) -> HTTPRouteHandler:
    """A copy of a handler with the names, texts, errors and guards of a kind."""
    handler = copy(template)
    operation = template.opt[OPERATION]
    filled = replace(
        operation,
        name=None,
        query=shape.list_query if name == "list_all" else operation.query,
        kind=shape.resource.kind,
        noun=shape.a_noun,
        errors=(*operation.errors, *_further_errors(shape, name)),
    )
    handler.opt = {**template.opt, OPERATION: filled}
    handler.summary = (handler.summary or "").format(**words)
    handler.guards = [*_guards(shape, handler), *(handler.guards or [])]
    parameter = f"{shape.resource.kind}_id"
    handler.paths = {path.replace(f"{{{_NUMBER}:", f"{{{parameter}:") for path in handler.paths}
    handler._fn = renamed(handler.fn, operation.name.format(**words), words, parameter)
    return handler


def renamed(function: Any, name: str, words: Mapping[str, str], parameter: str = _NUMBER) -> Any:
    """A copy of a function with another name and the words of a kind in its docstring.

    ``parameter`` replaces ``number`` in its signature, because metrics, traces and logs show the path
    with the names of its parameters.
    """
    names = {_NUMBER: parameter}
    code = function.__code__
    made = FunctionType(
        code.replace(co_varnames=tuple(names.get(one, one) for one in code.co_varnames)),
        function.__globals__,
        name,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__annotations__ = {
        names.get(one, one): hint for one, hint in function.__annotations__.items()
    }
    made.__qualname__ = name
    made.__doc__ = function.__doc__.format(**words)
    return made


def _further_errors(shape: Shape, name: str) -> Iterable[str]:
    if shape.resource.type.unique and (name in _WRITES or name == "act"):
        yield "not-unique"


def _guards(shape: Shape, handler: HTTPRouteHandler) -> list[Guard]:
    is_read = "GET" in {str(method) for method in handler.http_methods}
    is_public = is_read and shape.resource.access.read == "public"
    guards: list[Guard] = [optional_login if is_public else logged_in]
    return guards if shape.resource.type.declaration is None else [*guards, _known(shape)]


def _known(shape: Shape) -> Guard:
    """A guard that refuses requests for a kind that a newer version changed."""

    async def known(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        assert isinstance(connection, ApiRequest)  # noqa: S101 - for the type checker
        check_known(shape, connection.reader.state)

    return known
