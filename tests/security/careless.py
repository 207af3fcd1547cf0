"""An app factory for uvicorn whose handler raises errors that quote the request."""

from __future__ import annotations

from typing import Any
from unittest import mock

from litestar.types import ASGIApp

from eventapi import app
from eventapi.http.request import ApiRequest
from eventapi.http.routes import resources
from eventapi.http.schemas.resources import Shape
from eventapi.journal.batch import CommandResult


class CarelessError(Exception):
    """An error with personal data in its message."""


_write = resources._write


async def write(request: ApiRequest, shape: Shape, text: str, *rest: Any) -> CommandResult:
    """Fail an update with an error that quotes the user, the item, the body and the headers."""
    if request.method not in {"PATCH", "PUT"}:
        return await _write(request, shape, text, *rest)
    caller, body = request.caller, await request.content()
    item = caller.state[shape.resource.collection].by_id[int(text)]
    quoted = f"{caller.user} {item} {rest} {body!r} {request.scope['headers']}"
    try:
        raise LookupError(quoted)
    except LookupError as error:
        raise CarelessError(quoted) from error


def create_app() -> ASGIApp:
    """Create the app with the careless handler."""
    mock.patch.object(resources, "_write", write).start()
    return app.create_app()
