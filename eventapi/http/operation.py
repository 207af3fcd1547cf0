"""The description of a handler for the OpenAPI document, beyond its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from litestar.handlers import BaseRouteHandler

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


def operation_of(handler: BaseRouteHandler) -> Operation | None:
    """The `Operation` of a handler; ``None`` if the handler is not part of the API."""
    found: Operation | None = handler.opt.get(OPERATION)
    return found
