"""The HTTP client of webhooks and witnesses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventapi.webhooks.transport import Transport


class HttpClient:
    """Makes each transport for its first request, and closes all of them.

    So a server without webhooks and witnesses loads no HTTP client.
    """

    def __init__(self) -> None:
        self._transports: list[Transport] = []

    def transport(self, **options: Any) -> Callable[[], Transport]:
        """A function that returns a transport with these options, made at the first call."""

        @cache
        def transport() -> Transport:
            from eventapi.webhooks.transport import Transport  # noqa: PLC0415 - as above

            self._transports.append(Transport(**options))
            return self._transports[-1]

        return transport

    def close(self) -> None:
        """Close the connections that the transports keep."""
        for transport in self._transports:
            transport.close()
