"""The interface of commands: data with a pure function that decides on one event."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from events.record import Event
from events.vocabulary.keys import KeyRevoked
from events.vocabulary.resources import Unshared
from events.vocabulary.sessions import SessionEnded
from events.vocabulary.users import (
    EmailChange,
    UserDisabled,
    UserEmailChanged,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserRoleRevoked,
    UserTotpDisabled,
)
from events.vocabulary.webhooks import WebhookDeleted, WebhookDisabled
from projections.state import State

_REVOKING: Final = {
    KeyRevoked,
    SessionEnded,
    UserDisabled,
    UserErased,
    UserPasswordReset,
    UserRoleRevoked,
    UserTotpDisabled,
    WebhookDeleted,
    WebhookDisabled,
}


class Decision(msgspec.Struct, frozen=True):
    """The result of deciding a command: one event.

    ``subject`` and ``actor`` as on the line; ``sealedfor`` names the user whose key seals the
    personal values, or is empty. The event's time is ``earliest`` or later.
    """

    subject: str
    event: Event
    actor: str
    sealedfor: str = ""
    earliest: str = ""

    @property
    def revokes(self) -> bool:
        """Whether the event only revokes rights; then a full disk does not refuse it."""
        event = self.event
        if isinstance(event, UserPasswordChanged):
            return event.reason == "changed"
        if isinstance(event, UserEmailChanged):
            return _withdraws(event)
        return type(event) in _REVOKING or isinstance(event, Unshared)


def _withdraws(event: UserEmailChanged) -> bool:
    """Whether an event takes a pending address away, and gives no other one."""
    change = event.personal
    return isinstance(change, EmailChange) and change.email == change.previous


class Command(Protocol):
    """A request to change something. Time, identifiers and randomness are data in it."""

    def decide(self, state: State) -> Decision:
        """Return the event that the command leads to in this state, or raise a `Refusal`."""
