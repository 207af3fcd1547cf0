"""The error about an object of an archive."""

from __future__ import annotations

from events.errors import DamagedLog
from events.messages.archives import ARCHIVE_DAMAGED


def damaged(reason: str, position: int) -> DamagedLog:
    """The error that an object is missing or wrong, from the event at a position on."""
    return DamagedLog(ARCHIVE_DAMAGED.fill(reason=reason), position=position)
