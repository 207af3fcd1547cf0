"""Whose address a request came from: the peer's own, unless that is a proxy that is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.utils import get_remote_addr, is_ssl

_NETWORK = 64
"""Whoever has one IPv6 address has all of its /64 (RFC 6177)."""


class Addresses:
    """Wraps an ASGI app: what a request's scope says of its client is true.

    With trusted proxies, the client is the last address in X-Forwarded-For that is not one of
    theirs. Uvicorn, where it is started by itself, trusts 127.0.0.1, whatever we are told; what it
    took from there is put back first.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str]) -> None:
        self._app: Any = ProxyHeadersMiddleware(app, list(proxies)) if proxies else app  # type: ignore[arg-type]  # the types of uvicorn are others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == ScopeType.HTTP:
            for name, _ in scope["headers"]:
                if name.startswith(b"x-forwarded-"):
                    _put_back(scope, send)
                    break
        await self._app(scope, receive, send)


def _put_back(scope: Any, send: Send) -> None:
    """Say what the socket says; ``send`` is a method of uvicorn's, which knows it."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        scope["client"] = get_remote_addr(transport)
        scope["scheme"] = "https" if is_ssl(transport) else "http"


def caller_address(scope: Scope) -> str:
    """The address that counts as one caller; for IPv6 the network."""
    client = scope.get("client")
    return _network(client[0]) if client else ""


@lru_cache(4096)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _NETWORK), strict=False))
