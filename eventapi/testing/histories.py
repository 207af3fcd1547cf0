"""Hypothesis strategies for histories: lists of subjects and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from eventapi.commands.command import Command, Decision
from eventapi.commands.declarations import declaration_of
from eventapi.commands.resources import Act, Create, Delete, Restore, Update
from eventapi.commands.sharing import Share, Unshare
from eventapi.resources import access
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing import events as strategies
from eventapi.testing.given import Happened, records_of, registered
from eventapi.testing.items import REGISTRY
from events.errors import Refusal
from events.record import Event
from events.vocabulary.keys import KeyCreated
from events.vocabulary.resources import Created, Restored
from events.vocabulary.security import OTHER_NAMES
from events.vocabulary.sessions import SessionStarted
from events.vocabulary.users import (
    EmailChange,
    Profile,
    ProfileChanges,
    UserEmailChanged,
    UserRegistered,
    UserRoleGranted,
    UserUpdated,
)
from events.vocabulary.webhooks import WebhookCreated
from projections.state import State
from projections.tables.users import User


def wild_happenings(registry: Registry = REGISTRY) -> st.SearchStrategy[Happened]:
    """Any event with any subject: unknown numbers, unreadable values."""
    hidden, numbers = strategies.unknown, strategies.any_numbers
    found: list[Any] = [
        st.tuples(numbers.map("users/{}".format), strategies.user_events(hidden)),
        st.tuples(numbers.map("items/{}".format), strategies.item_events(hidden, registry.item)),
        st.tuples(strategies.sessions.map("sessions/{}".format), strategies.session_events(hidden)),
        st.tuples(strategies.keys.map("keys/{}".format), strategies.key_events(hidden)),
        st.tuples(numbers.map("webhooks/{}".format), strategies.webhook_events),
        st.tuples(numbers.map("users/{}".format), strategies.security_events(hidden)),
        st.tuples(st.just(OTHER_NAMES), strategies.security_events(st.none())),
    ]
    for resource in registry.resources:
        if resource is not registry.item:
            subjects = numbers.map(resource.type.subject)
            found.append(st.tuples(subjects, strategies.resource_events(resource, hidden)))
    return st.one_of(found)


def wild_histories(registry: Registry = REGISTRY) -> st.SearchStrategy[list[Happened]]:
    """Known events in any order, possible or not, about all kinds of a registry."""
    happenings = wild_happenings(registry)
    return st.integers(0, 30).flatmap(
        lambda size: st.lists(happenings, min_size=size, max_size=size)
    )


class _Guide:
    """Builds a history that follows the rules: each event gets a possible subject."""

    def __init__(self, registry: Registry) -> None:
        self.history: list[Happened] = []
        self.state = State.empty(registry.vocabulary)
        self.past: dict[str, list[tuple[int, dict[str, Any]]]] = {}

    def add(self, event: Event, pick: int) -> None:
        """Append an event with the ``pick``-th of its possible subjects, if there is one."""
        happened = self._place(event, pick)
        if happened is not None:
            self.append(happened)

    def append(self, happened: Happened) -> None:
        """Append an event that is possible now."""
        self.history.append(happened)
        self.state.apply(records_of(self.history)[-1])

    def decide(self, resource: Declared, command: Command) -> None:
        """Append what a command about a resource decides, if it is not refused."""
        try:
            decision: Decision = command.decide(self.state)
        except Refusal:
            return
        declaration = declaration_of(self.state.resources, resource.type)
        if declaration is not None:
            self.append((declaration.subject, declaration.event))
        self.append((decision.subject, decision.event))
        number = int(decision.subject.partition("/")[2])
        entity = self.state[resource.collection].by_id.get(number)
        if entity is not None:
            values = {name: getattr(entity, name) for name in resource.names}
            self.past.setdefault(decision.subject, []).append((self.state.position, values))

    def _place(self, event: Event, pick: int) -> Happened | None:
        users, items, sessions = self.state.users, self.state["items"], self.state.sessions
        alive = [user.id for user in users.by_id.values() if user.status != "erased"]
        if isinstance(event, UserRegistered):
            return self._with_free_name(f"users/{users.last_id + 1}", event)
        if not alive:
            return None
        if isinstance(event, UserUpdated | UserEmailChanged):
            return self._with_free_email(alive[pick % len(alive)], event)
        if isinstance(event, Created):
            owned = msgspec.structs.replace(event, owner=alive[pick % len(alive)])
            return f"items/{items.last_id + 1 + pick % 2}", owned
        if isinstance(event, SessionStarted | KeyCreated):
            begun = msgspec.structs.replace(event, user=alive[pick % len(alive)])
            table = "sessions/s" if isinstance(event, SessionStarted) else "keys/k"
            return f"{table}{len(self.history)}", begun
        kind = event.type.partition(".")[0]
        candidates = {
            "user": [f"users/{number}" for number in alive],
            "item": [f"items/{number}" for number in items.by_id],
            "session": [f"sessions/{name}" for name in sessions.by_id],
            "key": [f"keys/{name}" for name in self.state.keys.by_id],
            "webhook": self._webhooks(event),
            "security": [f"users/{number}" for number in alive],
            "audit": [f"users/{number}" for number in alive],
        }[kind]
        if isinstance(event, Restored):
            candidates += [
                f"items/{item.id}" for item in items.deleted.values() if item.owner in alive
            ]
        return (candidates[pick % len(candidates)], event) if candidates else None

    def _webhooks(self, event: Event) -> list[str]:
        webhooks = self.state.webhooks
        if isinstance(event, WebhookCreated):
            return [f"webhooks/{webhooks.last_id + 1}"]
        return [f"webhooks/{number}" for number in webhooks.by_id]

    def _with_free_name(self, subject: str, event: UserRegistered) -> Happened | None:
        new = cast("Profile", event.personal)
        users = self.state.users
        taken = users.find_by_username(new.username) or users.find_by_email(new.email)
        return None if taken else (subject, event)

    def _with_free_email(
        self, number: int, event: UserUpdated | UserEmailChanged
    ) -> Happened | None:
        email = cast("ProfileChanges | EmailChange", event.personal).email
        holder = None if email is UNSET else self.state.users.find_by_email(email)
        return (f"users/{number}", event) if holder is None or holder.id == number else None


@st.composite
def sound_histories(
    draw: st.DrawFn, registry: Registry = REGISTRY, *, max_size: int = 40
) -> list[Happened]:
    """Histories that commands can write about all kinds of a registry."""
    guide = _Guide(registry)
    declared = [one for one in registry.resources if one is not registry.item]
    steps = st.tuples(strategies.likely_events(registry.item), st.integers(0, 5))
    if declared:
        _register_users(draw, guide, declared)
    else:
        guide.add(UserRegistered(personal=draw(strategies.profiles)), 0)
    # Drawn first, because Hypothesis prefers short lists.
    size = draw(st.integers(0, max_size))
    if not declared:
        for event, pick in draw(st.lists(steps, min_size=size, max_size=size)):
            guide.add(event, pick)
        return guide.history
    for _ in range(size):
        if draw(st.integers(0, 3)):
            resource = draw(st.sampled_from(declared))
            command = _possible_command(draw, guide, resource)
            if command is not None:
                guide.decide(resource, command)
        else:
            guide.add(*draw(steps))
    return guide.history


def _register_users(draw: st.DrawFn, guide: _Guide, declared: Sequence[Declared]) -> None:
    """Register users, most often several, and give one the roles that may write."""
    names = draw(st.sampled_from((("ann", "bob", "eve"), ("ann", "bob"), ("ann",))))
    for number, name in enumerate(names, 1):
        guide.append(registered(number, name))
    for role in {one.access.write for one in declared} - {"owner"}:
        guide.append(("users/1", UserRoleGranted(role)))


def _possible_command(draw: st.DrawFn, guide: _Guide, resource: Declared) -> Command | None:
    """A command that is likely to be accepted; ``None`` if there is no user for it."""
    state = guide.state
    users = [user for user in state.users.by_id.values() if user.status == "enabled"]
    table = state[resource.collection]
    numbers = sorted([*table.by_id, *table.deleted])
    creators = [user for user in users if access.may_create(resource, user)]
    if creators and (not numbers or draw(st.integers(0, 3)) == 0):
        creator = draw(st.sampled_from(creators))
        return Create(resource, creator.id, draw(strategies.resource_values(resource)))
    if not numbers:
        return None
    number = draw(st.sampled_from(numbers))
    found = table.find(number)
    writers = [user for user in users if found and access.may_write(resource, state, user, found)]
    if not writers:
        return None
    writer = draw(st.sampled_from(writers))
    if number in table.deleted or draw(st.integers(0, 4)) == 0:
        position, values = draw(st.sampled_from(guide.past[resource.type.subject(number)]))
        return Restore(resource, writer.id, number, position, values)
    return _change(draw, resource, number, writer, users)


def _change(
    draw: st.DrawFn, resource: Declared, number: int, writer: User, users: list[User]
) -> Command:
    """A command about a live resource."""
    verbs = ["update", "update", "delete", *resource.actions]
    if resource.shareable:
        verbs += ["share", "share", "share", "unshare"]
    verb = draw(st.sampled_from(verbs))
    if verb == "delete":
        return Delete(resource, writer.id, number)
    if verb in {"share", "unshare"}:
        username = draw(st.sampled_from(users)).username
        if verb == "unshare":
            return Unshare(resource, writer.id, number, username)
        can = draw(st.sampled_from(("read", "write")))
        return Share(resource, writer.id, number, username, can)
    if verb in resource.actions:
        arguments = draw(strategies.action_arguments(resource, verb))
        return Act(resource, writer.id, number, verb, arguments)
    return Update(resource, writer.id, number, draw(strategies.resource_changes(resource)))
