"""Response bodies: the same entities in the formats of two versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from eventapi.http.decoding import FORM_TYPE, MULTIPART_TYPE
from eventapi.http.schemas.requests import JSON_BODIES, lenient
from events.record import Record
from events.vocabulary.items import Content, ContentChanges
from events.vocabulary.users import Role
from projections.tables.items import Item
from projections.tables.sessions import Session
from projections.tables.users import User

Time = Annotated[
    str,
    Meta(
        description="RFC 3339, UTC, with microseconds.",
        examples=["2026-01-02T03:04:05.678901Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
NaiveTime = Annotated[
    str,
    Meta(
        description="ISO 8601 in UTC without an offset, with microseconds.",
        examples=["2026-01-02T03:04:05.678901"],
    ),
]
Id = Annotated[int, Meta(ge=1, description="Never reused.")]
Version = Annotated[int, Meta(ge=1, description="The position of the last event.")]


class UserV1(msgspec.Struct, frozen=True, gc=False):
    """A user, as version 1 shows them."""

    username: str
    email: str
    full_name: str | None
    disabled: bool
    created_at: NaiveTime


class UserV2(msgspec.Struct, frozen=True, gc=False):
    """A user, as version 2 shows them."""

    username: str
    email: str
    full_name: str | None
    disabled: bool
    created_at: Time
    roles: list[Role]


class ItemV1(msgspec.Struct, frozen=True, gc=False):
    """An item, as version 1 shows it."""

    id: Id
    title: str
    description: str | None
    owner: str
    created_at: NaiveTime


class ItemV2(msgspec.Struct, frozen=True, gc=False):
    """An item, as version 2 shows it."""

    id: Id
    title: str
    description: str | None
    owner: str
    created_at: Time
    updated_at: Time
    version: Version


UserView: TypeAlias = UserV1 | UserV2
ItemView: TypeAlias = ItemV1 | ItemV2
"""Return types of handlers in all versions.

`ApiVersion.namespace` has the types of one version.
"""


class Change(msgspec.Struct, frozen=True, gc=False):
    """A change of an item; ``changes`` has the new values."""

    position: Version
    time: Time
    type: Literal["item.created", "item.updated", "item.deleted", "item.restored"]
    actor: str
    changes: ContentChanges


class ItemChange(msgspec.Struct, frozen=True, gc=False):
    """A change of one of the caller's items."""

    position: Version
    time: Time
    type: str
    actor: str
    item: Id
    changes: ContentChanges


def changes_of(record: Record) -> ContentChanges:
    """The values that an event of an item sets."""
    personal = getattr(record.event, "personal", None)
    if isinstance(personal, Content | ContentChanges):
        return ContentChanges(title=personal.title, description=personal.description)
    return ContentChanges()


class EventPage(msgspec.Struct, frozen=True, gc=False):
    """A page of records of the log, and the URL of the next page."""

    items: list[Any]
    next: str | None


class OpenedEvent(msgspec.Struct, frozen=True, gc=False):
    """A record of the log, its decrypted personal data, and its inclusion proof.

    ``personal`` is null if the record has no sealed data or its key is destroyed. ``proof`` is a
    C2SP tlog-proof.
    """

    record: Any
    personal: dict[str, Any] | None
    proof: str


class PageV2(msgspec.Struct, frozen=True, gc=False):
    """A page of items, and the URL of the next page."""

    items: list[ItemV2]
    next: str | None


ItemPage: TypeAlias = list[ItemV1] | PageV2


class TokenPair(msgspec.Struct, frozen=True, gc=False):
    """An access token, valid for ``expires_in`` seconds, and a refresh token."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    refresh_token: str


class SessionView(msgspec.Struct, frozen=True, gc=False):
    """A session; ``current`` is true for the session of the request."""

    id: str
    started_at: Time
    expires_at: Time
    address: str | None
    user_agent: str | None
    current: bool


def session_view(session: Session, current: str) -> SessionView:
    """The view of a session; ``current`` is the id of the request's session."""
    return SessionView(
        session.id,
        session.started_at,
        session.expires_at,
        session.address,
        session.user_agent,
        session.id == current,
    )


class ApiVersion(msgspec.Struct, frozen=True):
    """A version of the API: everything that differs between versions.

    ``body`` returns the version's type of a body for the strict type. ``default_media_type`` applies
    to bodies that declare none. ``form_types`` are the media types of forms at the token endpoints.
    With ``lists_all``, a list without ``limit`` has all items. ``statuses`` replaces the statuses of
    problems, by slug, for authenticated requests.
    """

    name: str
    prefixes: tuple[str, ...]
    created_status: int
    user_type: type
    item_type: type
    page_type: Any
    user: Callable[[User], UserView]
    item: Callable[[Item, str], ItemView]
    page: Callable[[Sequence[Item], str, str | None], ItemPage]
    body: Callable[[Any], Any]
    default_media_type: str
    form_types: Sequence[str]
    lists_all: bool
    statuses: Mapping[str, int] = {}

    @property
    def namespace(self) -> dict[str, Any]:
        """The types of this version by the names in the annotations of handlers."""
        views = {
            "UserView": self.user_type,
            "ItemView": self.item_type,
            "ItemPage": self.page_type,
        }
        return views | {kind.__name__: self.body(kind) for kind in JSON_BODIES}


def _user_v1(user: User) -> UserV1:
    created_at = user.created_at.removesuffix("Z")
    return UserV1(user.username, user.email, user.full_name, user.disabled, created_at)


def _user_v2(user: User) -> UserV2:
    return UserV2(
        user.username,
        user.email,
        user.full_name,
        user.disabled,
        user.created_at,
        sorted(user.roles),
    )


def _item_v1(item: Item, owner: str) -> ItemV1:
    created_at = item.created_at.removesuffix("Z")
    return ItemV1(item.id, item.title, item.description, owner, created_at)


def _item_v2(item: Item, owner: str) -> ItemV2:
    return ItemV2(
        item.id,
        item.title,
        item.description,
        owner,
        item.created_at,
        item.updated_at,
        item.version,
    )


def _page_v1(items: Sequence[Item], owner: str, _: str | None) -> list[ItemV1]:
    return [_item_v1(item, owner) for item in items]


def _page_v2(items: Sequence[Item], owner: str, following: str | None) -> PageV2:
    return PageV2([_item_v2(item, owner) for item in items], following)


V1 = ApiVersion(
    "v1",
    ("", "/api/v1"),
    200,
    UserV1,
    ItemV1,
    list[ItemV1],
    _user_v1,
    _item_v1,
    _page_v1,
    body=lenient,
    default_media_type="application/json",
    form_types=(FORM_TYPE, MULTIPART_TYPE),
    lists_all=True,
)
V2 = ApiVersion(
    "v2",
    ("/api/v2",),
    201,
    UserV2,
    ItemV2,
    PageV2,
    _user_v2,
    _item_v2,
    _page_v2,
    body=lambda kind: kind,
    default_media_type="",
    form_types=(FORM_TYPE,),
    lists_all=False,
    statuses={"invalid-credentials": 403},
)

VERSIONS = (V1, V2)
