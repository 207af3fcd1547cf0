"""Deprecation headers of version 1: when it was deprecated, and when it will end.

See RFC 9745 (``Deprecation``) and RFC 8594 (``Sunset``).
"""

from __future__ import annotations

from email.utils import format_datetime

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from eventapi.configuration.settings import Settings
from eventapi.http.response import Headers
from eventapi.http.urls import is_version_1
from eventapi.values.times import moment


def fields(settings: Settings) -> Headers:
    """The headers of version 1's responses; none unless the settings announce its end.

    ``Deprecation`` is the date of a structured field, and ``Sunset`` an HTTP date. ``Link`` has both
    as its relations.
    """
    headers: Headers = []
    if settings.v1_deprecation is not None:
        seconds = int(moment(settings.v1_deprecation).timestamp())
        headers.append((b"deprecation", f"@{seconds}".encode()))
    if settings.v1_sunset is not None:
        date = format_datetime(moment(settings.v1_sunset), usegmt=True)
        headers.append((b"sunset", date.encode()))
    if headers and settings.v1_link is not None:
        relations = " ".join(name.decode() for name, _ in headers)
        headers.append((b"link", f'<{settings.v1_link}>; rel="{relations}"'.encode()))
    return headers


def add_headers_to_version_1(app: ASGIApp, headers: Headers) -> ASGIApp:
    """Wrap the app to add these headers to every response of version 1.

    Without headers, the app itself is returned.
    """
    if not headers:
        return app

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not is_version_1(scope["path"]):
            await app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
