"""What can happen to the signing key of a log. Subject: ``log/checkpoints``."""

from __future__ import annotations

from typing import ClassVar, Final

from events.record import Event

CHECKPOINTS: Final = "log/checkpoints"
"""The subject of these events."""


class LogResumed(Event, frozen=True, gc=False):
    """An operator began a new signing key, so checkpoints before and after may disagree.

    ``key`` is the new verifier key; ``previous`` the name of the key before, and ``size`` and
    ``root`` (base64) the newest head that it is known to have signed, where there was one.
    """

    type: ClassVar[str] = "log.resumed"
    key: str
    previous: str | None = None
    size: int | None = None
    root: str | None = None
