"""TLS: versions, and time-outs of the handshake and the closing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import uvloop
from uvicorn import Config

HANDSHAKE_SECONDS = 10.0
"""From connecting; the same as for a head."""

SHUTDOWN_SECONDS = 3.0
"""How long closing waits for the client's side of the closing handshake."""


def tls_context(_: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with Python's ciphers, all with forward secrecy (RFC 9325)."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class TlsLoop(uvloop.Loop):
    """A loop with shorter time-outs of TLS; uvicorn has no setting for them."""

    async def create_server(  # type: ignore[override]  # passes its arguments on
        self, *arguments: Any, **named: Any
    ) -> asyncio.AbstractServer:
        return await super().create_server(*arguments, **_with_limits(named))

    async def connect_accepted_socket(self, *arguments: Any, **named: Any) -> tuple[Any, Any]:
        return await super().connect_accepted_socket(*arguments, **_with_limits(named))


def _with_limits(named: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a loop's method, with the time-outs if there are others of TLS."""
    if named.get("ssl") is None:
        return named
    limits = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
    return limits | named
