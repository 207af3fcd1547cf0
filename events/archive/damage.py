"""The error about an object of an archive."""

from __future__ import annotations

from events.errors import DamagedLog
from events.messages.archives import ARCHIVE_DAMAGED


def damaged(place: str, reason: str, position: int) -> DamagedLog:
    """The error that an object is missing or wrong, which has the event at a position."""
    message = ARCHIVE_DAMAGED.fill(place=place, position=position, reason=reason)
    return DamagedLog(message, position=position)
