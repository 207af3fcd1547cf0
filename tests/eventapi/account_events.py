"""Histories with every type of event about an account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from eventapi.testing.given import Happened, at
from events.record import Event
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed
from events.vocabulary.security import LoginFailed, ValuesOpened
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    Profile,
    ProfileChanges,
    RecoveryHashes,
    TotpSecret,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserPasswordResetRequested,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
    UserUpdated,
    VerifiedEmail,
)
from events.vocabulary.vocabulary import CORE
from tests.eventapi.http.client import CHEAP_HASHER, PASSWORD

PASSWORD_HASH: Final = CHEAP_HASHER.hash(PASSWORD)
HIDDEN: Final = ("SECRET-" + "A" * 9, "RECOVERY-HASH", "REFRESH-HASH", "KEY-HASH", PASSWORD_HASH)
"""Values that no view of an account may show."""

_TOTP, _RECOVERY, _REFRESH, _KEY, _ = HIDDEN
PHONE: Final = Device("192.0.2.1", "a phone")
LAPTOP: Final = Device("192.0.2.2", "a laptop")
SCRIPT: Final = Device("192.0.2.3", "a script")


def life_of_account(user: int, name: str) -> list[Happened]:
    """An account to which everything happened but its erasure; it is enabled again."""
    subject, phone, laptop, key = (
        f"users/{user}", f"sessions/{name}1", f"sessions/{name}2", f"keys/{name}3",
    )  # fmt: skip
    events: Sequence[tuple[str, Event]] = (
        (subject, UserRegistered(personal=Profile(name, f"{name}@old", PASSWORD_HASH, "A Name"))),
        (phone, SessionStarted(user, at(99_000), _REFRESH, personal=PHONE)),
        (phone, SessionRefreshed(at(99_000), _REFRESH)),
        (laptop, SessionStarted(user, at(99_000), _REFRESH, personal=LAPTOP)),
        (subject, UserUpdated(personal=ProfileChanges(full_name=None))),
        (subject, UserEmailVerificationRequested(personal=PHONE)),
        (
            subject,
            UserEmailChanged(personal=EmailChange(f"{name}@example.org", f"{name}@old", "B")),
        ),
        (subject, UserEmailVerified(personal=VerifiedEmail(f"{name}@example.org"))),
        (key, KeyCreated(user, ("read",), _KEY, at(99_000), personal=KeyName("my key"))),
        (key, KeyUsed(personal=SCRIPT)),
        (key, KeyRevoked()),
        (subject, UserTotpStarted(personal=TotpSecret(_TOTP))),
        (subject, UserTotpEnabled(7, personal=RecoveryHashes([_RECOVERY]))),
        (subject, UserSecondFactorUsed(recovery=0)),
        (subject, UserTotpDisabled()),
        (
            subject,
            UserPasswordChanged("changed", f"{name}2", personal=PasswordHash(PASSWORD_HASH)),
        ),
        (subject, UserRoleGranted("auditor")),
        (subject, UserRoleRevoked("auditor")),
        (laptop, SessionEnded("logout")),
        (subject, UserPasswordResetRequested(at(99_000), personal=LAPTOP)),
        (subject, UserPasswordReset(20, True, personal=PasswordHash(PASSWORD_HASH))),
        (subject, UserDisabled()),
        (subject, UserEnabled()),
        (subject, LoginFailed(at(600), 3, "AB" * 16, personal=PHONE)),
        (subject, ValuesOpened(1)),
    )
    return list(events)


ABOUT_ACCOUNTS: Final = {
    event
    for event in CORE
    if event.type.startswith(("user.", "session.", "key.", "security.", "audit."))
} - {UserErased}
"""The types of events about an account that is not erased."""
