"""A server that fails with errors that quote what came: an app factory for uvicorn."""

from __future__ import annotations

from unittest import mock

from litestar.types import ASGIApp

from eventapi import app
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.routes import items


class CarelessError(Exception):
    """Says more than it should."""


async def update_item(request: ApiRequest) -> Response:
    """Fail in the middle of everything."""
    state, user, _ = await request.authenticated()
    body = await request.content()
    item = state.items.by_id[request.item_number()]
    quoted = f"{user} {item} {body!r} {request.scope['headers']}"
    try:
        raise LookupError(quoted)
    except LookupError as error:
        raise CarelessError(quoted) from error


def create_app() -> ASGIApp:
    """The app."""
    mock.patch.object(items, "update_item", update_item).start()
    return app.create_app()
