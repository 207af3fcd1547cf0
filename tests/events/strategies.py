"""Hypothesis strategies for the whole vocabulary, and for histories that a log could hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from events.codec import PERSONAL
from events.record import Event, Personal, Record
from events.vocabulary.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from events.vocabulary.sessions import (
    Device,
    EndReason,
    SessionEnded,
    SessionRefreshed,
    SessionStarted,
)
from events.vocabulary.users import (
    PasswordHash,
    Profile,
    ProfileChanges,
    Role,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)
from tests.events.log_helpers import SOURCE

texts = st.text(max_size=30)
numbers = st.integers(1, 9)
times = st.integers(0, 999_999).map(lambda part: f"2026-01-02T03:04:05.{part:06}Z")
session_ids = st.integers(0, 5).map("{:032x}".format)
refresh_hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)

personals: Mapping[type[Personal], st.SearchStrategy[Personal]] = {
    Profile: st.builds(Profile, texts, texts, texts, st.none() | texts),
    ProfileChanges: st.builds(ProfileChanges, st.just(UNSET) | texts, st.just(UNSET) | texts),
    PasswordHash: st.builds(PasswordHash, texts),
    Device: st.builds(Device, st.none() | texts, st.none() | texts),
    Content: st.builds(Content, texts, st.none() | texts),
    ContentChanges: st.builds(
        ContentChanges, st.just(UNSET) | texts, st.just(UNSET) | st.none() | texts
    ),
}

_roles = st.sampled_from(get_args(Role))
_bare: Mapping[type[Event], st.SearchStrategy[Event]] = {
    UserRegistered: st.builds(UserRegistered, st.none() | times),
    UserUpdated: st.builds(UserUpdated),
    UserPasswordChanged: st.one_of(
        st.builds(UserPasswordChanged, st.just("changed"), st.none() | session_ids),
        st.builds(UserPasswordChanged, st.just("rehashed")),
    ),
    UserDisabled: st.builds(UserDisabled),
    UserEnabled: st.builds(UserEnabled),
    UserRoleGranted: st.builds(UserRoleGranted, _roles),
    UserRoleRevoked: st.builds(UserRoleRevoked, _roles),
    UserErased: st.builds(UserErased),
    SessionStarted: st.builds(SessionStarted, numbers, times, refresh_hashes),
    SessionRefreshed: st.builds(SessionRefreshed, times, refresh_hashes),
    SessionEnded: st.builds(SessionEnded, st.sampled_from(get_args(EndReason))),
    ItemCreated: st.builds(ItemCreated, numbers, st.none() | times),
    ItemUpdated: st.builds(ItemUpdated),
    ItemDeleted: st.builds(ItemDeleted),
    ItemRestored: st.builds(ItemRestored, numbers),
}


def _with_personal(event: Event) -> st.SearchStrategy[Event]:
    kind = PERSONAL.get(type(event))
    if kind is None:
        return st.just(event)
    return personals[kind].map(lambda personal: msgspec.structs.replace(event, personal=personal))


events_by_type: Mapping[type[Event], st.SearchStrategy[Event]] = {
    kind: bare.flatmap(_with_personal) for kind, bare in _bare.items()
}
"""One strategy for each type of the vocabulary, personal values in clear."""

events = st.one_of(*events_by_type.values())


@st.composite
def records(draw: st.DrawFn, position: int = 1, time: str | None = None) -> Record:
    """A record of any type whose seal, if it has one, is that of one of nine users."""
    event = draw(events)
    room = event.type.partition(".")[0]
    number = draw(session_ids) if room == "session" else str(draw(numbers))
    return Record(
        position,
        SOURCE,
        f"{room}s/{number}",
        time or draw(times),
        draw(st.one_of(numbers.map("users/{}".format), texts.map("operator/{}".format))),
        event,
        f"users/{draw(numbers)}" if type(event) in PERSONAL else "",
        draw(st.just("") | texts),
    )


@st.composite
def histories(draw: st.DrawFn, min_size: int = 0, max_size: int = 12) -> list[Record]:
    """Records at dense positions whose time never goes back; hashes and ends are not set."""
    clock = sorted(draw(st.lists(times, min_size=min_size, max_size=max_size)))
    return [draw(records(position, time)) for position, time in enumerate(clock, 1)]
