"""The signing store: a log's private key and the newest checkpoint of that key."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from events.transparency.signed_note import Note, Signer, TreeHead

LOG = "log"
"""The subject of the log's own key in a vault."""

KEY_PREFIX = "eventapi/"
"""The beginning of the name of each signing key."""

Status = Literal["new", "confirmed", "unconfirmed", "keyless", "archived"]
"""The status of a store's key.

``new``: there never was a key. ``confirmed``: this store recorded every signature of the key, so no
newer one can exist. ``unconfirmed``: the key or the record was copied or restored to this place, the
record is lost, or it lacks a signature that is known here. ``keyless``: a checkpoint was signed, but
its key is missing. ``archived``: the checkpoint is that of an archive, and no other is signed.
"""


class SigningState(msgspec.Struct, frozen=True):
    """The content of a signing store.

    ``head`` is the newest head known to be signed, ``note`` its checkpoint if the key is present,
    ``signed_by`` the name of the key that signed it, ``cosigned`` the newest checkpoint with
    signatures of witnesses.
    """

    status: Status
    signer: Signer | None = None
    head: TreeHead | None = None
    note: Note | None = None
    signed_by: str | None = None
    cosigned: Note | None = None

    def has_recorded(self, note: Note) -> bool:
        """Whether the key signed a checkpoint, and that or a later one is recorded.

        Then the next checkpoint continues it.
        """
        if self.signer is None or not self.signer.verifier.verify(note):
            return False
        return self.head is not None and self.head.size >= TreeHead.parse(note).size


class Recorder(Protocol):
    """The operations of the holder of the store's lock."""

    async def read(self) -> SigningState:
        """The content of the store; no other process can change it while the lock is held."""

    async def begin(self, signer: Signer) -> None:
        """Store a new key; files of an earlier key are renamed, never overwritten."""

    async def record(self, note: Note) -> None:
        """Record a checkpoint as the newest one signed."""

    async def confirm(self, note: Note) -> None:
        """Record the operator's assertion that no newer checkpoint was signed.

        From then on this store is the one that records every signature of its key.
        """

    async def record_cosigned(self, note: Note) -> None:
        """Store the newest checkpoint with the signatures of witnesses."""


class SigningStore(Protocol):
    """The signing key of a log and the record of its signatures, under one lock.

    Order: a checkpoint is recorded before its signature leaves the process.

    Durability: when `exclusive` ends without an error, the record survives a power cut.

    Isolation: `exclusive` admits one signer at a time, in all processes and on all machines that
    share the store. `read` never waits for it.

    Identity: a store recognises that it is a copy. Its record names the place where it was made,
    in a way that no copy, dump or restore reproduces; in any other place it is ``unconfirmed``.
    The module of an adapter lists the copies that it cannot recognise.

    Every method raises `LogUnavailable` if the store cannot be reached or written, and
    `ConfigurationError` if the key cannot be parsed.
    """

    async def read(self) -> SigningState:
        """The content of the store."""

    def exclusive(self) -> AbstractAsyncContextManager[Recorder]:
        """Lock the store for signing; wait a few seconds at most."""
