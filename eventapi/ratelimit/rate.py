"""How often an action is allowed, and how often it happened."""

from __future__ import annotations

from math import ceil

import msgspec

_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
MAX_WINDOW_SECONDS = max(_UNIT_SECONDS.values())


class Rate(msgspec.Struct, frozen=True):
    """``limit`` actions in a window of ``seconds`` that begins with the first one."""

    name: str
    limit: int
    seconds: int


class Window(msgspec.Struct, frozen=True, gc=False):
    """``count`` actions in the window that ends in ``seconds``."""

    count: int
    seconds: float

    @property
    def retry_after(self) -> int:
        """Whole seconds until the window ends, 1 at least."""
        return max(1, ceil(self.seconds))


def rate_of(name: str, text: str) -> Rate | None:
    """The rate of a setting, ``N/second|minute|hour|day``; ``None`` for ``off``."""
    if text == "off":
        return None
    limit, _, unit = text.partition("/")
    return Rate(name, int(limit), _UNIT_SECONDS[unit])
