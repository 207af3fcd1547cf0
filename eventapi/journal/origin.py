"""The origin of a write: what its lines record about the request."""

from __future__ import annotations

from typing import Final

import msgspec


class Origin(msgspec.Struct, frozen=True):
    """What the lines of a write record about its request.

    Each text is empty without a value. ``requestid`` is the id of the request. ``credential`` is the subject of its session or API key,
    which must not have ended when the write is decided. ``reason`` is the text of its Change-Reason,
    which is sealed into each event.
    """

    requestid: str = ""
    credential: str = ""
    reason: str = ""

    @property
    def session_and_key(self) -> tuple[str, str]:
        """The ids of the session and of the API key, of which at most one is not empty."""
        table, _, name = self.credential.partition("/")
        return (name, "") if table == "sessions" else ("", name)


NO_ORIGIN: Final = Origin()
"""The origin of what the server writes by itself."""
