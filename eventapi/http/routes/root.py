"""The root URL: it refers browsers to the console, other clients to the docs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.handlers import get
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, json_response
from eventapi.http.urls import base_url

_VARY = (b"vary", b"Accept")


class Root(msgspec.Struct, frozen=True):
    """The URLs of the documentation and of the console of this server."""

    docs: Annotated[str, Meta(description="The documentation, for people.")]
    openapi: Annotated[str, Meta(description="The OpenAPI document, for programs.")]
    console: (
        Annotated[str, Meta(description="The console, for people; omitted if it is off.")]
        | UnsetType
    ) = UNSET


def root_controller(has_console: bool) -> type[Controller]:
    """The controller of the root URL; without a console it redirects no client."""

    class RootController(Controller):
        """The root URL of the server."""

        path = "/"
        tags = ("documentation",)

        @get(
            summary="Find the console and the documentation",
            empty_statuses=(307,) if has_console else (),
            reads_state=False,
            ignores_query=True,
            name="get_root",
        )
        async def root(self, request: ApiRequest) -> Response[Root]:
            """Redirect a browser to the console; return the URLs to other clients."""
            base = base_url(request.scope)
            console = f"{base}/console" if has_console else UNSET
            if console is not UNSET and request.preferred_type("text/html") is not None:
                return Response(307, [(b"location", console.encode()), _VARY])
            found = Root(f"{base}/docs", f"{base}/openapi.json", console)
            return json_response(found, 200, *([_VARY] if has_console else ()))

    return RootController
