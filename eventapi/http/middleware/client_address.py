"""The client address of a request: the peer, unless the peer is a trusted proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.utils import get_remote_addr, is_ssl

from eventapi.configuration.types import UNIX
from eventapi.http.head import MAX_FORWARDED, too_large
from eventapi.http.urls import PUBLIC_URL
from eventapi.values.addresses import counted_address, plain_address

_MAPPED_BITS = 96
"""The prefix length of ``::ffff:0:0/96``, the network of IPv4-mapped addresses."""


class ClientAddressMiddleware:
    """Sets the client of a scope to an address that the client cannot choose.

    With trusted proxies, the client is the last address in X-Forwarded-For that is not a trusted
    proxy. Plain uvicorn trusts 127.0.0.1 regardless of our settings, so its result is undone first. An
    IPv4-mapped IPv6 address becomes the IPv4 address. X-Forwarded-Host is read from trusted
    proxies only.
    """

    def __init__(self, app: ASGIApp, proxies: Sequence[str], public_url: str | None = None) -> None:
        self._direct = app
        self._app: Any = app
        self._public = None if public_url is None else public_url.rstrip("/")
        self._trusts_unix = UNIX in proxies
        if proxies:
            self._app = ProxyHeadersMiddleware(self._pass_forwarded, _with_mapped_forms(proxies))  # type: ignore[arg-type]  # uvicorn has its own ASGI types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the scope and call the app."""
        app = self._app
        if scope["type"] == ScopeType.HTTP:
            if self._public is not None:
                scope[PUBLIC_URL] = self._public  # type: ignore[typeddict-unknown-key]  # ours
            forwarded, parts = False, 0
            for name, value in scope["headers"]:
                if name.startswith(b"x-forwarded-"):
                    forwarded = True
                    if name == b"x-forwarded-for":
                        parts += value.count(b",") + 1
            if forwarded:
                _restore_peer(scope, send)
            if parts > MAX_FORWARDED:
                # Too many to parse; the edge raises the refusal.
                scope.setdefault("refusal", too_large())  # type: ignore[typeddict-item]  # ours
                app = self._direct
            _unmap(scope)
            if self._trusts_unix and scope.get("client") is None:
                scope["client"] = (UNIX, 0)
            if forwarded and app is not self._direct:
                self._apply_forwarded_host(scope)
        await app(scope, receive, send)

    def _apply_forwarded_host(self, scope: Any) -> None:
        """Replace Host by X-Forwarded-Host of a trusted proxy."""
        client = scope.get("client")
        if client is None or client[0] not in self._app.trusted_hosts:
            return
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-host"]
        host = b",".join(lines).rpartition(b",")[2].strip()
        if host:
            others = [one for one in scope["headers"] if one[0] != b"host"]
            scope["headers"] = [(b"host", host), *others]

    async def _pass_forwarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app with the client address from X-Forwarded-For."""
        if scope.get("client") == (UNIX, 0):  # The proxy named no client.
            scope["client"] = None
        _unmap(scope)
        await self._direct(scope, receive, send)


def _restore_peer(scope: Any, send: Send) -> None:
    """Restore client and scheme from the socket, which uvicorn's ``send`` knows."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        scope["client"] = get_remote_addr(transport)
        scope["scheme"] = "https" if is_ssl(transport) else "http"


def _unmap(scope: Any) -> None:
    """Replace an IPv4-mapped client address, as dual-stack sockets report it."""
    client = scope.get("client")
    if client and ":" in client[0]:
        scope["client"] = (plain_address(client[0]), client[1])


def _with_mapped_forms(proxies: Sequence[str]) -> list[str]:
    """Trusted IPv4 networks with their IPv4-mapped forms, and the other way round."""
    forms = []
    for proxy in proxies:
        if proxy == UNIX:
            forms.append(proxy)
            continue
        network = ipaddress.ip_network(proxy)
        forms.append(str(network))
        if isinstance(network, ipaddress.IPv4Network):
            forms.append(f"::ffff:{network.network_address}/{_MAPPED_BITS + network.prefixlen}")
        elif network.network_address.ipv4_mapped and network.prefixlen >= _MAPPED_BITS:
            plain = network.network_address.ipv4_mapped
            forms.append(f"{plain}/{network.prefixlen - _MAPPED_BITS}")
    return forms


def caller_address(scope: Scope) -> str:
    """The address that rate limits count; for IPv6 the /64 network."""
    client = scope.get("client")
    return counted_address(client[0]) if client else ""
