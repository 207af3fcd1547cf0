"""Hypothesis strategies for events, histories and commands.

Names and numbers come from small sets, so that events meet: a name is taken twice, an item is
changed and deleted. The shapes:

- `events`: an event, such as ``UserDisabled()``.
- `wild_happenings`: a subject and an event, ``("items/3", ItemDeleted())``, possible or not.
- `wild_histories` and `sound_histories`: lists of those; the sound ones follow the rules.
- `commands`: a command, such as ``delete_item(1, 3, None)``.

Together with `eventapi.testing.given`: ``given(*draw(sound_histories())).when(draw(commands))``.
"""

from __future__ import annotations

from typing import cast

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.commands.sessions import EndSession, Lifetime, StartSession
from eventapi.commands.users import DisableUser, RegisterUser, RehashPassword, UpdateProfile
from eventapi.testing.given import Happened, at, records_of
from eventapi.testing.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
    create_item,
    delete_item,
    empty_state,
    import_item,
    update_item,
)
from eventapi.values.rules import is_blank
from events.record import Event
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from events.vocabulary.users import (
    PasswordHash,
    Profile,
    ProfileChanges,
    UserDisabled,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserUpdated,
)

NAMES = ("ann", "Ann", "bob", "BOB", "eve")
EMAILS = ("a@example.org", "A@example.org", "b@example.org", "c@example.org")
SESSIONS = ("s1", "s2", "s3")
ROLES: tuple[str, ...] = ("auditor", "operator")

_any_numbers = st.integers(0, 4)
texts = st.text(max_size=3)
titles = st.text(max_size=3).filter(lambda text: not is_blank(text))
_clear = st.characters(exclude_categories=("Cc", "Cf", "Cs"))
typed_titles = st.text(_clear, max_size=3).filter(lambda text: not is_blank(text))
typed_texts = st.text(_clear | st.sampled_from("\t\n\r"), max_size=3)
typed_names = st.text(_clear, max_size=3).filter(
    lambda text: not text.strip() or not is_blank(text)
)
"""Texts that keep the rules about typed values; an imported text may be any other."""
Hidden = st.SearchStrategy[str | None]

unknown: Hidden = st.none() | st.just("sealed text")
"""Unreadable personal values: the key was destroyed, or the seal is not opened yet."""

profiles = st.builds(
    Profile,
    username=st.sampled_from(NAMES),
    email=st.sampled_from(EMAILS),
    password_hash=texts,
    full_name=st.none() | texts,
)
typed_profiles = st.builds(
    Profile,
    username=st.sampled_from(NAMES),
    email=st.sampled_from(EMAILS),
    password_hash=texts,
    full_name=st.none() | typed_names,
)
profile_changes = st.builds(
    ProfileChanges,
    email=st.just(UNSET) | st.sampled_from(EMAILS),
    full_name=st.just(UNSET) | st.none() | texts,
)
contents = st.builds(Content, title=titles, description=st.none() | texts)
typed_contents = st.builds(Content, title=typed_titles, description=st.none() | typed_texts)
content_changes = st.builds(
    ContentChanges, title=st.just(UNSET) | texts, description=st.just(UNSET) | st.none() | texts
)
hashes = st.builds(PasswordHash, texts)
devices = st.builds(Device, st.none() | texts, st.none() | texts)
created_at = st.none() | st.just(at(-1))
roles = st.sampled_from(ROLES)
sessions = st.sampled_from(SESSIONS)


def _user_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(UserRegistered, created_at=created_at, personal=profiles | hidden),
        st.builds(UserUpdated, personal=profile_changes | hidden),
        st.builds(
            UserPasswordChanged,
            reason=st.sampled_from(("changed", "rehashed")),
            session=st.none() | sessions,
            personal=hashes | hidden,
        ),
        st.just(UserDisabled()),
        st.just(UserEnabled()),
        st.builds(UserRoleGranted, roles),
        st.builds(UserRoleRevoked, roles),
        st.just(UserErased()),
    )


def _item_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(ItemCreated, _any_numbers, created_at=created_at, personal=contents | hidden),
        st.builds(ItemUpdated, personal=content_changes | hidden),
        st.just(ItemDeleted()),
        st.builds(ItemRestored, _any_numbers, personal=contents | hidden),
    )


def _session_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    return st.one_of(
        st.builds(
            SessionStarted, _any_numbers, st.just(at(9_000)), texts, personal=devices | hidden
        ),
        st.builds(SessionRefreshed, st.just(at(9_999)), texts, personal=devices | hidden),
        st.builds(SessionEnded, st.sampled_from(("logout", "revoked", "reuse"))),
    )


wild_happenings: st.SearchStrategy[Happened] = st.one_of(
    st.tuples(_any_numbers.map("users/{}".format), _user_events(unknown)),
    st.tuples(_any_numbers.map("items/{}".format), _item_events(unknown)),
    st.tuples(sessions.map("sessions/{}".format), _session_events(unknown)),
)
"""Any event with any subject: unknown numbers, double deletions, unreadable values."""

wild_histories = st.integers(0, 30).flatmap(
    lambda size: st.lists(wild_happenings, min_size=size, max_size=size)
)


class _Guide:
    """Builds a history that follows the rules: each event gets a possible subject."""

    def __init__(self) -> None:
        self.history: list[Happened] = []
        self._state = empty_state()

    def add(self, event: Event, pick: int) -> None:
        """Append an event with the ``pick``-th of its possible subjects, if there is one."""
        happened = self._place(event, pick)
        if happened is not None:
            self.history.append(happened)
            self._state.apply(records_of(self.history)[-1])

    def _place(self, event: Event, pick: int) -> Happened | None:
        users, items, sessions = self._state.users, self._state["items"], self._state.sessions
        alive = [user.id for user in users.by_id.values() if user.status != "erased"]
        if isinstance(event, UserRegistered):
            return self._with_free_name(f"users/{users.last_id + 1}", event)
        if not alive:
            return None
        if isinstance(event, UserUpdated):
            return self._with_free_email(alive[pick % len(alive)], event)
        if isinstance(event, ItemCreated):
            owned = msgspec.structs.replace(event, owner=alive[pick % len(alive)])
            return f"items/{items.last_id + 1 + pick % 2}", owned
        if isinstance(event, SessionStarted):
            begun = msgspec.structs.replace(event, user=alive[pick % len(alive)])
            return f"sessions/s{len(self.history)}", begun
        kind = event.type.partition(".")[0]
        candidates = {
            "user": [f"users/{number}" for number in alive],
            "item": [f"items/{number}" for number in items.by_id],
            "session": [f"sessions/{name}" for name in sessions.by_id],
        }[kind]
        if isinstance(event, ItemRestored):
            candidates += [
                f"items/{item.id}" for item in items.deleted.values() if item.owner in alive
            ]
        return (candidates[pick % len(candidates)], event) if candidates else None

    def _with_free_name(self, subject: str, event: UserRegistered) -> Happened | None:
        new = cast("Profile", event.personal)
        users = self._state.users
        taken = users.find_by_username(new.username) or users.find_by_email(new.email)
        return None if taken else (subject, event)

    def _with_free_email(self, number: int, event: UserUpdated) -> Happened | None:
        email = cast("ProfileChanges", event.personal).email
        holder = None if email is UNSET else self._state.users.find_by_email(email)
        return (f"users/{number}", event) if holder is None or holder.id == number else None


events: st.SearchStrategy[Event] = (
    _user_events(st.nothing()) | _item_events(st.nothing()) | _session_events(st.nothing())
)
"""Any event of the vocabulary, its personal values in clear."""


@st.composite
def sound_histories(draw: st.DrawFn, *, max_size: int = 40) -> list[Happened]:
    """Histories that commands can write: every rule about state is kept."""
    guide = _Guide()
    steps = st.tuples(events, st.integers(0, 5))
    guide.add(UserRegistered(personal=draw(profiles)), 0)
    # Drawn first, because Hypothesis prefers short lists.
    size = draw(st.integers(0, max_size))
    for event, pick in draw(st.lists(steps, min_size=size, max_size=size)):
        guide.add(event, pick)
    return guide.history


numbers = st.integers(1, 4)
names = st.sampled_from(NAMES)
emails = st.sampled_from(EMAILS)
versions = st.none() | st.frozensets(st.integers(1, 12), max_size=4)

commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(RegisterUser, typed_profiles),
    st.builds(RegisterUser, profiles, imported=st.just(True)),
    st.builds(
        UpdateProfile,
        numbers,
        st.just(UNSET) | emails,
        st.just(UNSET) | st.none() | typed_names,
    ),
    st.builds(RehashPassword, numbers, texts, texts),
    st.builds(DisableUser, names, st.just("operator/root")),
    st.builds(
        StartSession, numbers, texts, sessions, texts, st.just(Lifetime(600, 9_000)), devices
    ),
    st.builds(EndSession, numbers, sessions, st.just("logout")),
    st.builds(create_item, numbers, typed_contents),
    st.builds(
        import_item,
        names,
        contents,
        st.just(at(-9)),
        numbers,
        numbers,
        st.just("operator/x"),
    ),
    st.builds(
        update_item,
        numbers,
        numbers,
        st.just(UNSET) | typed_titles,
        st.just(UNSET) | st.none() | typed_texts,
        versions,
    ),
    st.builds(delete_item, numbers, numbers, versions),
)
"""Commands of every kind; most of them are refused in most states."""
