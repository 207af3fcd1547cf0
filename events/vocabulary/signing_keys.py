"""Events about the signing key of a log. Subject: ``log/checkpoints``."""

from __future__ import annotations

from typing import ClassVar, Final

from events.record import Event

CHECKPOINTS: Final = "log/checkpoints"
"""The subject of these events."""


class LogResumed(Event, frozen=True, gc=False):
    """An operator made a new signing key; older checkpoints may contradict newer ones.

    ``key`` is the new verifier key, ``previous`` the name of the old key. ``size`` and ``root``
    (base64) are the newest head that the old key is known to have signed, if there is one.
    """

    type: ClassVar[str] = "log.resumed"
    key: str
    previous: str | None = None
    size: int | None = None
    root: str | None = None
