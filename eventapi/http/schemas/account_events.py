"""Events about an account, in the form of responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET

from eventapi.http.schemas.responses import AccountEventView
from eventapi.queries.account_events import AccountEvent
from events.record import Event
from events.vocabulary.keys import KeyCreated
from events.vocabulary.security import LoginFailed, ValuesOpened
from events.vocabulary.sessions import SessionEnded
from events.vocabulary.users import (
    UserEmailChanged,
    UserEmailVerified,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)

_CHANGES: Final[Mapping[type[Event], Sequence[str]]] = {
    UserRegistered: ("username", "email", "full_name"),
    UserUpdated: ("email", "full_name"),
    UserEmailChanged: ("email", "full_name"),
    UserEmailVerified: ("email",),
    UserRoleGranted: ("role",),
    UserRoleRevoked: ("role",),
    KeyCreated: ("name", "scopes", "expires_at"),
    LoginFailed: ("window", "count"),
    ValuesOpened: ("position", "query", "count"),
}
"""The values of each type that are shown. A list, so that no new member is shown by accident."""


def account_event_view(found: AccountEvent) -> AccountEventView:
    """The view of an event about an account."""
    record, device = found.record, found.device
    event = record.event
    return AccountEventView(
        record.position,
        record.time,
        event.type,
        record.actor,
        found.session or UNSET,
        found.key or UNSET,
        device.address or UNSET,
        device.user_agent or UNSET,
        event.reason if isinstance(event, SessionEnded | UserPasswordChanged) else UNSET,
        _changes_of(event),
    )


def _changes_of(event: Event) -> Any:
    personal = getattr(event, "personal", None)
    values = {
        name: getattr(part, name)
        for part in (event, personal)
        for name in _CHANGES.get(type(event), ())
        if hasattr(part, name)
    }
    return {name: value for name, value in values.items() if value is not UNSET} or UNSET
