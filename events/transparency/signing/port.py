"""The signing store: a log's private key, and the newest checkpoint signed with it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from events.transparency.signed_note import Note, Signer, TreeHead

LOG = "log"
"""The subject of the log's own key in a vault."""

KEY_PREFIX = "eventapi/"
"""The beginning of the name of every key that is made here."""

Status = Literal["new", "confirmed", "unconfirmed", "keyless"]
"""What a store can say of its key.

``new``: there never was a key. ``confirmed``: this store recorded every signature of the key, so no
newer one can exist. ``unconfirmed``: the key, or the record, came here by a copy or a restore, the
record is lost, or it lacks a signature that is known here. ``keyless``: something was signed, and its key is not here.
"""


class SigningState(msgspec.Struct, frozen=True):
    """What a store has.

    ``head`` is the newest head known to be signed, ``note`` its checkpoint where the key is here,
    ``signed_by`` the name of the key that signed it, ``cosigned`` the newest checkpoint that
    witnesses cosigned.
    """

    status: Status
    signer: Signer | None = None
    head: TreeHead | None = None
    note: Note | None = None
    signed_by: str | None = None
    cosigned: Note | None = None


class Recorder(Protocol):
    """What the holder of the store's lock may do."""

    async def read(self) -> SigningState:
        """What the store has; no other process can change it while the lock is held."""

    async def begin(self, signer: Signer) -> None:
        """Store a new key; files of an earlier key are set aside, never overwritten."""

    async def record(self, note: Note) -> None:
        """Record a checkpoint as the newest one signed."""

    async def confirm(self, note: Note) -> None:
        """Take the operator's word that no checkpoint newer than ``note`` was signed.

        From then on the store is the one that records every signature of its key.
        """

    async def record_cosigned(self, note: Note) -> None:
        """Store the newest checkpoint with the signatures of witnesses."""


class SigningStore(Protocol):
    """The key of one log and the record of what it signed, in one place under one lock.

    Order: a checkpoint is recorded before its signature leaves the process.

    Durability: when `exclusive` ends without an error, what was recorded survives a power cut.

    Isolation: `exclusive` admits one signer at a time, in all processes and on all machines that
    share the store. `read` never waits for it.

    Identity: a store recognises that it is a copy. Its record names the place where it was made,
    in a way that no copy, dump or restore reproduces; in any other place it is ``unconfirmed``.
    An adapter says in its head which copies it cannot recognise.

    Every method raises `LogUnavailable` where the store cannot be reached or written, and
    `ConfigurationError` where the key is no key.
    """

    async def read(self) -> SigningState:
        """What the store has."""

    def exclusive(self) -> AbstractAsyncContextManager[Recorder]:
        """Lock the store for signing, waiting a few seconds at most."""
