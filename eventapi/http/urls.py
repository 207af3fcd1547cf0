"""Paths without the root path, URLs as clients see them, and numbers in paths."""

from __future__ import annotations

import re
from typing import Any, Final

from events.errors import NotFound
from projections.state import State

_VERSION_1: Final = ("/api/v1/", "/auth/", "/items/")
_ACCOUNTS: Final = re.compile(r"(/api/v[0-9]+)?/auth/")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}")
_TOKEN_ENDPOINTS: Final = re.compile(r"(/api/v[0-9]+)?/auth/(login|refresh|login/second-factor)")

PUBLIC_URL: Final = "public_url"
"""The key of the scope under which the setting PUBLIC_URL is stored, if it is set."""


_ROOT_PATH: Final = "separated_root_path"
"""The key of the scope under which `separate_root_path` stores the root path, if there is one."""


def separate_root_path(scope: Any) -> None:
    """Remove ``root_path`` from the path of a scope; then `root_path_of` returns it.

    Without this, Litestar's router searches the root path anywhere in the path, and leaves a scope
    whose path may or may not have it. A path that is not below the root path remains as it is.
    """
    root: str = scope.get("root_path", "")
    if not root:
        return
    path, prefix = scope["path"], f"/{root.strip('/')}".rstrip("/")
    for start in (root, prefix):  # Some servers put it before the path as it was configured.
        rest = path.removeprefix(start)
        if rest != path and (rest[:1] in {"", "/"} or start.endswith("/")):
            scope["path"] = rest if rest.startswith("/") else f"/{rest}"
            break
    scope["root_path"] = ""
    scope[_ROOT_PATH] = prefix


def root_path_of(scope: Any) -> str:
    """The path under which the server is mounted: empty, or ``/below``."""
    root: str = scope.get(_ROOT_PATH, "")
    return root


def is_version_1(place: str) -> bool:
    """Whether a path belongs to version 1; unversioned paths (``/health``) do not."""
    return f"{place}/".startswith(_VERSION_1)


def is_token_endpoint(place: str) -> bool:
    """Whether a path is a token endpoint of OAuth 2.0, in any version."""
    return _TOKEN_ENDPOINTS.fullmatch(place) is not None


def is_account(place: str) -> bool:
    """Whether bodies at a path may have passwords: those of accounts, in any version."""
    return _ACCOUNTS.match(place) is not None


def base_url(scope: Any) -> str:
    """The URL of this server as clients see it, without a trailing slash.

    It is the setting PUBLIC_URL if that is set, otherwise the scheme, Host and the mount prefix. The
    scope already has the values that trusted proxies report.
    """
    public: str | None = scope.get(PUBLIC_URL)
    if public is not None:
        return public
    host = next((value for name, value in scope["headers"] if name == b"host"), None)
    if host is None:  # HTTP/1.0 does not require Host.
        name, port = scope.get("server") or ("localhost", None)
        name = f"[{name}]" if ":" in name else name
        host = f"{name}:{port}".encode() if port else name.encode()
    return f"{scope['scheme']}://{host.decode('latin-1')}{root_path_of(scope)}"


def path_number(text: str, missing: str) -> int:
    """A positive number in a path.

    Raises `NotFound`, with the detail ``missing``, for other texts.
    """
    if not _NUMBER.fullmatch(text):
        raise NotFound(missing)
    return int(text)


def path_position(text: str, state: State) -> int:
    """A position in a path; raises `NotFound` if the state has not reached it."""
    position = path_number(text, "there is no such event")
    if position > state.position:
        raise NotFound("there is no such event")
    return position
