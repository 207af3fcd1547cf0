"""The tokens of mailed links, as the mails of a test's app would have them."""

from __future__ import annotations

from eventapi.accounts.links import reset_token, verification_token
from eventapi.testing.items import ITEMS
from events.codec import decode
from events.record import Record
from events.sealing import Keyring
from events.vocabulary.users import UserPasswordResetRequested
from tests.eventapi.http.client import Api, Caller


def records(api: Api) -> list[Record]:
    """The records of the log, oldest first, with closed seals."""
    return decode(api.log_lines(), Keyring(), ITEMS)


def types(api: Api, after: int = 0) -> list[str]:
    """The types of the events after a position, oldest first."""
    return [record.event.type for record in records(api)[after:]]


def number_of(caller: Caller) -> int:
    """The number of a user."""
    state = caller.api.run(caller.api.edge.services.journal.state())
    user = state.users.find_by_username(caller.name)
    assert user is not None
    number: int = user.id
    return number


def last_reset_token(api: Api, *, mailed: bool = True) -> str:
    """The token of the newest link that sets a new password."""
    requested = [
        record for record in records(api) if isinstance(record.event, UserPasswordResetRequested)
    ]
    record = requested[-1]
    state = api.run(api.edge.services.journal.state())
    user = state.users.by_id[int(record.subject.removeprefix("users/"))]
    return reset_token(api.edge.services.accounts.texts, record, user.email if mailed else None)


def email_token(caller: Caller, email: str) -> str:
    """The token of a link that verifies an address, made for the newest event."""
    texts = caller.api.edge.services.accounts.texts
    return verification_token(texts, records(caller.api)[-1], number_of(caller), email)
