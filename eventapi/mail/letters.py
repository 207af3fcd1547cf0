"""Which event makes which mail, and which of them are void by now.

A mail is made when it is sent, which may be days after the event: a mail server can be down for that
long. So whether it is still wanted depends on the current state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from eventapi.accounts.links import (
    VERIFICATION_SECONDS,
    reset_path,
    verification_token,
)
from eventapi.mail.transport import Kind
from eventapi.security.signed_texts import SignedTexts
from eventapi.values.times import seconds_of
from events.record import Event, Record, entity_number
from events.vocabulary.users import (
    EmailChange,
    Profile,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserPasswordResetRequested,
    UserRegistered,
)
from projections.state import State
from projections.tables.users import User, casefold_key

MAILED: Final = frozenset(
    kind.type
    for kind in (
        UserRegistered,
        UserEmailChanged,
        UserEmailVerificationRequested,
        UserPasswordResetRequested,
    )
)
"""The types of events that mails are sent for."""


class Letter(msgspec.Struct, frozen=True):
    """A mail to be written; ``path`` is that of its link, with the token, or empty.

    If the address is ``replaced``, another one counts already, and gets the mails about the password.
    """

    kind: Kind
    user: User
    recipient: str
    path: str = ""
    replaced: bool = False


def letters_of(record: Record, state: State, texts: SignedTexts, now: float) -> Sequence[Letter]:
    """The mails of an event that are not void at a time, in seconds since 1970.

    There is none for a user who is erased or disabled.
    """
    event = record.event
    if event.type not in MAILED:
        return ()
    user = state.users.by_id.get(entity_number(record.subject))
    if user is None or user.disabled:
        return ()
    if isinstance(event, UserPasswordResetRequested):
        return _reset(record, event, user, texts, now)
    letters = []
    for address in filter(None, [_address_to_verify(event, user)]):
        if seconds_of(record.time) + VERIFICATION_SECONDS > now:
            token = verification_token(texts, record, user.id, address)
            path = f"/verify-email?token={token}"
            letters.append(Letter("verification", user, address, path))
    previous = _previous_address(event)
    if previous:
        replaced = not _is_same(previous, user.email)
        letters.append(Letter("email-changed", user, previous, replaced=replaced))
    return letters


def _reset(
    record: Record, event: UserPasswordResetRequested, user: User, texts: SignedTexts, now: float
) -> Sequence[Letter]:
    is_void = user.password_at > record.position or seconds_of(event.expires_at) <= now
    if event.delivery != "mail" or is_void or not user.email:
        return ()
    path = reset_path(texts, record, user.email)
    return [Letter("password-reset", user, user.email, path)]


def _address_to_verify(event: Event, user: User) -> str | None:
    """The address that the user has yet to verify, because of an event."""
    personal = getattr(event, "personal", None)
    if isinstance(event, UserRegistered):
        # An import brings users who have used their addresses for years.
        is_new = event.created_at is None and isinstance(personal, Profile)
        address = personal.email if is_new and isinstance(personal, Profile) else None
    elif isinstance(event, UserEmailChanged):
        address = personal.email if isinstance(personal, EmailChange) else None
    else:
        address = user.pending_email or user.email
    return address if address and _is_unverified(address, user) else None


def _is_unverified(address: str, user: User) -> bool:
    if user.pending_email is not None and _is_same(address, user.pending_email):
        return True
    return not user.email_verified and _is_same(address, user.email)


def _previous_address(event: Event) -> str | None:
    """The old address, which gets a notice: the change may be a stranger's act."""
    change = event.personal if isinstance(event, UserEmailChanged) else None
    if not isinstance(change, EmailChange) or _is_same(change.previous, change.email):
        return None
    return change.previous or None


def _is_same(one: str, other: str) -> bool:
    return casefold_key(one) == casefold_key(other)
