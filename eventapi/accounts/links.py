"""Tokens in mailed links: to set a new password, and to verify an email address.

Each follows from an event of the log and the secret key, so a mail that is sent twice has the same
link, and the log contains no token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from eventapi.security.signed_texts import SignedTexts, numbers_of
from eventapi.values.times import later, seconds_of
from events.record import Record, entity_number
from events.vocabulary.users import UserPasswordResetRequested
from projections.state import State
from projections.tables.users import User, casefold_key

VERIFICATION_SECONDS = 7 * 86_400
"""How long a link that verifies an address is valid."""


class ResetLink(msgspec.Struct, frozen=True):
    """A link that sets a new password.

    ``request`` is the position of the event that requested it, ``expires`` in seconds since 1970.
    ``mailed_to`` is the address that it was sent to, ``None`` if it was given to an operator.
    """

    user: int
    request: int
    expires: int
    mailed_to: str | None


def reset_path(texts: SignedTexts, record: Record, mailed_to: str | None) -> str:
    """The path of the link that ``record`` requests; see `ResetLink`."""
    return f"/reset-password?token={reset_token(texts, record, mailed_to)}"


def reset_token(texts: SignedTexts, record: Record, mailed_to: str | None) -> str:
    """The token of the link that ``record`` requests."""
    event = record.event
    assert isinstance(event, UserPasswordResetRequested)  # noqa: S101 - for the type checker
    expires = int(seconds_of(event.expires_at))
    numbers = [entity_number(record.subject), record.position, expires, int(mailed_to is not None)]
    return texts.make("password-reset", numbers, record.source, *_bound(mailed_to))


def reset_link(
    texts: SignedTexts, source: str, users: Mapping[int, User], token: str
) -> ResetLink | None:
    """The link of a genuine token, expired or not; else ``None``.

    A mailed one is genuine only as long as the user has the address that it was mailed to.
    """
    numbers = numbers_of(token)
    if numbers is None or len(numbers) != 4:
        return None
    number, request, expires, is_mailed = numbers
    user = users.get(number)
    if is_mailed and (user is None or user.status == "erased"):
        return None
    mailed_to = user.email if is_mailed and user is not None else None
    if not texts.is_genuine("password-reset", token, source, *_bound(mailed_to)):
        return None
    return ResetLink(number, request, expires, mailed_to)


def _bound(mailed_to: str | None) -> Sequence[str]:
    return [] if mailed_to is None else [casefold_key(mailed_to)]


def verification_token(texts: SignedTexts, record: Record, user: int, email: str) -> str:
    """The token that proves that a user reads the mail of an address.

    ``record`` is the event that the mail is sent for.
    """
    expires = int(seconds_of(later(record.time, VERIFICATION_SECONDS)))
    return texts.make("email", [user, expires], record.source, casefold_key(email))


def verified_email(
    texts: SignedTexts, state: State, token: str, now: float
) -> tuple[User, str] | None:
    """The user of a genuine token and the verified address; ``None`` if void."""
    numbers = numbers_of(token)
    if numbers is None or len(numbers) != 2 or numbers[1] <= now:
        return None
    user = state.users.by_id.get(numbers[0])
    if user is None or user.status == "erased":
        return None
    for email in filter(None, (user.pending_email, user.email)):
        if texts.is_genuine("email", token, state.last.source, casefold_key(email)):
            return user, email
    return None
