"""Response bodies: the same entities in the formats of two versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.decoding import FORM_TYPE, MULTIPART_TYPE
from eventapi.http.schemas.requests import JSON_BODIES, lenient
from events.vocabulary.keys import Scope
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
    roles: list[str]
    email_verified: bool


UserView: TypeAlias = UserV1 | UserV2
"""The return type of handlers in all versions; `ApiVersion.namespace` has that of one."""


class EventPage(msgspec.Struct, frozen=True, gc=False):
    """A page of records of the log, and the URL of the next page."""

    items: list[Any]
    next: str | None


class OpenedEvent(msgspec.Struct, frozen=True, gc=False):
    """A record of the log, its decrypted personal data, and its inclusion proof.

    ``personal`` is null if the record has no sealed data or its key is destroyed. ``reason`` is the
    reason of the change, if it has one. ``clear`` is the exact text that is sealed; the base64url of
    its SHA-256 is the ``commitment`` of the record. It is left out if the record has none, or if
    there are secrets in it. ``proof`` is a C2SP tlog-proof.
    """

    record: Any
    personal: dict[str, Any] | None
    proof: str
    reason: str | UnsetType = UNSET
    clear: str | UnsetType = UNSET


class TokenPair(msgspec.Struct, frozen=True, gc=False):
    """An access token, valid for ``expires_in`` seconds, and a refresh token."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    refresh_token: str


class TotpSetup(msgspec.Struct, frozen=True, gc=False):
    """A secret in base32, and its ``otpauth:`` URI for authenticator apps."""

    secret: str
    uri: str


class RecoveryCodes(msgspec.Struct, frozen=True, gc=False):
    """The recovery codes; each works once in place of a code of the app."""

    recovery_codes: list[str]


class KeyView(msgspec.Struct, frozen=True, gc=False):
    """An API key without its secret; ``last_used_at`` may be an hour old."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class CreatedKeyView(KeyView, frozen=True, gc=False, kw_only=True):
    """A new API key; ``key`` is shown only here."""

    key: str


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


class AccountEventView(msgspec.Struct, frozen=True, gc=False):
    """An event about an account; members that do not apply are left out.

    ``session`` and ``key`` are the ids of the session and the API key that it is about, or that it
    was made with. ``address`` and ``user_agent`` are those of its request, or the last ones before it
    of the session or key. ``changes`` has the new values by name, never a secret.
    """

    position: Annotated[int, Meta(ge=1, description="The position of the event in the log.")]
    time: Time
    type: Annotated[str, Meta(examples=["session.started"])]
    actor: Annotated[str, Meta(examples=["users/1"])]
    session: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    user_agent: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    changes: dict[str, Any] | UnsetType = UNSET


class AccountEventPage(msgspec.Struct, frozen=True, gc=False):
    """A page of events about an account, and the URL of the next page."""

    items: list[AccountEventView]
    next: str | None


AccountEventsView: TypeAlias = AccountEventPage | list[AccountEventView]
"""The return type of a handler in all versions; see `UserView`."""


class ApiVersion(msgspec.Struct, frozen=True):
    """A version of the API: everything that differs between versions.

    ``body`` returns the version's type of a body for the strict type. ``default_media_type`` applies
    to bodies that declare none. ``form_types`` are the media types of forms at the token endpoints.
    With ``lists_all``, a list without ``limit`` has all items. With ``has_pages``, a list is an
    object with the URL of the next page, and not an array. With ``is_replacement``, the version has
    the shapes of the replaced service, and no resources but items. ``statuses`` replaces the statuses
    of problems, by slug, for authenticated requests.
    """

    name: str
    prefixes: tuple[str, ...]
    created_status: int
    user_type: type
    user: Callable[[User], UserView]
    body: Callable[[Any], Any]
    default_media_type: str
    form_types: Sequence[str]
    lists_all: bool
    has_pages: bool
    is_replacement: bool
    statuses: Mapping[str, int] = {}

    @property
    def namespace(self) -> dict[str, Any]:
        """The types of this version by the names in the annotations of handlers."""
        views = {
            "UserView": self.user_type,
            "AccountEventsView": AccountEventPage if self.has_pages else list[AccountEventView],
        }
        return views | {kind.__name__: self.body(kind) for kind in JSON_BODIES}


def _user_v1(user: User) -> UserV1:
    created_at = user.created_at.removesuffix("Z")
    return UserV1(user.username, user.newest_email, user.full_name, user.disabled, created_at)


def _user_v2(user: User) -> UserV2:
    return UserV2(
        user.username,
        user.newest_email,
        user.full_name,
        user.disabled,
        user.created_at,
        sorted(user.roles),
        user.newest_email_verified,
    )


V1 = ApiVersion(
    "v1",
    ("", "/api/v1"),
    200,
    UserV1,
    _user_v1,
    body=lenient,
    default_media_type="application/json",
    form_types=(FORM_TYPE, MULTIPART_TYPE),
    lists_all=True,
    has_pages=False,
    is_replacement=True,
)
V2 = ApiVersion(
    "v2",
    ("/api/v2",),
    201,
    UserV2,
    _user_v2,
    body=lambda kind: kind,
    default_media_type="",
    form_types=(FORM_TYPE,),
    lists_all=False,
    has_pages=True,
    is_replacement=False,
    statuses={"invalid-credentials": 403},
)

VERSIONS = (V1, V2)
