"""A batch: commands decided in order on a staged state, and the lines to append."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from typing import TypeAlias

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from eventapi.commands.command import Command, Decision
from eventapi.commands.declarations import declaration_of
from eventapi.commands.resources import ResourceCommand
from eventapi.journal.origin import Origin
from eventapi.resources.declared import Declared
from events.codec import encode
from events.errors import (
    EventapiError,
    Fault,
    IdempotencyKeyReused,
    Invalid,
    Refusal,
    StorageFull,
    Unauthenticated,
    UnknownKind,
    VaultUnavailable,
)
from events.messages.errors import KEY_MISSING
from events.messages.server_log import UNDECIDED
from events.record import Event, Record
from events.sealing import KEY_BYTES, NONCE_BYTES, SALT_BYTES, Keyring, seal, unseal
from events.vocabulary.resources import ResourceType
from events.vocabulary.users import UserRegistered
from projections.state import State
from projections.tables.idempotency import Changed, IdempotencyRecord

logger = logging.getLogger("eventapi.journal")


class CommandResult(msgspec.Struct, frozen=True):
    """The result of a command: its durable record, and the entity right after it.

    ``replayed``: an earlier request with the same key had this effect. Then the record has no event
    and no time, and a batch sets no entity: the journal reads it from the log.
    """

    record: Record
    entity: Changed
    replayed: bool = False


class Runtime(msgspec.Struct, frozen=True):
    """The sources of time and randomness.

    ``now`` returns RFC 3339 in UTC with microseconds, ``new_uuid`` a UUID in its text form, and
    ``random_bytes(n)`` n bytes from a secure source. ``uptime`` returns the seconds since the
    machine booted; without it no jump of the clock is detected.
    """

    now: Callable[[], str]
    new_uuid: Callable[[], str]
    random_bytes: Callable[[int], bytes]
    uptime: Callable[[], float] | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """The key of a request that must take effect only once.

    See the IETF draft Idempotency-Key, version 07. ``key`` is the SHA-256 of the caller and their key, in hex; ``request`` the SHA-256 of the
    request, 32 bytes. The line has ``request`` sealed, because personal values could be guessed
    from it.
    """

    key: str
    request: bytes


class DependentCommand(msgspec.Struct, frozen=True):
    """A command that depends on the results of earlier ones of its group.

    ``build`` gets these results, in order. It runs under the log's lock, so it must be pure and
    fast; it may raise a `Refusal`.
    """

    resource: Declared
    build: Callable[[Sequence[CommandResult]], Command]


GroupedCommand = Command | DependentCommand
_OfKind: TypeAlias = ResourceCommand | DependentCommand


class PendingWrite(msgspec.Struct, eq=False):
    """Queued commands that are written all or none, with the caller's future.

    Without commands, it only checks that the log could be written.
    """

    commands: Sequence[GroupedCommand]
    origin: Origin
    future: asyncio.Future[list[CommandResult]]
    idempotency_key: IdempotencyKey | None = None

    def answer(self, answer: list[CommandResult] | Exception) -> None:
        """Complete the future, unless it is complete or its request was cancelled."""
        if self.future.done():
            return
        if isinstance(answer, Exception):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


Answers = list[tuple[PendingWrite, list[CommandResult] | Exception]]


class PendingKeys(Keyring):
    """The keys of users whose registration is not written yet, over a base keyring."""

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
        """Add the keys of another one."""
        self.update(other)
        self.raw.update(other.raw)


class _StagedWrite(msgspec.Struct, eq=False):
    """The lines, records and results of one pending write, committed all or none.

    There is a result for each command; a declaration is a record without one.
    """

    state: State
    keys: PendingKeys
    lines: list[bytes] = []
    records: list[Record] = []
    results: list[CommandResult] = []


class Batch:
    """Decides and encodes pending writes, one after another, and writes nothing.

    With ``is_full``, only commands that take rights away are accepted; others get `StorageFull`.
    """

    def __init__(
        self,
        state: State,
        keyring: Keyring,
        runtime: Runtime,
        recent_refreshes: Container[tuple[str, int]] = (),
        erased_number: int = 0,
        *,
        is_full: bool = False,
    ) -> None:
        """``runtime.now`` is the log's clock; ``recent_refreshes`` as in `State`.

        ``erased_number`` is the highest user number that was erased; new users get higher ones,
        because after a restore of an older log the state does not have that number any more.
        """
        now = runtime.now()
        self._is_full = is_full
        self._state = state.stage_at(now, recent_refreshes)
        self._state.users.last_id = max(self._state.users.last_id, erased_number)
        self._declared: set[ResourceType] = set()
        self._behind = state.position
        self._runtime = runtime
        self._source = state.last.source or f"urn:uuid:{runtime.new_uuid()}"
        self._time = max(now, state.last.time)
        self.keys = PendingKeys(keyring)
        self.revokes = True
        """Whether all decided events only take rights away."""
        self.checks_room = False
        """Whether a write without commands asks if there is room for one."""
        self.lines: list[bytes] = []
        self.records: list[Record] = []
        self.answers: Answers = []

    def add(self, write: PendingWrite) -> None:
        """Decide a pending write, whole or not at all, and add the answer to `answers`.

        The caller must send refusals, too, only after the append: one may rest on the effect of an
        earlier command of the same batch.
        """
        try:
            results = self._decide(write) if write.commands else self._check_room()
        except EventapiError as refusal:
            self.answers.append((write, refusal))
        except Exception as error:
            logger.exception(UNDECIDED)
            self.answers.append((write, error))
        else:
            self.answers.append((write, results))

    def _decide(self, write: PendingWrite) -> list[CommandResult]:
        credential = write.origin.credential
        if credential and not self._state.has_credential(credential):
            # It was valid when the request arrived, but ended while the write was queued.
            is_key = credential.startswith("keys/")
            raise Unauthenticated(f"the {'API key' if is_key else 'session'} has ended")
        if write.idempotency_key is not None:
            last = self._state.last
            first = self._state.idempotency.valid(write.idempotency_key.key, self._time, last.time)
            if first is not None:
                return [repeat_result(first, write.idempotency_key, self._source, self.keys)]
        declarations = self._missing_declarations(write.commands)
        # A single command fails before it changes the state, so it needs no staged copy of its own.
        # With one, a process could create only half as many items a second.
        is_single = len(write.commands) == 1 and not declarations
        staged = _StagedWrite(self._state, self.keys)
        if not is_single:
            staged = _StagedWrite(self._state.stage(), PendingKeys(self.keys))
        lines = len(declarations) + len(write.commands)
        for decision in declarations:
            lines -= 1
            self._stage(staged, decision, write, lines)
        for part, command in enumerate(write.commands):
            lines -= 1
            # One line has the key: a repeated request finds its other lines right after it.
            key = write.idempotency_key if part == 0 else None
            try:
                decision = _decision_of(command, staged)
                result = self._stage(staged, decision, write, lines, key)
            except Refusal as refusal:
                refusal.part = part
                raise
            staged.results.append(result)
        if not is_single:
            for record in staged.records:
                self._state.apply(record)
            self.keys.merge(staged.keys)
        self.lines += staged.lines
        self.records += staged.records
        return staged.results

    def _check_room(self) -> list[CommandResult]:
        self._use_room()
        self.checks_room = True
        return []

    def _use_room(self) -> None:
        """Note that the batch needs room beyond the reserve; raises `StorageFull` if full."""
        if self._is_full:
            raise StorageFull("no room for another event")
        self.revokes = False

    def _missing_declarations(self, commands: Sequence[GroupedCommand]) -> list[Decision]:
        """The declarations that must stand before the events of some commands.

        Raises `UnknownKind` if the log has a declaration that this code cannot read.
        """
        found: dict[ResourceType, Decision] = {}
        for command in commands:
            if not isinstance(command, _OfKind):
                continue
            resource = command.resource.type
            if resource in self._declared or resource in found:
                continue
            if self._state.resources[resource.collection].resource is not resource:
                raise UnknownKind(f"another version of this application changed {resource.kind}")
            decision = declaration_of(self._state.resources, resource)
            if decision is None:
                self._declared.add(resource)
            else:
                found[resource] = decision
        return list(found.values())

    def _stage(
        self,
        staged: _StagedWrite,
        decision: Decision,
        write: PendingWrite,
        remaining: int,
        idempotency_key: IdempotencyKey | None = None,
    ) -> CommandResult:
        """Encode the record of a decision, and apply it to the staged state."""
        state = staged.state
        if not decision.revokes:
            self._use_room()
        keys = staged.keys
        if isinstance(decision.event, UserRegistered):
            keys = PendingKeys(keys)
            keys.add(decision.sealedfor, self._runtime.random_bytes(KEY_BYTES))
        try:
            record = self._record(decision, state, keys, write.origin, idempotency_key)
            drawn = self._runtime.random_bytes(NONCE_BYTES + SALT_BYTES)
            line, digest = encode(
                record,
                state.last.hash,
                keys,
                drawn[:NONCE_BYTES],
                remaining,
                behind=self._behind if state.position > self._behind else None,
                salt=drawn[NONCE_BYTES:],
            )
        except KeyError as error:
            raise VaultUnavailable(KEY_MISSING.fill(subject=error.args[0])) from None
        except ValueError as error:
            raise Invalid(Fault("", f"it cannot be written down: {error}")) from error
        if keys is not staged.keys:
            staged.keys.merge(keys)
        record = replace(record, hash=digest, end=state.last.end + len(line) + 1)
        staged.lines.append(line)
        staged.records.append(record)
        return CommandResult(record, state.apply(record))

    def _record(
        self,
        decision: Decision,
        state: State,
        keys: Keyring,
        origin: Origin,
        idempotency_key: IdempotencyKey | None,
    ) -> Record:
        """The record of a decision; its hash and end follow from its line."""
        key, sealed_request, sealed_for = "", "", decision.sealedfor
        session, apikey = origin.session_and_key
        reason = origin.reason
        if reason and not hasattr(decision.event, "personal"):
            reason = ""  # A declaration has no seal: the server adds it, whatever the reason.
        if reason and not sealed_for:
            sealed_for = _concerned_user(decision, state)
        if idempotency_key is not None:
            key, sealed_for = idempotency_key.key, sealed_for or decision.actor
            nonce = self._runtime.random_bytes(NONCE_BYTES)
            context = _request_context(self._source, decision.subject, key)
            sealed_request = seal(keys[sealed_for], nonce, idempotency_key.request, context)
        return Record(
            state.position + 1,
            self._source,
            decision.subject,
            max(self._time, state.last.time, decision.earliest),
            decision.actor,
            decision.event,
            sealed_for,
            origin.requestid,
            idempotencykey=key,
            requesthash=sealed_request,
            apikey=apikey,
            session=session,
            reason=reason,
        )


def _concerned_user(decision: Decision, state: State) -> str:
    """The user whose key seals the reason of an event without personal values.

    It is the owner of the resource or the user of the account, and otherwise the actor.
    """
    record = Record(0, "", decision.subject, "", decision.actor, decision.event)
    number = state.owner_of(record) or state.account_of(record)
    return decision.actor if number is None else f"users/{number}"


def _decision_of(command: GroupedCommand, staged: _StagedWrite) -> Decision:
    if isinstance(command, DependentCommand):
        command = command.build(staged.results)
    return command.decide(staged.state)


def repeat_result(
    first: IdempotencyRecord, idempotency_key: IdempotencyKey, source: str, keyring: Keyring
) -> CommandResult:
    """The result of the first request with a key, to answer a repeated one.

    ``source`` is that of the log. Raises `IdempotencyKeyReused` if the requests differ.
    """
    context = _request_context(source, first.subject, idempotency_key.key)
    if unseal(keyring[first.user], first.request, context) != idempotency_key.request:
        raise IdempotencyKeyReused("the Idempotency-Key was used before, for another request")
    record = Record(
        first.position,
        source,
        first.subject,
        "",
        first.user,
        Event(),
        first.user,
        idempotencykey=idempotency_key.key,
        requesthash=first.request,
    )
    return CommandResult(record, None, replayed=True)


def _request_context(source: str, subject: str, key: str) -> bytes:
    return f"{source}|{subject}|{key}".encode()
