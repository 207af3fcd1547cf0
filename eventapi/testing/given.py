"""Tests that read given / when / then: what happened, what is wished, what comes of it.

>>> given(registered(1, "ann")).when(DisableUser("ann", "operator/root")).then(
...     "users/1", UserDisabled()
... )
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from eventapi.commands.command import Command, Decision
from events.errors import Refusal
from events.record import Event, Record
from events.vocabulary.items import Content, ItemCreated
from events.vocabulary.sessions import Device, SessionStarted
from events.vocabulary.users import Profile, UserRegistered
from projections.state import State

SOURCE = "urn:uuid:00000000-0000-4000-8000-000000000001"

Happened = tuple[str, Event]
"""A subject and what happened to it."""

_R = TypeVar("_R", bound=Refusal)


def at(second: int) -> str:
    """The time so many seconds into the tests' era, as a record has it."""
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def profile(name: str, *, email: str | None = None, password_hash: str | None = None) -> Profile:
    """A profile in which everything follows from the name, unless it is told."""
    return Profile(
        name,
        email or f"{name}@example.org",
        password_hash or f"hash of {name}",
        full_name=name.title(),
    )


def registered(number: int, name: str) -> Happened:
    """A user has registered."""
    return f"users/{number}", UserRegistered(personal=profile(name))


def created(number: int, owner: int, title: str = "a title") -> Happened:
    """An item was created."""
    return f"items/{number}", ItemCreated(owner, personal=Content(title, "a description"))


def started(session: str, user: int) -> Happened:
    """Somebody has logged in."""
    event = SessionStarted(user, at(9_000), f"secret of {session}", personal=Device("::1", "curl"))
    return f"sessions/{session}", event


def records_of(happened: Iterable[Happened]) -> list[Record]:
    """What happened as records, at positions from 1 and one a second."""
    return [
        Record(position, SOURCE, subject, at(position), "operator/test", event)
        for position, (subject, event) in enumerate(happened, 1)
    ]


def state_of(*happened: Happened) -> State:
    """What it all adds up to."""
    return folded_records(records_of(happened))


def folded_records(records: Iterable[Record]) -> State:
    """The state that records add up to."""
    state = State.empty()
    for record in records:
        state.apply(record)
    return state


class When:
    """A command that was decided in a state; deciding must leave the state as it was."""

    def __init__(self, state: State, command: Command) -> None:
        before = state.digest(), state.checksum()
        try:
            self._result: Decision | Refusal = command.decide(state)
        except Refusal as refusal:
            self._result = refusal
        assert (state.digest(), state.checksum()) == before, "deciding changed the state"

    def then(self, subject: str, event: Event) -> Decision:
        """The command came to this event; the decision, for whoever asks for more."""
        assert isinstance(self._result, Decision), f"refused: {self._result!r}"
        assert (self._result.subject, self._result.event) == (subject, event)
        return self._result

    def refused(self, kind: type[_R]) -> _R:
        """The rules said no, in exactly this way; the refusal, for whoever asks for more."""
        assert type(self._result) is kind, f"not refused so: {self._result!r}"
        return self._result


class Given:
    """What happened."""

    def __init__(self, happened: Iterable[Happened]) -> None:
        self.state = state_of(*happened)
        self.state.now = self.state.last.time or at(0)

    def at(self, second: int) -> Given:
        """So much later, in seconds of the tests' era; by default at the last event."""
        self.state.now = at(second)
        return self

    def when(self, command: Command) -> When:
        """Wish something."""
        return When(self.state, command)


def given(*happened: Happened) -> Given:
    """What happened before."""
    return Given(happened)
