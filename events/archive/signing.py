"""The signing store of an archive: its checkpoint, which is never replaced."""

from __future__ import annotations

from typing import NoReturn

from events.errors import LogUnavailable
from events.messages.archives import ARCHIVE_READ_ONLY
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.port import SigningState


class ArchivedSigning:
    """Signs no checkpoint: proofs are in the one that the archive has."""

    def __init__(self, place: str, note: Note, signer: Signer | None) -> None:
        """``signer`` is the key that signed the checkpoint, or None; it signs other texts."""
        self._place = place
        head = TreeHead.parse(note)
        self._state = SigningState("archived", signer, head, note, head.origin, note)

    async def read(self) -> SigningState:
        return self._state

    def exclusive(self) -> NoReturn:
        raise LogUnavailable(ARCHIVE_READ_ONLY.fill(place=self._place))
