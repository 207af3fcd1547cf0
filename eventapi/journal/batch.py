"""A batch: commands decided one after another in a draft, and the lines that they come to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Sequence

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr

from eventapi.commands.command import Command
from events.codec import encode
from events.errors import (
    EventapiError,
    Fault,
    IdempotencyKeyReused,
    Invalid,
    StorageFull,
    Unauthenticated,
    VaultUnavailable,
)
from events.messages.errors import KEY_MISSING
from events.messages.server_log import UNDECIDED
from events.record import Event, Record
from events.sealing import KEY_BYTES, NONCE_BYTES, Keyring, seal, unseal
from events.vocabulary.users import UserRegistered
from projections.state import State
from projections.tables.idempotency import Entity, IdempotencyRecord

logger = logging.getLogger("eventapi.journal")


class CommandResult(msgspec.Struct, frozen=True):
    """What a command came to: its record, now durable, and the entity as it stood right after.

    ``replayed``: an earlier request with the same key had this effect. Then the record has no event
    and no time, and a batch leaves the entity to the journal, which reads it from the log.
    """

    record: Record
    entity: Entity
    replayed: bool = False


class Runtime(msgspec.Struct, frozen=True):
    """What the outside world provides: the time, and what cannot be guessed.

    ``now`` gives RFC 3339 in UTC with microseconds, ``new_uuid`` a UUID in its text form, and
    ``random_bytes(n)`` n bytes from a secure source. ``uptime`` gives the seconds since the machine
    booted; without it no jump of the clock is detected.
    """

    now: Callable[[], str]
    new_uuid: Callable[[], str]
    random_bytes: Callable[[int], bytes]
    uptime: Callable[[], float] | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A request that may have its effect only once (IETF draft Idempotency-Key, 07).

    ``key`` is the SHA-256 of the caller and their key, in hex; ``request`` the SHA-256 of the
    request, 32 bytes. On the line the latter is sealed: it could be guessed from what was typed.
    """

    key: str
    request: bytes


class PendingWrite(msgspec.Struct, eq=False):
    """Commands that stand or fall together, and who waits for them.

    ``session`` is the one under which they are wished, if any.
    """

    commands: Sequence[Command]
    requestid: str
    future: asyncio.Future[list[CommandResult]]
    once: IdempotencyKey | None = None
    session: str | None = None


class PendingKeys(Keyring):
    """Keys of users that are not written yet, over those of the users that are."""

    def __init__(self, base: Keyring) -> None:
        super().__init__()
        self._base = base
        self.raw: dict[str, bytes] = {}

    def __missing__(self, subject: str) -> AESGCM:
        return self._base[subject]

    def add(self, subject: str, key: bytes) -> None:
        super().add(subject, key)
        self.raw[subject] = key

    def merge(self, other: PendingKeys) -> None:
        """Take in the keys of what will be written."""
        self.update(other)
        self.raw.update(other.raw)


class Batch:
    """The draft of one batch: what is decided and encoded, but not yet written.

    With ``is_full``, only what takes rights away is taken; the rest gets `StorageFull`.
    """

    def __init__(
        self,
        state: State,
        keyring: Keyring,
        environment: Runtime,
        recent_refreshes: Container[tuple[str, int]] = (),
        erased_number: int = 0,
        *,
        is_full: bool = False,
    ) -> None:
        """``environment.now`` is the log's clock; ``recent_refreshes`` as in `State`.

        ``erased_number`` is the highest user number that was erased; new users get higher ones,
        because after a restore of an older log the state does not have that number any more.
        """
        now = environment.now()
        self._is_full = is_full
        self._draft = state.stage_at(now, recent_refreshes)
        self._draft.users.last_id = max(self._draft.users.last_id, erased_number)
        self._behind = state.position
        self._environment = environment
        self._source = state.last.source or f"urn:uuid:{environment.new_uuid()}"
        self._time = max(now, state.last.time)
        self.keys = PendingKeys(keyring)
        self.revokes = True
        """Whether all that was decided only takes rights away."""
        self.lines: list[bytes] = []
        self.records: list[Record] = []
        self.answers: list[tuple[PendingWrite, list[CommandResult] | Exception]] = []

    def add(self, wish: PendingWrite) -> None:
        """Decide a wish whole or not at all.

        A refusal, too, is only told when the batch is written: it may rest on what an earlier
        command of the same batch did.
        """
        try:
            outcomes = self._decide(wish)
        except EventapiError as refusal:
            self.answers.append((wish, refusal))
        except Exception as error:
            logger.exception(UNDECIDED)
            self.answers.append((wish, error))
        else:
            self.answers.append((wish, outcomes))

    def _decide(self, wish: PendingWrite) -> list[CommandResult]:
        if wish.session is not None and wish.session not in self._draft.sessions.by_id:
            # It was good when the request came, but has ended before the request's turn.
            raise Unauthenticated("the session has ended")
        if wish.once is not None:
            last = self._draft.last
            receipt = self._draft.idempotency.valid(wish.once.key, self._time, last.time)
            if receipt is not None:
                return [repeat_result(receipt, wish.once, self._source, self.keys)]
        # Only a wish of several commands can fail half-way, so only it needs a draft of its own.
        single = len(wish.commands) == 1
        draft, keys = self._draft, self.keys
        if not single:
            draft, keys = draft.stage(), PendingKeys(keys)
        lines: list[bytes] = []
        outcomes: list[CommandResult] = []
        for done, command in enumerate(wish.commands, 1):
            remaining = len(wish.commands) - done
            record, line = self._record(command, draft, keys, wish, remaining)
            lines.append(line)
            outcomes.append(CommandResult(record, draft.apply(record)))
        records = [outcome.record for outcome in outcomes]
        if not single:
            for record in records:
                self._draft.apply(record)
            self.keys.merge(keys)
        self.lines += lines
        self.records += records
        return outcomes

    def _record(
        self, command: Command, draft: State, keys: PendingKeys, wish: PendingWrite, remaining: int
    ) -> tuple[Record, bytes]:
        decision = command.decide(draft)
        if not decision.revokes:
            if self._is_full:
                raise StorageFull("no room for another event")
            self.revokes = False
        new_keys = None
        if isinstance(decision.event, UserRegistered):
            new_keys = PendingKeys(keys)
            new_keys.add(decision.sealedfor, self._environment.random_bytes(KEY_BYTES))
        record = Record(
            draft.position + 1,
            self._source,
            decision.subject,
            self._time,
            decision.actor,
            decision.event,
            decision.sealedfor or (decision.actor if wish.once else ""),
            wish.requestid,
        )
        nonce = self._environment.random_bytes(NONCE_BYTES)
        behind = self._behind if draft.position > self._behind else None
        at_hand = new_keys or keys
        try:
            if wish.once is not None:
                record = self._with_idempotency_record(record, wish.once, at_hand)
            line, digest = encode(record, draft.last.hash, at_hand, nonce, remaining, behind=behind)
        except KeyError:
            raise VaultUnavailable(KEY_MISSING.fill(subject=record.sealedfor)) from None
        except ValueError as error:
            raise Invalid(Fault("", f"it cannot be written down: {error}")) from error
        if new_keys:
            keys.merge(new_keys)
        end = draft.last.end + len(line) + 1
        # Made a moment ago, and nobody else has it yet: no need for a copy.
        force_setattr(record, "hash", digest)
        force_setattr(record, "end", end)
        return record, line

    def _with_idempotency_record(
        self, record: Record, once: IdempotencyKey, keys: Keyring
    ) -> Record:
        nonce = self._environment.random_bytes(NONCE_BYTES)
        record = msgspec.structs.replace(record, idempotencykey=once.key)
        sealed = seal(keys[record.sealedfor], nonce, once.request, idempotency_context(record))
        return msgspec.structs.replace(record, requesthash=sealed)


def repeat_result(
    receipt: IdempotencyRecord, once: IdempotencyKey, source: str, keyring: Keyring
) -> CommandResult:
    """What the first request with this key came to; raises `IdempotencyKeyReused` for another.

    ``source`` is the log's.
    """
    record = Record(
        receipt.position,
        source,
        receipt.subject,
        "",
        receipt.user,
        Event(),
        receipt.user,
        idempotencykey=once.key,
        requesthash=receipt.request,
    )
    cipher = keyring[receipt.user]
    if unseal(cipher, receipt.request, idempotency_context(record)) != once.request:
        raise IdempotencyKeyReused("the Idempotency-Key was used before, for another request")
    return CommandResult(record, None, replayed=True)


def idempotency_context(record: Record) -> bytes:
    """What the seal of a request's hash is bound to."""
    return f"{record.source}|{record.subject}|{record.idempotencykey}".encode()
