"""Limits of connections that a server needs to know before it loads the application."""

from __future__ import annotations

from typing import Final

IDLE_SECONDS: Final = 75
"""Between requests. Longer than the 60 s of usual load balancers, which are to close first."""

MAX_CONNECTIONS: Final = 16_384
"""To one process; who comes then is told so. 10,000 that wait are within it."""
