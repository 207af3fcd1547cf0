"""Events about an API key. Subject: ``keys/ID``."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from msgspec import field

from events.record import Event, Number, Personal, PlainEvent
from events.vocabulary.sessions import Device

Scope = Literal["read", "write", "audit"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "audit")


class KeyName(Personal, frozen=True, gc=False):
    """The name that the user gave a key."""

    name: str


class KeyCreated(Event, frozen=True, gc=False):
    """A user made an API key.

    ``secret_hash`` is the SHA-256 of its secret, in hex, which is too long to be guessed. Without
    ``expires_at`` the key does not expire.
    """

    type: ClassVar[str] = "key.created"
    timestamp: ClassVar[str] = "expires_at"
    user: Number
    scopes: tuple[Scope, ...]
    secret_hash: str
    expires_at: str | None = None
    personal: KeyName | str | None = field(default=None, name="sealed")


class KeyUsed(Event, frozen=True, gc=False):
    """The key was used, for the first time in a while; most uses have no event."""

    type: ClassVar[str] = "key.used"
    personal: Device | str | None = field(default=None, name="sealed")


class KeyRevoked(PlainEvent, frozen=True, gc=False):
    """The key is invalid now."""

    type: ClassVar[str] = "key.revoked"
