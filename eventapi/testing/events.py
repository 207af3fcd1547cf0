"""Hypothesis strategies for events.

Names and numbers come from small sets, so that events meet: a name is taken twice, an item is
changed and deleted.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET, structs

from eventapi.resources.declared import Declared
from eventapi.testing.given import at
from eventapi.testing.items import ITEM, Content
from eventapi.testing.kinds import Kind, declared_of, parts_of
from eventapi.testing.values import structs_of, values_of
from eventapi.values.rules import is_blank
from events.record import Event
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
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

NAMES = ("ann", "Ann", "bob", "BOB", "eve")
EMAILS = ("a@example.org", "A@example.org", "b@example.org", "c@example.org")
SESSIONS = ("s1", "s2", "s3")
ROLES: tuple[Role, ...] = ("auditor", "operator")

any_numbers = st.integers(0, 4)
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
hashes = st.builds(PasswordHash, texts)
devices = st.builds(Device, st.none() | texts, st.none() | texts)
created_at = st.none() | st.just(at(-1))
roles = st.sampled_from(ROLES)
sessions = st.sampled_from(SESSIONS)


def user_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about users; ``hidden`` are unreadable personal values."""
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


def item_events(hidden: Hidden, item: Declared = ITEM) -> st.SearchStrategy[Event]:
    """Events about the items of a registry, whose values may be imported ones."""
    kind = item.type
    contents = st.builds(kind.content, title=titles, description=st.none() | texts)
    changes = st.builds(
        kind.changes, title=st.just(UNSET) | texts, description=st.just(UNSET) | st.none() | texts
    )
    return st.one_of(
        st.builds(kind.created, any_numbers, created_at=created_at, personal=contents | hidden),
        st.builds(kind.updated, personal=changes | hidden),
        st.just(kind.deleted()),
        st.builds(kind.restored, any_numbers, personal=contents | hidden),
    )


def session_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about sessions."""
    return st.one_of(
        st.builds(
            SessionStarted, any_numbers, st.just(at(9_000)), texts, personal=devices | hidden
        ),
        st.builds(SessionRefreshed, st.just(at(9_999)), texts, personal=devices | hidden),
        st.builds(SessionEnded, st.sampled_from(("logout", "revoked", "reuse"))),
    )


def readable_events(item: Declared = ITEM) -> st.SearchStrategy[Event]:
    """Any event about users, sessions and items, its personal values in clear."""
    hidden: Hidden = st.nothing()
    return user_events(hidden) | item_events(hidden, item) | session_events(hidden)


events: st.SearchStrategy[Event] = readable_events()
"""Any event about users, sessions and items, its personal values in clear."""


def resources(kind: Kind) -> st.SearchStrategy[Any]:
    """Valid values of a declared class, as a request could send them."""
    resource = declared_of(kind)
    return structs_of(resource.cls, resource.strict)


def resource_values(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """All values of a resource, by field."""
    return resources(kind).map(structs.asdict)


def resource_changes(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Some values of a resource, at least one, by field."""
    hints = declared_of(kind).strict
    values = {name: values_of(hint) for name, hint in hints.items()}
    return st.fixed_dictionaries({}, optional=values).filter(bool)


def action_arguments(resource: Declared, action: str) -> st.SearchStrategy[dict[str, Any]]:
    """The arguments of an action."""
    return structs_of(resource.actions[action].body).map(structs.asdict)


def resource_events(kind: Kind, hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about resources of a kind, possible or not."""
    resource = declared_of(kind)
    found = resource.type
    whole = resource_values(resource).map(lambda values: parts_of(*resource.contents(values)))
    some = resource_changes(resource).map(lambda values: parts_of(*resource.changes(values)))

    def build(event: type[Event], parts: Any, *arguments: Any, **named: Any) -> Any:
        shut = st.builds(lambda values, sealed: values | {"personal": sealed}, parts, hidden)
        return st.builds(
            lambda values, *rest, **more: event(*rest, **more, **values),
            parts | shut,
            *arguments,
            **named,
        )

    events = [
        build(found.created, whole, any_numbers, created_at=created_at),
        build(found.updated, some),
        build(found.restored, whole, any_numbers),
        st.just(found.deleted()),
        st.builds(found.shared, any_numbers, st.sampled_from(("read", "write"))),
        st.builds(found.unshared, any_numbers),
        *(
            st.builds(_action_event(resource, name), resource_changes(resource))
            for name in found.actions
        ),
    ]
    return st.one_of(events)


def _action_event(resource: Declared, action: str) -> Any:
    def event(changes: dict[str, Any]) -> Event:
        sealed, clear = resource.changes(changes)
        personal = resource.type.arguments(**structs.asdict(sealed))
        return resource.type.actions[action](**parts_of(personal, clear))

    return event
