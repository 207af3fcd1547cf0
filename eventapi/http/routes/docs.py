"""Documentation: Swagger UI, the OpenAPI documents and the problem types.

The pages load nothing from other servers. Their URLs are relative, so that they work behind a path
prefix.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from litestar import Controller, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from swagger_ui_bundle import swagger_ui_path

from eventapi.http.handlers import get
from eventapi.http.problem_types import PROBLEMS
from eventapi.http.problems import ProblemError
from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Response, encode, text_response
from eventapi.http.static import StaticContent
from eventapi.http.urls import PUBLIC_URL, root_path_of

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>eventapi {version}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}docs/assets/swagger-ui.css">
<link rel="stylesheet" href="{root}docs/page.css">
<nav>{links}<a href="{root}openapi.json">OpenAPI of all versions</a></nav>
<div id="swagger-ui" data-document="{root}api/{version}/openapi.json"></div>
<script src="{root}docs/assets/swagger-ui-bundle.js"></script>
<script src="{root}docs/start.js"></script>
</html>
"""

_STYLE = """\
body { margin: 0 }
nav { background: #1b1b1b; font: 16px sans-serif; padding: 0.8em 1.3em }
nav a { color: #fff; margin-right: 1.5em }
nav a[aria-current] { font-weight: bold; text-decoration: none }
"""

_START = """\
// Without this, Swagger UI resolves all references in components before it draws anything. It needs
// the security schemes only, which have no references.
const drawFirst = (original) => (path) => (path[0] === "components" ? undefined : original(path));
// Swagger UI sends the example of every parameter. Together the filters of a list match nothing, and
// an idempotency key belongs to one request.
const leaveOptionalEmpty = (document, operations) => {
  const own = operations.flatMap((one) => one.parameters || []);
  for (const one of [...Object.values(document.components.parameters), ...own]) {
    if (!one.required) delete one.example;
  }
};
// The form cannot log in an account with a second factor. The document does not offer another scheme,
// because generated clients would send both.
const acceptTokens = (document, operations) => {
  const schemes = document.components.securitySchemes;
  schemes.bearer.description =
    "Log in with a username and a password. An account with a second factor cannot log in here: enter one " +
    "of its API keys, which the console or `POST /auth/keys` creates, as `token` instead.";
  schemes.token = {
    type: "http",
    scheme: "bearer",
    description: "An API key, or an access token, as it is sent in `Authorization: Bearer`.",
  };
  for (const { security = [] } of operations) {
    if (security.some((one) => one.bearer)) security.push({ token: [] });
  }
};
const adapt = (original) => (document) => {
  const operations = Object.values(document.paths).flatMap((one) => Object.values(one));
  leaveOptionalEmpty(document, operations);
  acceptTokens(document, operations);
  return original(document);
};
const plugin = {
  statePlugins: {
    spec: {
      wrapActions: { requestResolvedSubtree: drawFirst, updateJsonSpec: adapt },
    },
  },
};
const element = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: new URL(element.dataset.document, document.baseURI).href,
  domNode: element,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  syntaxHighlight: false,
  validatorUrl: null,
  plugins: [() => plugin],
});
"""

Handler = Callable[[ApiRequest], Awaitable[Response[Any]]]

_TAG: Final = "documentation"

_ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
"""The only files used of the bundle, because its own pages load from other servers."""


Document = Callable[[str, str], Any]
"""Makes the OpenAPI document of a version (empty: all versions) for a base URL."""


class ProblemsController(Controller):
    """Descriptions of the problem types."""

    path = "/problems"
    tags = (_TAG,)

    @get(
        "/{slug:str}",
        summary="Read the description of a problem type",
        media_type="text/plain",
        errors=("not-found",),
        reads_state=False,
        ignores_query=True,
    )
    async def get_problem(self, slug: FromPath[str]) -> Response[str]:
        """Read the meaning of a problem type, with its status and title."""
        kind = PROBLEMS.get(slug)
        if kind is None:
            raise ProblemError("not-found", "there is no such problem type")
        text = f"{kind.slug} ({kind.status}): {kind.title}\n\n{kind.meaning}\n"
        return text_response(text, "text/plain")


def handlers(document: Document, versions: Sequence[str]) -> list[HTTPRouteHandler]:
    """Handlers of the documents, the pages and their files.

    The last of ``versions`` is the newest.
    """
    details: dict[str, Any] = {
        "tags": (_TAG,),
        "request_headers": ("If-None-Match",),
        "response_headers": ("ETag",),
        "empty_statuses": (304,),
        "reads_state": False,
        "ignores_query": True,
    }
    docs = get("/docs", summary="Swagger UI", media_type="text/html", name="get_docs", **details)
    openapi = get("/openapi.json", summary="OpenAPI", name="get_openapi", **details)
    found = [openapi(_openapi(document, "")), docs(_page(versions, versions[-1], ""))]
    for version in versions:
        openapi = get(
            f"/api/{version}/openapi.json",
            summary=f"OpenAPI of {version} alone",
            name=f"get_openapi_{version}",
            **details,
        )
        found.append(openapi(_openapi(document, version)))
    return [*found, *_parts(versions)]


def _openapi(document: Document, version: str) -> Handler:
    @lru_cache(maxsize=1)
    def content(base: str) -> StaticContent:
        return StaticContent(JSON[1].decode(), lambda: encode(document(version, base)))

    async def openapi(request: ApiRequest) -> Response[dict[str, Any]]:
        """Read the OpenAPI document."""
        scope: Any = request.scope
        base: str = scope.get(PUBLIC_URL) or root_path_of(scope)
        return await content(base).response(request)

    return openapi


def _page(versions: Sequence[str], version: str, root: str) -> Handler:
    """Swagger UI of one version, with links to the other versions.

    ``root`` is the relative URL from the page to ``/``.
    """
    links = ""
    for other in reversed(versions):
        place = "docs" if other == versions[-1] else f"docs/{other}"
        current = ' aria-current="page"' if other == version else ""
        links += f'<a href="{root}{place}"{current}>Version {other[1:]}</a>'
    page = _PAGE.format(version=version, root=root, links=links).encode()
    content = StaticContent("text/html; charset=utf-8", lambda: page)

    async def docs(request: ApiRequest) -> Response[str]:
        """Read the documentation in Swagger UI."""
        return await content.response(request)

    return docs


def _parts(versions: Sequence[str]) -> list[HTTPRouteHandler]:
    """Routes of the pages of older versions, and of the files of all pages."""
    handlers = {f"/docs/{old}": _page(versions, old, "../") for old in versions[:-1]}
    handlers["/docs/start.js"] = _static("text/javascript", _START.encode)
    handlers["/docs/page.css"] = _static("text/css", _STYLE.encode)
    for name, media_type in _ASSETS.items():
        read = partial(Path.read_bytes, Path(swagger_ui_path) / name)
        handlers[f"/docs/assets/{name}"] = _static(media_type, read)
    return [
        route(path, http_method=["GET", "HEAD"], status_code=200)(handler)
        for path, handler in handlers.items()
    ]


def _static(media_type: str, make: Callable[[], bytes]) -> Handler:
    content = StaticContent(f"{media_type}; charset=utf-8", make)

    async def static(request: ApiRequest) -> Response[str]:
        """Read a file of the pages."""
        return await content.response(request)

    return static
