"""What the journal tells of its work to whoever wants to know; by itself, nothing comes of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

_NOTHING: Final = nullcontext()


class Watch:
    """Hears nothing; a subclass overrides what it wants to hear."""

    def write(self) -> AbstractContextManager[object]:
        """Entered by a request when its write is queued, and left when that is answered."""
        return _NOTHING

    def batch(self, requests: int, waited: float) -> None:
        """Told when so many requests are written together, the lock waited for so many seconds."""

    def append(self, lines: int) -> AbstractContextManager[object]:
        """Entered and left around an append of so many lines to the log."""
        return _NOTHING


UNWATCHED: Final = Watch()
