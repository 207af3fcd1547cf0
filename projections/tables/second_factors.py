"""The table of second factors, by user."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

import msgspec
from msgspec import Raw

from events.record import Record, entity_number
from events.vocabulary.users import (
    RecoveryHashes,
    TotpSecret,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
)
from projections.copy_on_write import CopyOnWriteDict


class SecondFactor(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The second factor of a user (TOTP, RFC 6238).

    ``secret`` is in base32, and empty if its seal cannot be opened. ``started`` is a secret that a
    code must confirm first. ``step`` is the last time step whose code was used. A used recovery
    code has an empty hash.
    """

    secret: str = ""
    step: int = 0
    recovery_hashes: tuple[str, ...] = ()
    started: str = ""
    enabled: bool = False


_NONE: Final = SecondFactor()
_decode_public: Final = msgspec.msgpack.Decoder(tuple[bool, int] | None).decode
_decode_personal: Final = msgspec.msgpack.Decoder(tuple[str, tuple[str, ...], str] | None).decode


class SecondFactors:
    """Second factors by user, of users that have or started one."""

    def __init__(self, by_user: MutableMapping[int, SecondFactor] | None = None) -> None:
        self.by_user: MutableMapping[int, SecondFactor] = {} if by_user is None else by_user

    def stage(self) -> SecondFactors:
        """A copy-on-write copy."""
        return SecondFactors(CopyOnWriteDict(self.by_user))

    def of(self, user: int) -> SecondFactor | None:
        """The second factor that the logins of a user need, if any."""
        found = self.by_user.get(user)
        return found if found is not None and found.enabled else None

    def on_started(self, record: Record, event: UserTotpStarted) -> None:
        secret = event.personal.secret if isinstance(event.personal, TotpSecret) else ""
        self._replace(record, started=secret)

    def on_enabled(self, record: Record, event: UserTotpEnabled) -> None:
        hashes = event.personal
        self._replace(
            record,
            enabled=True,
            secret=self.by_user.get(entity_number(record.subject), _NONE).started,
            started="",
            step=event.step,
            recovery_hashes=(
                tuple(hashes.recovery_hashes) if isinstance(hashes, RecoveryHashes) else ()
            ),
        )

    def on_used(self, record: Record, event: UserSecondFactorUsed) -> None:
        found = self.by_user.get(entity_number(record.subject), _NONE)
        if event.step is not None:
            self._replace(record, step=max(found.step, event.step))
        elif event.recovery is not None and event.recovery < len(found.recovery_hashes):
            hashes = list(found.recovery_hashes)
            hashes[event.recovery] = ""
            self._replace(record, recovery_hashes=tuple(hashes))

    def on_disabled(self, record: Record, _: UserTotpDisabled) -> None:
        self.by_user.pop(entity_number(record.subject), None)

    def erase_user(self, user: int) -> None:
        """Remove the second factor of a user."""
        self.by_user.pop(user, None)

    def _replace(self, record: Record, **changes: object) -> None:
        user = entity_number(record.subject)
        self.by_user[user] = msgspec.structs.replace(self.by_user.get(user, _NONE), **changes)

    def export_owner(self, owner: int) -> tuple[object, object]:
        """The second factor of one user, for a snapshot; see `Table`."""
        found = self.by_user.get(owner)
        if found is None:
            return None, None
        return (found.enabled, found.step), (found.secret, found.recovery_hashes, found.started)

    def load_owner(self, owner: int, public: Raw, personal: Raw | None) -> None:
        """Add the second factor of one user from a snapshot; see `Table`."""
        values = _decode_public(public)
        if values is None:
            return
        enabled, step = values
        personal_values = None if personal is None else _decode_personal(personal)
        secret, hashes, started = personal_values or ("", (), "")
        self.by_user[owner] = SecondFactor(secret, step, hashes, started, enabled)

    def export_shared(self) -> object:
        """Nothing; see `Table`."""
        return None

    def load_shared(self, _: Raw) -> None:
        """Nothing; see `Table`."""

    def finish_load(self) -> None:
        """Nothing; see `Table`."""
