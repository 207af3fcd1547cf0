"""The root URL: it refers browsers and programs to the documentation."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from msgspec import Meta

from eventapi.http.handlers import get
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.http.urls import base_url

_VARY = (b"vary", b"Accept")


class Root(msgspec.Struct, frozen=True):
    """The URLs of the documentation of this server."""

    docs: Annotated[str, Meta(description="The documentation, for people.")]
    openapi: Annotated[str, Meta(description="The OpenAPI document, for programs.")]


class RootController(Controller):
    """The root URL of the server."""

    path = "/"
    tags = ("documentation",)

    @get(
        summary="Find the documentation",
        empty_statuses=(307,),
        reads_state=False,
        ignores_query=True,
        name="get_root",
    )
    async def root(self, request: ApiRequest) -> Response[Root]:
        """Redirect a browser to the documentation; return its URLs to other clients."""
        base = base_url(request.scope)
        docs = f"{base}/docs"
        if "text/html" in request.headers.get("accept", ""):
            return Response(307, [(b"location", docs.encode()), _VARY])
        return json_response(Root(docs, f"{base}/openapi.json"), 200, _VARY)
