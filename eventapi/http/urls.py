"""Where things are: a path as the routes have it, and an address as the client has it."""

from __future__ import annotations

import re
from typing import Any, Final

_VERSION_1: Final = ("/api/v1/", "/auth/", "/items/")
_ACCOUNTS: Final = re.compile(r"(/api/v[0-9]+)?/auth/")
_TOKEN_ENDPOINTS: Final = re.compile(r"(/api/v[0-9]+)?/auth/(login|refresh)")

PUBLIC_URL: Final = "public_url"
"""The scope's key of the setting PUBLIC_URL, where it is set."""


def place_of(scope: Any) -> str:
    """The path of a request without the prefix under which the server is mounted."""
    path: str = scope.get("path", "")
    return path.removeprefix(scope.get("root_path", ""))


def is_version_1(place: str) -> bool:
    """Whether a path belongs to version 1 alone; what has no version, such as health, does not."""
    return f"{place}/".startswith(_VERSION_1)


def is_token_endpoint(place: str) -> bool:
    """Whether a path is a token endpoint of OAuth 2.0, in any version."""
    return _TOKEN_ENDPOINTS.fullmatch(place) is not None


def is_account(place: str) -> bool:
    """Whether a path is about an account, so that bodies may have passwords, in any version."""
    return _ACCOUNTS.match(place) is not None


def base_url(scope: Any) -> str:
    """The address of this server as the client has it, without a slash at its end.

    It is the setting PUBLIC_URL, else made of scheme, Host and the prefix of the server. What
    trusted proxies report of these is in the scope already.
    """
    public: str | None = scope.get(PUBLIC_URL)
    if public is not None:
        return public
    host = next((value for name, value in scope["headers"] if name == b"host"), None)
    if host is None:  # HTTP/1.0 asks for none.
        name, port = scope.get("server") or ("localhost", None)
        name = f"[{name}]" if ":" in name else name
        host = f"{name}:{port}".encode() if port else name.encode()
    return f"{scope['scheme']}://{host.decode('latin-1')}{scope.get('root_path', '')}"
