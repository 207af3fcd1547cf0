"""Checkpoints: signed heads of the log's tree that never contradict each other.

A head is signed only if the key's store recorded all signatures of the key
(`events.transparency.signing.port`), and if the log continues the newest head known here. Otherwise
nothing is signed until an operator decides; see docs/decisions/restore.md.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from msgspec.structs import replace

from events.errors import Fault, Invalid, NotFound, SigningSuspended
from events.log.conflicts import repeat_on_conflict
from events.messages.archives import ARCHIVE_KEY_MISSING
from events.messages.errors import (
    CHECKPOINT_AHEAD,
    CHECKPOINT_CONTRADICTED,
    LOG_KEY_MISSING,
    LOG_KEY_UNCONFIRMED,
    NOT_COSIGNED,
)
from events.messages.message import Message
from events.transparency.merkle import Range, inclusion_ranges
from events.transparency.policy import Policy
from events.transparency.signed_note import (
    Consistency,
    Inclusion,
    Note,
    Signature,
    Signer,
    TreeHead,
    Verifier,
)
from events.transparency.signing.port import KEY_PREFIX, Recorder, SigningState, SigningStore
from events.transparency.tree import Tree

_Result = TypeVar("_Result")

_POLL_SECONDS: Final = 0.02
"""The interval for polling a log that is behind a checkpoint of another instance."""

_CONFLICT_SECONDS: Final = 5.0
"""How long a write that conflicts with another instance is repeated."""


class Checkpoints:
    """Signs checkpoints and makes proofs for one log.

    ``behind_seconds`` is how long this instance may lag behind another one. With a ``policy``, only
    checkpoints that satisfy it count as cosigned.
    """

    def __init__(
        self,
        tree: Tree,
        store: SigningStore,
        behind_seconds: float = 0.0,
        policy: Policy | None = None,
    ) -> None:
        self.tree = tree
        self.policy = policy
        self._behind_seconds = behind_seconds
        self._store = store
        self._lock = asyncio.Lock()
        self._continued: TreeHead | None = None

    async def verifier(self) -> Verifier:
        """The verifier key; makes the signing key if there never was one.

        Raises `SigningSuspended` if the key is missing, and the errors of the store.
        """
        state = await self._store.read()
        if state.status == "new":
            await self.current()
            state = await self._store.read()
        if state.signer is None:
            raise SigningSuspended(_key_missing(state))
        return state.signer.verifier

    async def current(self) -> Note:
        """The checkpoint of all published records.

        Raises `SigningSuspended` if nothing may be signed, and the errors of the store.
        """
        async with self._lock:
            state = await self._store.read()
            size = await self._require_signable(state)
            if state.note is None or TreeHead.parse(state.note).size != size:
                state = await self._record(self._sign_published)
        note = _newest(state)
        assert note is not None  # noqa: S101 - for the type checker
        return note

    async def _record(self, write: Callable[[Recorder], Awaitable[_Result]]) -> _Result:
        """Write under the lock of the store.

        Some stores let two instances have the lock. Then the write of one is refused, and it
        reads and decides again.
        """

        async def attempt() -> _Result:
            async with self._store.exclusive() as recorder:
                return await write(recorder)

        return await repeat_on_conflict(_CONFLICT_SECONDS, attempt)

    async def _sign_published(self, recorder: Recorder) -> SigningState:
        """Sign and record a checkpoint of all published records, unless there is one."""
        state = await recorder.read()
        size = await self._require_signable(state)
        if state.note is not None and TreeHead.parse(state.note).size == size:
            return state  # Another process was faster.
        signer = state.signer
        if signer is None:
            signer = Signer.from_seed(secrets.token_bytes(32), KEY_PREFIX)
            await recorder.begin(signer)
        head = TreeHead(signer.verifier.name, size, await self.tree.root(size))
        note = signer.sign(str(head))
        await recorder.record(note)
        self._continued = head
        return replace(state, note=note)

    async def _require_signable(self, state: SigningState) -> int:
        """The size of the tree; raises `SigningSuspended` if it may not be signed."""
        if state.status == "keyless":
            raise SigningSuspended(_key_missing(state))
        if state.status == "unconfirmed":
            raise SigningSuspended(LOG_KEY_UNCONFIRMED)
        return await self._require_continuation(state.head)

    async def _require_continuation(self, head: TreeHead | None) -> int:
        """The tree's size; raises `SigningSuspended` if it does not continue a head."""
        size = await self.tree.grow()
        if head is None or head == self._continued:
            return size
        deadline = time.monotonic() + self._behind_seconds
        while head.size > size and time.monotonic() < deadline:
            # Another instance signed records that this one has not read yet.
            await asyncio.sleep(_POLL_SECONDS)
            size = await self.tree.grow()
        if head.size > size:
            raise SigningSuspended(CHECKPOINT_AHEAD.fill(signed=head.size, size=size))
        if await self.tree.root(head.size) != head.root:
            raise SigningSuspended(CHECKPOINT_CONTRADICTED.fill(signed=head.size))
        self._continued = head
        return size

    async def check(self) -> None:
        """Raise `SigningSuspended` if nothing may be signed; does not sign."""
        await self._require_signable(await self._store.read())

    async def inclusion(self, position: int) -> Inclusion:
        """The proof that the record at an existing position is in the log."""
        return await (await self.proofs()).inclusion(position)

    async def proofs(self) -> Proofs:
        """Proofs in the checkpoint of all published records; raises as `current` does."""
        return Proofs(self.tree, await self.current())

    async def recorded_proofs(self) -> Proofs | None:
        """Proofs in the newest checkpoint that was signed, if any was; signs nothing.

        Raises `SigningSuspended` if the log does not continue it, and the errors of the store.
        """
        state = await self._store.read()
        note = _newest(state)
        if note is None:
            return None
        await self._require_continuation(state.head)
        return Proofs(self.tree, note)

    async def consistency(self, old: int) -> Consistency:
        """The proof that the log still begins with its first ``old`` records.

        Raises `Invalid` if it has fewer.
        """
        note = await self.current()
        size = TreeHead.parse(note).size
        if old > size:
            raise Invalid(Fault("", f"the checkpoint is of {size} events"))
        return Consistency(old, await self.tree.consistency(old, size), note)

    async def attest(self, statement: str) -> Signature:
        """Sign a text that is not a checkpoint: it must begin with a brace.

        Raises `SigningSuspended` as `current` does, and the errors of the store.
        """
        assert statement.startswith("{")  # noqa: S101 - a checkpoint begins with its origin
        state = await self._store.read()
        await self._require_signable(state)
        if state.signer is None:
            raise SigningSuspended(_key_missing(state))
        (signature,) = state.signer.sign(statement).signatures
        return signature

    # Witnesses

    async def cosign(self, content: str) -> Note:
        """As `add_cosignatures`, for the text of a checkpoint."""
        try:
            given = Note.parse(content)
        except ValueError as error:
            raise Invalid(Fault("", str(error))) from None
        return await self.add_cosignatures(given)

    async def add_cosignatures(self, given: Note) -> Note:
        """Store the signatures of witnesses under a checkpoint of this log.

        Any checkpoint that this log's key signed is accepted, so the log may grow while its
        witnesses sign. A newer cosigned checkpoint is kept. Returns the newest one. Raises
        `Invalid` if it is not a checkpoint of this log, or does not satisfy the policy.
        """
        try:
            head = TreeHead.parse(given)
        except ValueError as error:
            raise Invalid(Fault("", str(error))) from None
        async with self._lock:
            return await self._record(lambda recorder: self._store_cosigned(recorder, given, head))

    async def _store_cosigned(self, recorder: Recorder, given: Note, head: TreeHead) -> Note:
        state = await recorder.read()
        size = await self._require_signable(state)
        signer = state.signer
        if signer is None or not signer.verifier.verify(given):
            raise Invalid(Fault("", "this log's key did not sign this checkpoint"))
        if head.size > size or await self.tree.root(head.size) != head.root:
            raise Invalid(Fault("", "this is not a checkpoint of this log"))
        known = state.cosigned
        if (
            known is not None
            and TreeHead.parse(known).size > head.size
            and self._is_cosigned(known)
        ):
            return known
        before = known.signatures if known is not None and known.text == given.text else ()
        own = signer.sign(given.text).signatures
        lines = [*own, *before, *given.signatures, *own]
        note = Note(given.text, _last_of_each_key(lines))
        if not self._is_cosigned(note):
            raise Invalid(Fault("", "too few witnesses of the policy have cosigned it"))
        await recorder.record_cosigned(note)
        return note

    async def newest_cosigned(self) -> Note:
        """The newest checkpoint that enough witnesses cosigned; raises `NotFound`."""
        note = (await self._store.read()).cosigned
        if note is None or not self._is_cosigned(note):
            raise NotFound(NOT_COSIGNED)
        return note

    def _is_cosigned(self, note: Note) -> bool:
        return self.policy is None or self.policy.is_satisfied_by(note)

    # Decisions of an operator

    async def signing_state(self) -> SigningState:
        """The key and its record."""
        return await self._store.read()

    async def confirm(self, shown: Note) -> TreeHead:
        """Continue signing with the present key, from the newest checkpoint.

        With ``shown`` the operator asserts that no newer checkpoint exists. Returns the head that
        counts from now on. Raises `Invalid` if the key did not sign ``shown``, and
        `SigningSuspended` if the log does not continue it, or the head known here.
        """
        async with self._lock:
            return await self._record(lambda recorder: self._confirm(recorder, shown))

    async def _confirm(self, recorder: Recorder, shown: Note) -> TreeHead:
        state = await recorder.read()
        if state.signer is None:
            raise SigningSuspended(_key_missing(state))
        if not state.signer.verifier.verify(shown):
            name = state.signer.verifier.name
            raise Invalid(Fault("", f"the checkpoint is not signed by the log's key {name}"))
        head = TreeHead.parse(shown)
        await self._require_continuation(head)
        await self._require_continuation(state.head)
        if state.head is not None and state.head.size > head.size:
            head = state.head
        await recorder.confirm(state.signer.sign(str(head)))
        return head

    async def begin(self, signer: Signer) -> Note:
        """Begin a new key and return its first checkpoint; old heads no longer count."""
        async with self._lock:
            await self._record(lambda recorder: recorder.begin(signer))
        return await self.current()


def _key_missing(state: SigningState) -> Message:
    if state.status == "archived":
        return ARCHIVE_KEY_MISSING.fill(name=state.signed_by)
    return LOG_KEY_MISSING.fill(name=state.signed_by or "that signed before")


def _newest(state: SigningState) -> Note | None:
    """The newest checkpoint, with the signatures of witnesses if it has any."""
    note, cosigned = state.note, state.cosigned
    return cosigned if note and cosigned and cosigned.text == note.text else note


def _last_of_each_key(signatures: Iterable[Signature]) -> list[Signature]:
    """The last signature of each key: a witness may sign a checkpoint many times."""
    return [*{(one.name, one.box[:4]): one for one in signatures}.values()]


class Proofs:
    """Proofs that records are in the log, all in one checkpoint.

    They share most of their hashes with the proof before, so they cost the least in the order of
    the log.
    """

    def __init__(self, tree: Tree, checkpoint: Note) -> None:
        self._tree = tree
        self._checkpoint = checkpoint
        self._roots: dict[Range, bytes] = {}
        """The hashes of the last proof."""
        self.size = TreeHead.parse(checkpoint).size

    async def inclusion(self, position: int) -> Inclusion:
        """The proof of the record at a position up to the size of the checkpoint."""
        known = self._roots
        self._roots = {
            subtree: known.get(subtree) or await self._tree.subtree_root(*subtree)
            for subtree in inclusion_ranges(position - 1, self.size)
        }
        return Inclusion(position - 1, list(self._roots.values()), self._checkpoint)
