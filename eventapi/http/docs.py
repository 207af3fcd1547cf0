"""The documentation pages: Swagger UI from this server alone, the document, the problem types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar.handlers import HTTPRouteHandler
from swagger_ui_bundle import swagger_ui_path

from eventapi.http.endpoint import Handler
from eventapi.http.problems import PROBLEMS, ProblemError
from eventapi.http.reply import JSON, Reply, encode, text_reply
from eventapi.http.request import ApiRequest

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>eventapi</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""

_START = """\
SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null, deepLinking: true});
"""


_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""Of all that the bundle brings; its own pages ask other servers for things."""


async def docs(request: ApiRequest) -> Reply:
    """Swagger UI."""
    return text_reply(_PAGE, "text/html")


async def start(request: ApiRequest) -> Reply:
    """What starts Swagger UI; apart from the page, so that no script need stand inline."""
    return text_reply(_START, "text/javascript")


async def problem(request: ApiRequest) -> Reply:
    """What a problem type means."""
    kind = PROBLEMS.get(request.path_params["slug"])
    if kind is None:
        raise ProblemError("not-found", "there is no such problem type")
    return text_reply(
        f"{kind.slug} ({kind.status}): {kind.title}\n\n{kind.meaning}\n", "text/plain"
    )


def routes(document: dict[str, Any]) -> list[HTTPRouteHandler]:
    """The routes of the documentation."""
    body = encode(document)

    async def openapi(request: ApiRequest) -> Reply:
        return Reply(200, [JSON], body)

    pages = {
        "/openapi.json": openapi,
        "/docs": docs,
        "/docs/start.js": start,
        "/problems/{slug:str}": problem,
    } | {f"/docs/assets/{name}": _asset(name, kind) for name, kind in _ASSETS.items()}
    return [
        HTTPRouteHandler(path, http_method=["GET", "HEAD"], status_code=200)(handler)
        for path, handler in pages.items()
    ]


def _asset(name: str, media_type: str) -> Handler:
    content = (Path(swagger_ui_path) / name).read_bytes()

    async def asset(request: ApiRequest) -> Reply:
        """A part of Swagger UI."""
        kind = f"{media_type}; charset=utf-8".encode()
        return Reply(200, [(b"content-type", kind), (b"cache-control", b"max-age=3600")], content)

    return asset
