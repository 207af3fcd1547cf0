"""The checkpoints of the log: signed heads of its tree, of which no two contradict each other.

A head is signed only if the store of the key is the one that recorded every signature of it
(`events.transparency.signing.port`), and if the log continues the newest head that the store, or anything else
here, knows. Otherwise nothing is signed until an operator decides; see docs/decisions/restore.md.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Final

from msgspec.structs import replace

from events.errors import Fault, Invalid, NotFound, SigningSuspended
from events.messages.errors import (
    CHECKPOINT_AHEAD,
    CHECKPOINT_CONTRADICTED,
    LOG_KEY_MISSING,
    LOG_KEY_UNCONFIRMED,
    NOT_COSIGNED,
)
from events.messages.message import Message
from events.transparency.signed_note import Consistency, Inclusion, Note, Signer, TreeHead, Verifier
from events.transparency.signing.port import KEY_PREFIX, Recorder, SigningState, SigningStore
from events.transparency.tree import Tree

_PAUSE_SECONDS: Final = 0.02
"""The pause between two looks at a log that is behind what another instance signed."""


class Checkpoints:
    """Signs for the tree of one log.

    ``behind_seconds`` is how long the log here may be behind that of another instance.
    """

    def __init__(self, tree: Tree, store: SigningStore, behind_seconds: float = 0.0) -> None:
        self.tree = tree
        self._behind_seconds = behind_seconds
        self._store = store
        self._signing = asyncio.Lock()
        self._continued: TreeHead | None = None

    async def verifier(self) -> Verifier:
        """The key that checks the signatures, made where there never was one.

        Raises `SigningSuspended` where the key is missing, and what the store raises.
        """
        held = await self._store.read()
        if held.status == "new":
            await self.current()
            held = await self._store.read()
        if held.signer is None:
            raise SigningSuspended(_missing(held))
        return held.signer.verifier

    async def current(self) -> Note:
        """The checkpoint of all that is published by now.

        Raises `SigningSuspended` where nothing may be signed, and what the store raises.
        """
        async with self._signing:
            held = await self._store.read()
            size = await self._checked_size(held)
            if held.note is None or TreeHead.parse(held.note).size != size:
                async with self._store.exclusive() as recorder:
                    held = await self._signed(recorder)
        note = held.note
        assert note is not None  # noqa: S101 - for the type checker
        is_cosigned = held.cosigned is not None and held.cosigned.text == note.text
        return held.cosigned if is_cosigned and held.cosigned is not None else note

    async def _signed(self, recorder: Recorder) -> SigningState:
        """What the store has once its newest checkpoint is of all that is published."""
        held = await recorder.read()
        size = await self._checked_size(held)
        if held.note is not None and TreeHead.parse(held.note).size == size:
            return held  # Another process was faster.
        signer = held.signer
        if signer is None:
            signer = Signer.from_seed(secrets.token_bytes(32), KEY_PREFIX)
            await recorder.begin(signer)
        head = TreeHead(signer.verifier.name, size, await self.tree.root(size))
        note = signer.sign(str(head))
        await recorder.record(note)
        self._continued = head
        return replace(held, note=note)

    async def _checked_size(self, held: SigningState) -> int:
        """The size of the tree, which continues what was signed; raises `SigningSuspended`."""
        if held.status == "keyless":
            raise SigningSuspended(_missing(held))
        if held.status == "unconfirmed":
            raise SigningSuspended(LOG_KEY_UNCONFIRMED)
        return await self._continued_size(held.head)

    async def _continued_size(self, head: TreeHead | None) -> int:
        """The size of the tree, which continues a head; raises `SigningSuspended`."""
        size = await self.tree.grow()
        if head is None or head == self._continued:
            return size
        deadline = time.monotonic() + self._behind_seconds
        while head.size > size and time.monotonic() < deadline:
            # Another instance signed what this one has not heard of yet.
            await asyncio.sleep(_PAUSE_SECONDS)
            size = await self.tree.grow()
        if head.size > size:
            raise SigningSuspended(CHECKPOINT_AHEAD.fill(signed=head.size, size=size))
        if await self.tree.root(head.size) != head.root:
            raise SigningSuspended(CHECKPOINT_CONTRADICTED.fill(signed=head.size))
        self._continued = head
        return size

    async def check(self) -> None:
        """Raise `SigningSuspended` where nothing may be signed; signs nothing."""
        await self._checked_size(await self._store.read())

    async def inclusion(self, position: int) -> Inclusion:
        """The proof that the record at a position, which there is, is in the log."""
        note = await self.current()
        hashes = await self.tree.inclusion(position - 1, TreeHead.parse(note).size)
        return Inclusion(position - 1, hashes, note)

    async def consistency(self, old: int) -> Consistency:
        """The proof that the log continues what its first ``old`` records were.

        Raises `Invalid` where there are not that many.
        """
        note = await self.current()
        size = TreeHead.parse(note).size
        if old > size:
            raise Invalid(Fault("", f"the checkpoint is of {size} events"))
        return Consistency(old, await self.tree.consistency(old, size), note)

    # Witnesses

    async def cosign(self, content: str) -> Note:
        """Store the signatures of witnesses under a checkpoint of this log, as they come.

        Any checkpoint that this log's key signed is taken, be it the newest or not, so a log may
        grow while its witnesses sign; a newer cosigned checkpoint stays. Returns the newest one.
        Raises `Invalid` where it is no checkpoint of this log.
        """
        try:
            given = Note.parse(content)
            head = TreeHead.parse(given)
        except ValueError as error:
            raise Invalid(Fault("", str(error))) from None
        async with self._signing, self._store.exclusive() as recorder:
            held = await recorder.read()
            size = await self._checked_size(held)
            signer = held.signer
            if signer is None or not signer.verifier.verify(given):
                raise Invalid(Fault("", "this log's key did not sign this checkpoint"))
            if head.size > size or await self.tree.root(head.size) != head.root:
                raise Invalid(Fault("", "this is no checkpoint of this log"))
            known = held.cosigned
            if known is not None and TreeHead.parse(known).size > head.size:
                return known
            before = known.signatures if known is not None and known.text == given.text else ()
            own = signer.sign(given.text).signatures
            more = [one for one in given.signatures if one not in (*own, *before)]
            note = Note(given.text, [*(before or own), *more])
            await recorder.record_cosigned(note)
        return note

    async def newest_cosigned(self) -> Note:
        """The newest checkpoint that witnesses cosigned; raises `NotFound`."""
        note = (await self._store.read()).cosigned
        if note is None:
            raise NotFound(NOT_COSIGNED)
        return note

    # What an operator decides

    async def signing_state(self) -> SigningState:
        """What the store has."""
        return await self._store.read()

    async def confirm(self, shown: Note) -> TreeHead:
        """Go on under the key that is here, behind the newest checkpoint there is.

        ``shown`` is the operator's word that no newer one exists. Returns the head that counts from
        now on. Raises `Invalid` where the key did not sign it, and `SigningSuspended` where the log
        does not continue it, or does not continue what is known here.
        """
        async with self._signing, self._store.exclusive() as recorder:
            held = await recorder.read()
            if held.signer is None:
                raise SigningSuspended(_missing(held))
            if not held.signer.verifier.verify(shown):
                name = held.signer.verifier.name
                raise Invalid(Fault("", f"the checkpoint is not signed by the log's key {name}"))
            head = TreeHead.parse(shown)
            await self._continued_size(head)
            await self._continued_size(held.head)
            if held.head is not None and held.head.size > head.size:
                head = held.head
            await recorder.confirm(held.signer.sign(str(head)))
        return head

    async def begin(self, signer: Signer) -> Note:
        """Begin a new key; what the old one signed counts no longer. Returns the first checkpoint."""
        async with self._signing, self._store.exclusive() as recorder:
            await recorder.begin(signer)
        return await self.current()


def _missing(held: SigningState) -> Message:
    return LOG_KEY_MISSING.fill(name=held.signed_by or "that signed before")
