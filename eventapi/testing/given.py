"""Given / when / then: test a command against the events before it.

>>> ann_registered = given(registered(1, "ann"))
>>> decision = ann_registered.when(DisableUser("ann", "operator/root"))
>>> decision.then("users/1", UserDisabled())  # or: decision.refused(NotFound)

`given` folds events into a `State`. `Given.when` decides one command in that state, and checks that
deciding does not change it. `When.then` asserts the event, `When.refused` the refusal. The kinds of
resources are those of the events and of the command; `eventapi.testing.resources` makes both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload

from eventapi.commands.command import Command, Decision
from eventapi.commands.resources import ResourceCommand
from eventapi.testing.items import Content, ItemCreated
from eventapi.testing.kinds import vocabulary_of
from events.errors import Refusal
from events.record import Event, Record
from events.vocabulary.resources import ResourceType
from events.vocabulary.sessions import Device, SessionStarted
from events.vocabulary.users import Profile, UserRegistered
from projections.state import State

SOURCE = "urn:uuid:00000000-0000-4000-8000-000000000001"

Happened = tuple[str, Event]
"""A subject and an event: ``("users/1", UserDisabled())``."""

_R = TypeVar("_R", bound=Refusal)


def at(second: float) -> str:
    """A time, in a record's form, so many seconds after the start of 2026."""
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def profile(name: str, *, email: str | None = None, password_hash: str | None = None) -> Profile:
    """A profile whose members are derived from the name unless they are given."""
    return Profile(
        name,
        email or f"{name}@example.org",
        password_hash or f"hash of {name}",
        full_name=name.title(),
    )


def registered(number: int, name: str) -> Happened:
    """The registration of user ``number``."""
    return f"users/{number}", UserRegistered(personal=profile(name))


def created(number: int, owner: int, title: str = "a title") -> Happened:
    """The creation of item ``number`` by user ``owner``."""
    return f"items/{number}", ItemCreated(owner, personal=Content(title, "a description"))


def started(session: str, user: int) -> Happened:
    """The start of a session of user ``user``."""
    event = SessionStarted(user, at(9_000), f"secret of {session}", personal=Device("::1", "curl"))
    return f"sessions/{session}", event


def records_of(happened: Iterable[Happened]) -> list[Record]:
    """Events as records: positions from 1, one second apart."""
    return [
        Record(position, SOURCE, subject, at(position), "operator/test", event)
        for position, (subject, event) in enumerate(happened, 1)
    ]


def state_of(*happened: Happened) -> State:
    """Fold events into a state."""
    return folded_records(records_of(happened))


def folded_records(records: Iterable[Record], *others: ResourceType) -> State:
    """Fold records into a state with the kinds of the events and ``others``."""
    records = list(records)
    state = State.empty(vocabulary_of((record.event for record in records), *others))
    for record in records:
        state.apply(record)
    return state


class When:
    """The decision about a command; deciding must not change the state."""

    def __init__(self, state: State, command: Command) -> None:
        before = state.digest(), state.checksum()
        try:
            self._result: Decision | Refusal = command.decide(state)
        except Refusal as refusal:
            self._result = refusal
        assert (state.digest(), state.checksum()) == before, "deciding changed the state"

    @overload
    def then(self, happened: Happened, /) -> Decision: ...

    @overload
    def then(self, subject: str, event: Event, /) -> Decision: ...

    def then(self, *happened: Any) -> Decision:
        """Assert that the command led to this subject and event; return the decision."""
        expected = happened if len(happened) == 2 else happened[0]
        assert isinstance(self._result, Decision), f"refused: {self._result!r}"
        assert (self._result.subject, self._result.event) == expected
        return self._result

    def refused(self, kind: type[_R]) -> _R:
        """Assert that the command was refused with exactly this type; return the refusal."""
        assert type(self._result) is kind, f"not refused with {kind.__name__}: {self._result!r}"
        return self._result


class Given:
    """The state after some events; its time is that of the last one."""

    def __init__(self, happened: Iterable[Happened]) -> None:
        self._records = records_of(happened)
        self.state = folded_records(self._records)
        self.state.now = self.state.last.time or at(0)

    def at(self, second: int) -> Given:
        """Set the time of the state to `at` of ``second``."""
        self.state.now = at(second)
        return self

    def when(self, command: Command) -> When:
        """Decide a command in this state."""
        if isinstance(command, ResourceCommand):
            resource = command.resource.type
            if resource not in self.state.vocabulary.resources:
                now, self.state = self.state.now, folded_records(self._records, resource)
                self.state.now = now
        return When(self.state, command)


def given(*happened: Happened) -> Given:
    """The state after events: ``given(registered(1, "ann"), created(1, owner=1))``."""
    return Given(happened)
