"""Hypothesis strategies for resources, events, histories and commands.

Names and numbers come from small sets, so that events meet: a name is taken twice, an item is
changed and deleted. The shapes:

- `resources`: valid values of a declared class, such as ``Invoice(number="A", cents=0)``.
- `declarations`: classes of resources themselves.
- `events`: an event, such as ``UserDisabled()``.
- `wild_histories` and `sound_histories`: lists of subjects and events, about all kinds of a
  registry; the sound ones follow the rules.
- `commands` about users, sessions and items, such as ``delete_item(1, 3, None)``, and
  `resource_commands` about all kinds of a registry.

Together with `eventapi.testing.given`: ``given(*draw(sound_histories())).when(draw(commands))``.
"""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.commands.resources import Act, Create, Delete, Restore, Update
from eventapi.commands.sessions import EndSession, Lifetime, StartSession
from eventapi.commands.sharing import Share, Unshare
from eventapi.commands.users import DisableUser, RegisterUser, RehashPassword, UpdateProfile
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing.declarations import declarations
from eventapi.testing.events import (
    EMAILS,
    NAMES,
    action_arguments,
    contents,
    devices,
    events,
    profiles,
    resource_changes,
    resource_values,
    resources,
    sessions,
    texts,
    titles,
    typed_contents,
    typed_names,
    typed_profiles,
    typed_texts,
    typed_titles,
)
from eventapi.testing.given import at
from eventapi.testing.histories import sound_histories, wild_happenings, wild_histories
from eventapi.testing.items import create_item, delete_item, import_item, update_item

__all__ = [
    "commands",
    "declarations",
    "emails",
    "events",
    "names",
    "numbers",
    "profiles",
    "resource_commands",
    "resources",
    "sound_histories",
    "texts",
    "titles",
    "typed_contents",
    "typed_names",
    "typed_profiles",
    "typed_texts",
    "typed_titles",
    "versions",
    "wild_happenings",
    "wild_histories",
]

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
"""Commands about users, sessions and items; most of them are refused in most states."""


def resource_commands(registry: Registry) -> st.SearchStrategy[Command]:
    """Commands about all kinds of a registry; most of them are refused in most states."""
    return st.one_of(*map(_commands_about, registry.resources))


def _commands_about(resource: Declared) -> st.SearchStrategy[Command]:
    this, can = st.just(resource), st.sampled_from(("read", "write"))
    values, changes = resource_values(resource), resource_changes(resource)
    actions = [
        st.builds(
            Act, this, numbers, numbers, st.just(name), action_arguments(resource, name), versions
        )
        for name in resource.actions
    ]
    return st.one_of(
        st.builds(Create, this, numbers, values),
        st.builds(Update, this, numbers, numbers, changes, versions),
        st.builds(Delete, this, numbers, numbers, versions),
        st.builds(Restore, this, numbers, numbers, numbers, values, versions),
        st.builds(Share, this, numbers, numbers, names, can),
        st.builds(Unshare, this, numbers, numbers, names),
        *actions,
    )
