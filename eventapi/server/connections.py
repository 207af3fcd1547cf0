"""Limits of connections, importable without the application."""

from __future__ import annotations

import resource
from typing import Final

IDLE_SECONDS: Final = 75
"""Between requests; longer than the 60 s of usual load balancers, which should close first."""

MAX_CONNECTIONS: Final = 16_384
"""Maximum connections per process; further ones get 503."""

_RESERVED_DESCRIPTORS: Final = 64
"""Descriptors that are kept for files: the log, the vault, a snapshot."""


def max_connections() -> int:
    """How many connections this process accepts, within its limit of open files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(descriptors - _RESERVED_DESCRIPTORS, 1))
