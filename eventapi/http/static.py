"""Static content: encoded and compressed once per process, with entity tags."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any

from eventapi.http.conditional import conditions, is_known
from eventapi.http.request import ApiRequest
from eventapi.http.response import Headers, Response


class StaticContent:
    """A document with a strong entity tag for each content coding.

    See RFC 9110, section 8.8.3.3. ``make`` runs at the first request, in a thread, because
    compression takes some time. Caches must revalidate the content, because an update of the server
    may change it.
    """

    def __init__(self, media_type: str, make: Callable[[], bytes]) -> None:
        self._media_type = media_type.encode()
        self._make = make

    @cached_property
    def _codings(self) -> tuple[bytes, bytes, str]:
        """The content, the compressed content, and the entity tag of the uncompressed one."""
        plain = self._make()
        digest = hashlib.sha256(plain).hexdigest()[:32]
        return plain, gzip.compress(plain, mtime=0), digest

    async def response(self, request: ApiRequest) -> Response[Any]:
        """The response to a GET: 304 if the client already has the content."""
        plain, compressed, tag = await asyncio.to_thread(lambda: self._codings)
        weights = request.accept_weights(b"accept-encoding")
        is_compressed = weights.get("gzip", weights.get("*", 0.0)) > 0
        if is_compressed:
            tag += "-gzip"
        headers: Headers = [
            (b"etag", f'"{tag}"'.encode()),
            (b"vary", b"Accept-Encoding"),
            (b"cache-control", b"no-cache"),
        ]
        _, none_match = conditions(request.scope["headers"])
        if is_known(none_match, tag):
            return Response(304, headers)
        headers.append((b"content-type", self._media_type))
        if is_compressed:
            headers.append((b"content-encoding", b"gzip"))
        return Response(200, headers, compressed if is_compressed else plain)
