"""The console: a page and its ES modules, served from the files of the package.

The modules lie below a path with the digest of all of them, so a browser caches them for ever, and
never mixes modules of two versions. Every other path below `/console` is the same page, because the
application reads the path itself. URLs are relative, so that they work behind a path prefix.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cached_property, partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from eventapi.http.problems import ProblemError
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.static import StaticContent

PATH: Final = "/console"
PAGE: Final = "index.html"
MAILED_PATHS: Final = ("/reset-password", "/verify-email")
"""Paths of the links in mails, unless PUBLIC_URL is that of another application."""

_MEDIA_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
_FOR_EVER: Final = b"public, max-age=31536000, immutable"
_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'",
)
_MAX_DEPTH: Final = 5
"""Segments of a path below `/console` that a page may have."""

_PLACE: Final = re.compile(rf"[\w-]+(/[\w-]+){{0,{_MAX_DEPTH - 1}}}", re.ASCII)
"""The path of a page below `/console`: that of a resource, below `/api/v2`."""


class Assets:
    """The files of the console, read once, at the first request."""

    def __init__(self) -> None:
        self._root = files("eventapi") / "console"

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The content of each module and style sheet, by its path below the folder."""
        return {
            name: one.read_bytes()
            for name, one in sorted(_below(self._root))
            if name.endswith(tuple(_MEDIA_TYPES))
        }

    @cached_property
    def folder(self) -> str:
        """The name of the folder of this version, with the digest of all files."""
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(b"%s\0%d\0%s" % (name.encode(), len(content), content))
        return f"assets-{digest.hexdigest()[:16]}"

    @cached_property
    def contents(self) -> dict[str, StaticContent]:
        """What is served below `/console/`, by path, except the page."""
        return {
            f"{self.folder}/{name}": _static(name, content) for name, content in self.files.items()
        }

    def page(self, depth: int) -> bytes:
        """The page for a path with so many segments below `/console`."""
        place = f"{'../' * depth}console/{self.folder}/"
        preloads = "\n".join(
            f'<link rel="modulepreload" href="{place}{name}">'
            for name in self.files
            if name.endswith(".js")
        )
        text = (self._root / PAGE).read_text()
        return text.replace("{preloads}", preloads).replace("{assets}", place).encode()


def handlers() -> list[HTTPRouteHandler]:
    """Handlers of the page and of its files."""
    assets = Assets()
    pages = [
        StaticContent("text/html; charset=utf-8", partial(assets.page, depth))
        for depth in range(_MAX_DEPTH + 1)
    ]

    async def page(request: ApiRequest) -> Response[str]:
        """Read the page of the console."""
        return await _respond(request, pages[0])

    async def below(request: ApiRequest, place: FromPath[str]) -> Response[str]:
        """Read a file of the console, or its page."""
        place = place.removeprefix("/")
        content = assets.contents.get(place)
        if content is not None:
            return await _respond(request, content, (b"cache-control", _FOR_EVER))
        if place.startswith("assets-") or not _PLACE.fullmatch(place):
            raise ProblemError("not-found", "the console has no such page or file")
        return await _respond(request, pages[place.count("/") + 1])

    found: dict[str, Callable[..., Any]]
    found = {PATH: page, f"{PATH}/{{place:path}}": below, **dict.fromkeys(MAILED_PATHS, page)}
    return [
        route(path, http_method=["GET", "HEAD"], status_code=200)(handler)
        for path, handler in found.items()
    ]


async def _respond(
    request: ApiRequest, content: StaticContent, *headers: tuple[bytes, bytes]
) -> Response[Any]:
    response = await content.response(request)
    replaced = dict(headers)
    response.fields = [one for one in response.fields if one[0] not in replaced]
    response.fields += [*headers, _POLICY]
    return response


def _static(name: str, content: bytes) -> StaticContent:
    kind = _MEDIA_TYPES[name[name.rindex(".") :]]
    return StaticContent(f"{kind}; charset=utf-8", lambda: content)


def _below(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    """The files below a folder with their paths."""
    found: list[tuple[str, Traversable]] = []
    for one in folder.iterdir():
        name = f"{prefix}{one.name}"
        found += _below(one, f"{name}/") if one.is_dir() else [(name, one)]
    return found
