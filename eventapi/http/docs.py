"""The documentation pages: Swagger UI from this server alone, the document, the problem types."""

from __future__ import annotations

from typing import Any

from litestar.handlers import HTTPRouteHandler
from litestar.router import Router
from litestar.static_files import create_static_files_router
from swagger_ui_bundle import swagger_ui_path

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


def routes(document: dict[str, Any]) -> list[HTTPRouteHandler | Router]:
    """The routes of the documentation."""
    body = encode(document)

    async def openapi(request: ApiRequest) -> Reply:
        return Reply(200, [JSON], body)

    pages = {
        "/openapi.json": openapi,
        "/docs": docs,
        "/docs/start.js": start,
        "/problems/{slug:str}": problem,
    }
    return [
        *(
            HTTPRouteHandler(path, http_method=["GET", "HEAD"], status_code=200)(handler)
            for path, handler in pages.items()
        ),
        create_static_files_router("/docs/assets", [swagger_ui_path]),
    ]
