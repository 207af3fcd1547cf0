"""Wait for a condition on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 90.0
_PAUSE_SECONDS = 0.05


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Poll until the condition holds; raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition does not hold after {seconds} s")
        time.sleep(_PAUSE_SECONDS)
