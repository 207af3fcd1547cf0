"""The documentation pages: Swagger UI from this server alone, the document, the problem types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from litestar.handlers import HTTPRouteHandler
from swagger_ui_bundle import swagger_ui_path

from eventapi.http.endpoint import Endpoint, Handler
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.problems import ProblemError
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


def endpoints(document: Callable[[str], Any], versions: Sequence[str]) -> list[Endpoint]:
    """The endpoints of the documentation.

    ``document`` makes the OpenAPI document of a version, or of all when that is empty.
    """
    json = JSON[1].decode()
    pages: list[tuple[str, Handler, str, str, Any]] = [
        ("/openapi.json", _openapi(document, ""), "OpenAPI", json, dict[str, Any]),
        ("/docs", docs, "Swagger UI", "text/html", str),
        ("/problems/{slug:str}", problem, "What a problem type means", "text/plain", str),
    ]
    for version in versions:
        path, handler = f"/api/{version}/openapi.json", _openapi(document, version)
        pages.append((path, handler, f"OpenAPI of {version} alone", json, dict[str, Any]))
    return [
        Endpoint(
            method="GET",
            path=path,
            handler=handler,
            summary=summary,
            tag="documentation",
            authenticated=False,
            answers={200: kind},
            answer_media_type=media_type,
            errors=("not-found",) if "{" in path else (),
            reads_state=False,
            any_query=True,
        )
        for path, handler, summary, media_type, kind in pages
    ]


def _openapi(document: Callable[[str], Any], version: str) -> Handler:
    """What serves a document, which is made when it is first asked for."""

    @cache
    def encoded() -> bytes:
        return encode(document(version))

    async def openapi(request: ApiRequest) -> Reply:
        """The description of the API that this is."""
        return Reply(200, [JSON], encoded())

    return openapi


def parts() -> list[HTTPRouteHandler]:
    """The routes of what the page is made of."""
    files = {f"/docs/assets/{name}": _asset(name, kind) for name, kind in _ASSETS.items()}
    return [
        HTTPRouteHandler(path, http_method=["GET", "HEAD"], status_code=200)(handler)
        for path, handler in {"/docs/start.js": start, **files}.items()
    ]


def _asset(name: str, media_type: str) -> Handler:
    content = (Path(swagger_ui_path) / name).read_bytes()

    async def asset(request: ApiRequest) -> Reply:
        """A part of Swagger UI."""
        kind = f"{media_type}; charset=utf-8".encode()
        return Reply(200, [(b"content-type", kind), (b"cache-control", b"max-age=3600")], content)

    return asset
