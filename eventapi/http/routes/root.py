"""The root of the server: where its documentation is, for a browser and for a program."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from eventapi.http.endpoint import Endpoint
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.http.urls import base_url

_VARY = (b"vary", b"Accept")


class Root(msgspec.Struct, frozen=True):
    """Where the documentation of this server is."""

    docs: Annotated[str, Meta(description="The documentation, for people.")]
    openapi: Annotated[str, Meta(description="The OpenAPI document, for programs.")]


async def root(request: ApiRequest) -> Response:
    """Redirect a browser to the documentation, and name its address to any other client."""
    base = base_url(request.scope)
    docs = f"{base}/docs"
    if "text/html" in request.headers.get("accept", ""):
        return Response(307, [(b"location", docs.encode()), _VARY])
    return json_response(Root(docs, f"{base}/openapi.json"), 200, _VARY)


ENDPOINT = Endpoint(
    method="GET",
    path="/",
    handler=root,
    summary="Where the documentation is",
    tag="documentation",
    authenticated=False,
    answers={200: Root, 307: None},
    reads_state=False,
    any_query=True,
    operation_id="get_root",
)
