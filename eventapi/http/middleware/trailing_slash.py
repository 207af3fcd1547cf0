"""Trailing slashes: redirect or reject them, because Litestar drops them.

A path with one would alias another route. An empty id must not turn `DELETE /auth/sessions/{id}` into `DELETE /auth/sessions`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from litestar.exceptions import NotFoundException
from litestar.types import HTTPScope

from eventapi.http.response import Response
from eventapi.http.urls import base_url

_REDIRECTED: Final = re.compile(
    r"((/api/v1)?/(auth/(register|login|me)|items(/[1-9][0-9]{0,18})?)|/docs|/console)/", re.ASCII
)
"""Paths of the replaced service, whose framework redirected a trailing slash, and the console."""


def trailing_slash_response(scope: HTTPScope) -> Response[Any] | None:
    """The redirect of a path of the replaced service; ``None`` without a slash.

    Raises `NotFoundException` for a trailing slash on any other path.
    """
    path = scope["path"]
    if path[-1:] != "/" or path == "/":
        return None
    if not _REDIRECTED.fullmatch(path):
        raise NotFoundException
    query = b"?" + scope["query_string"] if scope["query_string"] else b""
    return Response(307, [(b"location", (base_url(scope) + path[:-1]).encode() + query)])
