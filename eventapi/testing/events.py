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
from events.vocabulary.keys import KeyCreated, KeyName, KeyRevoked, KeyUsed, Scope
from events.vocabulary.security import LoginFailed, PackQuery, ValuesOpened
from events.vocabulary.sessions import Device, SessionEnded, SessionRefreshed, SessionStarted
from events.vocabulary.users import (
    EmailChange,
    PasswordHash,
    Profile,
    ProfileChanges,
    RecoveryHashes,
    Role,
    TotpSecret,
    UserDisabled,
    UserEmailChanged,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserEnabled,
    UserErased,
    UserPasswordChanged,
    UserPasswordReset,
    UserPasswordResetRequested,
    UserRegistered,
    UserRoleGranted,
    UserRoleRevoked,
    UserSecondFactorUsed,
    UserTotpDisabled,
    UserTotpEnabled,
    UserTotpStarted,
    UserUpdated,
    VerifiedEmail,
)
from events.vocabulary.webhooks import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookReplayed,
    WebhookSecretRotated,
    WebhookUpdated,
)

NAMES = ("ann", "Ann", "bob", "BOB", "eve")
EMAILS = ("a@example.org", "A@example.org", "b@example.org", "c@example.org")
SESSIONS = ("s1", "s2", "s3")
KEYS = ("k1", "k2")
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
email_changes = st.builds(
    EmailChange,
    st.sampled_from(EMAILS),
    st.sampled_from(EMAILS),
    st.just(UNSET) | st.none() | texts,
)
contents = st.builds(Content, title=titles, description=st.none() | texts)
typed_contents = st.builds(Content, title=typed_titles, description=st.none() | typed_texts)
hashes = st.builds(PasswordHash, texts)
devices = st.builds(Device, st.none() | texts, st.none() | texts)
created_at = st.none() | st.just(at(-1))
roles = st.sampled_from(ROLES)
sessions = st.sampled_from(SESSIONS)
keys = st.sampled_from(KEYS)
scopes: st.SearchStrategy[tuple[Scope, ...]] = st.sampled_from((("read",), ("read", "write")))


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
        mail_events(hidden),
        second_factor_events(hidden),
    )


def mail_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about a user's email address and mailed links."""
    return st.one_of(
        st.builds(UserEmailChanged, st.booleans(), personal=email_changes | hidden),
        st.builds(UserEmailVerificationRequested, personal=devices | hidden),
        st.builds(
            UserEmailVerified,
            personal=st.builds(VerifiedEmail, st.sampled_from(EMAILS)) | hidden,
        ),
        st.builds(
            UserPasswordResetRequested,
            st.just(at(9_000)),
            st.sampled_from(("mail", "link")),
            personal=devices | hidden,
        ),
        st.builds(UserPasswordReset, any_numbers, st.booleans(), personal=hashes | hidden),
    )


def second_factor_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about a user's second factor."""
    recovery = st.builds(RecoveryHashes, st.lists(texts, max_size=2))
    return st.one_of(
        st.builds(UserTotpStarted, personal=st.builds(TotpSecret, texts) | hidden),
        st.builds(UserTotpEnabled, any_numbers, personal=recovery | hidden),
        st.just(UserTotpDisabled()),
        st.builds(UserSecondFactorUsed, st.none() | any_numbers, st.none() | any_numbers),
    )


def key_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about API keys."""
    return st.one_of(
        st.builds(
            KeyCreated,
            any_numbers,
            scopes,
            texts,
            st.none() | st.just(at(9_000)),
            personal=st.builds(KeyName, texts) | hidden,
        ),
        st.builds(KeyUsed, personal=devices | hidden),
        st.just(KeyRevoked()),
    )


urls = st.sampled_from(("https://a.example/hook", "http://b.example:8080/?key=1"))
patterns = st.sampled_from(((), ("item.*",), ("user.erased", "item.created")))
webhook_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(WebhookCreated, urls, patterns, texts),
    st.builds(
        WebhookUpdated,
        st.just(UNSET) | urls,
        st.just(UNSET) | patterns,
        st.just(UNSET) | texts,
    ),
    st.just(WebhookDeleted()),
    st.builds(WebhookDisabled, st.sampled_from(("operator", "gone", "failing"))),
    st.just(WebhookEnabled()),
    st.just(WebhookSecretRotated()),
    st.builds(WebhookReplayed, any_numbers),
)
"""Events about webhooks."""


_windows = st.integers(0, 9).map(lambda number: at(600 * number))
_queries = st.builds(PackQuery, st.just(UNSET) | st.just("items/1"), st.just(UNSET) | any_numbers)


def security_events(hidden: Hidden) -> st.SearchStrategy[Event]:
    """Events about security, at a user's account."""
    return st.one_of(
        st.builds(
            LoginFailed,
            _windows,
            any_numbers,
            st.sampled_from(("ab" * 16, "cd" * 16)),
            personal=devices | hidden,
        ),
        st.builds(ValuesOpened, any_numbers),
        st.builds(ValuesOpened, query=_queries, count=any_numbers),
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
    """Any event of the built-in types, with values in clear."""
    hidden: Hidden = st.nothing()
    accounts = user_events(hidden) | session_events(hidden) | key_events(hidden)
    return accounts | security_events(hidden) | item_events(hidden, item) | webhook_events


def likely_events(item: Declared = ITEM) -> st.SearchStrategy[Event]:
    """The same events, in the proportions of a history.

    Items and users are in the majority, and each group is likely, however many types the others have:
    some events are possible only after others of their group.
    """
    hidden: Hidden = st.nothing()
    items, users = item_events(hidden, item), user_events(hidden)
    others = (session_events(hidden), key_events(hidden), security_events(hidden), webhook_events)
    return st.sampled_from((items, items, items, users, users, *others)).flatmap(lambda one: one)


events: st.SearchStrategy[Event] = readable_events()
"""Any event of the built-in types, with values in clear."""


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
    whole = resource_values(resource).map(lambda values: parts_of(resource.contents(values)))
    some = resource_changes(resource).map(lambda values: parts_of(resource.changes(values)))

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
        return resource.type.actions[action](**parts_of(resource.changes_of_action(changes, UNSET)))

    return event
