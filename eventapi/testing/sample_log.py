"""Write a history as a log: sealed, chained lines, and a vault with the keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from eventapi.testing.given import Happened, records_of
from eventapi.testing.kinds import vocabulary_of
from events.codec import encode
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import START, Personal, Record, entity_number
from events.sealing import NONCE_BYTES, SALT_BYTES, Keyring
from events.vault.memory import MemoryVault
from projections.state import State

SAMPLE_SESSION: Final = "0" * 32
"""The session of every third record."""

_encode = msgspec.json.Encoder().encode


class Written(msgspec.Struct, frozen=True):
    """The lines of a log, their records, and the keys that seal them by subject."""

    lines: list[bytes]
    records: list[Record]
    keys: dict[str, bytes]

    @property
    def log(self) -> MemoryLog:
        """A log in memory with these lines."""
        last = self.records[-1] if self.records else START
        return MemoryLog(self.lines, Head(last.position, last.hash))

    async def vault(self, destroyed: Iterable[str] = ()) -> MemoryVault:
        """A vault in memory with these keys, after some of them were destroyed."""
        vault = MemoryVault()
        await vault.put(self.keys)
        await vault.destroy(list(destroyed))
        return vault


def key_of(subject: str) -> bytes:
    """The key of a user: 32 bytes derived from the subject."""
    return f"key of {subject}".encode().ljust(32, b"-")


def _sealed_for(record: Record, state: State) -> str:
    """The user whose key seals a record; empty if it has no readable personal values."""
    if not (isinstance(getattr(record.event, "personal", None), Personal) or record.reason):
        return ""
    kind = record.subject.partition("/")[0]
    if kind in state.resources:
        found = state[kind].find(entity_number(record.subject))
        owner = getattr(record.event, "owner", None) or (found.owner if found else 0)
        return f"users/{owner}"
    return f"users/{state.account_of(record) or 0}"


def _with_request(record: Record) -> Record:
    """The record as that of a request; every third one has a session and a reason."""
    if record.position % 3:
        return record
    # No user's key seals that of a webhook, and beside a reason no values are as an empty object.
    personal = getattr(record.event, "personal", {})
    has_reason = not record.subject.startswith("webhooks/") and _encode(personal) != b"{}"
    reason = f"reason {record.position}" if has_reason else ""
    return msgspec.structs.replace(record, session=SAMPLE_SESSION, reason=reason)


def write(history: Iterable[Happened]) -> Written:
    """Encode a history: seal, chain and fold every event."""
    history = list(history)
    state, keyring = State.empty(vocabulary_of(event for _, event in history)), Keyring()
    written = Written([], [], {})
    for draft in map(_with_request, records_of(history)):
        sealed_for = _sealed_for(draft, state)
        if sealed_for and sealed_for not in keyring:
            written.keys[sealed_for] = key_of(sealed_for)
            keyring.add(sealed_for, key_of(sealed_for))
        sealed = msgspec.structs.replace(draft, sealedfor=sealed_for)
        nonce, salt = (sealed.position.to_bytes(size) for size in (NONCE_BYTES, SALT_BYTES))
        line, digest = encode(sealed, state.last.hash, keyring, nonce, salt=salt)
        end = state.last.end + len(line) + 1
        record = msgspec.structs.replace(sealed, hash=digest, end=end)
        state.apply(record)
        written.lines.append(line)
        written.records.append(record)
    return written


def erased_users(state: State) -> set[str]:
    """The subjects of erased users, whose keys must be destroyed."""
    return {user.subject for user in state.users.by_id.values() if user.status == "erased"}
