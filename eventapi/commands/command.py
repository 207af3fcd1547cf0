"""What every command is: a wish with all it needs, decided by a pure function."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from events.record import Event
from events.vocabulary.sessions import SessionEnded
from events.vocabulary.users import UserDisabled, UserErased, UserPasswordChanged, UserRoleRevoked
from projections.state import State

_REVOKING: Final = {SessionEnded, UserDisabled, UserRoleRevoked, UserErased}


class Decision(msgspec.Struct, frozen=True):
    """The one event that a command comes to.

    ``subject`` and ``actor`` as on the line; ``sealedfor`` names the user whose key seals the
    personal values, or is empty.
    """

    subject: str
    event: Event
    actor: str
    sealedfor: str = ""

    @property
    def revokes(self) -> bool:
        """Whether the event only takes rights away; such an event is written on a full disk, too."""
        event = self.event
        if isinstance(event, UserPasswordChanged):
            return event.reason == "changed"
        return type(event) in _REVOKING


class Command(Protocol):
    """A wish. Time, identifiers and randomness are data in it, so that deciding is pure."""

    def decide(self, state: State) -> Decision:
        """The event that the wish comes to in this state; raises `Refusal` where the rules say no."""
