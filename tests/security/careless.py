"""An app factory for uvicorn whose handler raises errors that quote the request."""

from __future__ import annotations

from typing import Any
from unittest import mock

from litestar.types import ASGIApp

from eventapi import app
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.routes import resources
from eventapi.http.schemas.resources import Shape


class CarelessError(Exception):
    """An error with personal data in its message."""


async def update(request: ApiRequest, shape: Shape, number: int, data: object) -> Response[Any]:
    """Fail with an error that quotes the user, the item, the body and the headers."""
    caller, body = request.caller, await request.content()
    item = caller.state[shape.resource.collection].by_id[number]
    quoted = f"{caller.user} {item} {data} {body!r} {request.scope['headers']}"
    try:
        raise LookupError(quoted)
    except LookupError as error:
        raise CarelessError(quoted) from error


def create_app() -> ASGIApp:
    """Create the app with the careless handler."""
    mock.patch.object(resources, "_update", update).start()
    return app.create_app()
