"""The root of the server: where its documentation is, for a browser and for a program."""

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
    """Where the documentation of this server is."""

    docs: Annotated[str, Meta(description="The documentation, for people.")]
    openapi: Annotated[str, Meta(description="The OpenAPI document, for programs.")]


class RootController(Controller):
    """The address of the server itself."""

    path = "/"
    tags = ("documentation",)

    @get(
        summary="Where the documentation is",
        empty_statuses=(307,),
        reads_state=False,
        ignores_query=True,
        name="get_root",
    )
    async def root(self, request: ApiRequest) -> Response[Root]:
        """Redirect a browser to the documentation, and name its address to any other client."""
        base = base_url(request.scope)
        docs = f"{base}/docs"
        if "text/html" in request.headers.get("accept", ""):
            return Response(307, [(b"location", docs.encode()), _VARY])
        return json_response(Root(docs, f"{base}/openapi.json"), 200, _VARY)
