"""Commands about API keys."""

from __future__ import annotations

from typing import Final

import msgspec

from eventapi.commands.command import Decision
from eventapi.commands.users import existing
from eventapi.values import rules
from eventapi.values.times import later
from events.errors import Fault, Invalid, NotFound, QuotaExceeded
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed, Scope
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.keys import ApiKey

MAX_KEYS: Final = 100
"""Maximum number of API keys of a user."""

USE_RECORDED_SECONDS: Final = 3_600
"""A use has an event only if the last such event of the key is that old."""


class CreateKey(msgspec.Struct, frozen=True):
    """Make an API key; ``key`` and the secret behind ``secret_hash`` are random."""

    user: int
    key: str
    name: str
    scopes: tuple[Scope, ...]
    secret_hash: str
    expires_at: str | None = None

    def decide(self, state: State) -> Decision:
        user = existing(state, self.user)
        rules.KEY.check(name=self.name)
        if "audit" in self.scopes and "auditor" not in user.roles:
            raise Invalid(Fault("/scopes", "audit needs the role auditor"))
        if self.expires_at is not None and self.expires_at <= state.now:
            raise Invalid(Fault("/expires_at", "must be in the future"))
        if len(state.keys.ids_by_user.get(user.id, ())) >= MAX_KEYS:
            raise QuotaExceeded(f"the user has {MAX_KEYS} API keys; revoke one first")
        event = KeyCreated(
            user.id, self.scopes, self.secret_hash, self.expires_at, personal=KeyName(self.name)
        )
        return Decision(f"keys/{self.key}", event, user.subject, user.subject)


class RecordKeyUse(msgspec.Struct, frozen=True):
    """Record that a key was used, unless another process did so lately."""

    key: str
    device: Device

    def decide(self, state: State) -> Decision:
        key = state.keys.by_id.get(self.key)
        if key is None or not is_use_due(key, state.now):
            raise NotFound("there is no such key, or its use is recorded")
        subject = f"users/{key.user}"
        return Decision(key.subject, KeyUsed(personal=self.device), subject, subject)


class RevokeKey(msgspec.Struct, frozen=True):
    """Revoke an API key of the caller."""

    caller: int
    key: str

    def decide(self, state: State) -> Decision:
        key = state.keys.by_id.get(self.key)
        if key is None or key.user != self.caller:
            raise NotFound("there is no such key")
        return Decision(key.subject, KeyRevoked(), f"users/{self.caller}")


def is_use_due(key: ApiKey, now: str) -> bool:
    """Whether a use of a key is to be recorded."""
    return key.last_used_at is None or later(key.last_used_at, USE_RECORDED_SECONDS) <= now
