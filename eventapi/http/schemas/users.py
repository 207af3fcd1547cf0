"""Bodies, queries and responses about users, for operators."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas.requests import Body, Searched
from eventapi.http.schemas.responses import Id, Time, Version
from eventapi.values.rules import Email, FullName, NewPassword, Username
from projections.tables.users import User

Roles = Annotated[
    tuple[str, ...],
    Meta(
        max_length=1_000,
        description="All roles of the user: `auditor`, `operator`, and those that a resource names.",
        examples=[["auditor"]],
    ),
]


class NewUser(Body, frozen=True):
    """A new account.

    Without a password, the user gets a mail with a link that sets one.
    """

    username: Username
    email: Email
    password: NewPassword | UnsetType = UNSET
    full_name: FullName | None = None
    roles: Roles = ()


class UserPatch(Body, frozen=True):
    """A merge patch (RFC 7396) of a user; ``roles`` replaces all roles."""

    disabled: bool | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET


class ResetRequest(Body, frozen=True):
    """With ``link``, the response has the link, and no mail is sent."""

    link: bool = False


class ResetResponse(msgspec.Struct, frozen=True):
    """A link with which the user sets a new password, once, within an hour."""

    link: str


class UsersQuery(msgspec.Struct, frozen=True):
    """The users to list."""

    q: (
        Annotated[
            Searched,
            Meta(
                description="A part of the username, an address or the full name; case is ignored."
            ),
        ]
        | UnsetType
    ) = UNSET
    after: Annotated[int, Meta(ge=0, le=2**63 - 1, description="Start after this number.")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="Maximum number of users.")] = 100


class ManagedUser(msgspec.Struct, frozen=True, gc=False):
    """A user, as operators and auditors see them."""

    id: Id
    username: str
    email: str
    email_verified: bool
    full_name: str | None
    disabled: bool
    roles: list[str]
    created_at: Time
    version: Version


class UserPage(msgspec.Struct, frozen=True, gc=False):
    """A page of users, and the URL of the next page."""

    items: list[ManagedUser]
    next: str | None


def managed_user(user: User) -> ManagedUser:
    """The view of a user for operators."""
    return ManagedUser(
        user.id,
        user.username,
        user.newest_email,
        user.newest_email_verified,
        user.full_name,
        user.disabled,
        sorted(user.roles),
        user.created_at,
        user.version,
    )
