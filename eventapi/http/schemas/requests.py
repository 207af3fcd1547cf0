"""Request bodies and queries: one Struct each, with the rules of its members."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.values.explanations import CHECK, RULE
from eventapi.values.rules import (
    MAX_PASSWORD_BYTES,
    Email,
    FullName,
    KeyName,
    NewPassword,
    Username,
)
from eventapi.values.times import record_time_fault
from events.vocabulary.keys import SCOPES, Scope

NO_NUL: Final = r"^[^\u0000]*$"

_TIME: Final = (
    r"[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
    r"([Zz]|[+\- ]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_TIME_NOTE: Final = (
    "a space is read as the `+` of an offset, and a leap second as the end of its minute."
)

Password = Annotated[
    str, Meta(max_length=MAX_PASSWORD_BYTES, extra_json_schema={"format": "password"})
]
"""A password to verify; only its length is limited."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of JSON bodies, which rejects unknown members."""


@cache
def lenient(kind: type[Any]) -> type[Any]:
    """The same body for version 1, which ignores unknown members."""
    name = f"{kind.__name__}V1"
    space = {"__doc__": kind.__doc__}
    return msgspec.defstruct(
        name,
        [],
        bases=(kind,),
        namespace=space,
        module=kind.__module__,
        frozen=True,
        forbid_unknown_fields=False,
    )


class Registration(Body, frozen=True):
    """A new account."""

    username: Username
    email: Email
    password: NewPassword
    full_name: FullName | None = None


class PasswordGrant(Body, frozen=True):
    """A login, as JSON or as the OAuth 2.0 form (RFC 6749, section 4.3).

    There are no rules for the form of the username and the password, so that the response does not
    reveal which users exist.
    """

    username: Annotated[str, Meta(max_length=254, examples=["john_doe"])]
    password: Password
    grant_type: Literal["password"] = "password"


class RefreshGrant(Body, frozen=True):
    """A refresh token, as JSON or as the OAuth 2.0 form (RFC 6749, section 6)."""

    refresh_token: Annotated[str, Meta(max_length=256)]
    grant_type: Literal["refresh_token"] = "refresh_token"


TOKEN_FIELDS: Final = frozenset({*PasswordGrant.__struct_fields__, *RefreshGrant.__struct_fields__})
"""Form fields that the token endpoints read."""


class PasswordChange(Body, frozen=True):
    """The current password and the new one."""

    current_password: Password
    new_password: NewPassword


class Confirmation(Body, frozen=True):
    """The password, to confirm an operation that cannot be undone."""

    password: Password


class ForgottenPassword(Body, frozen=True):
    """The email address of an account whose password is forgotten."""

    email: Email


_LinkToken = Annotated[
    str, Meta(max_length=256, description="The token of the mailed link.", examples=["7.42.1.9f"])
]


class PasswordReset(Body, frozen=True):
    """The token of a mailed link, and the new password."""

    token: _LinkToken
    new_password: NewPassword


class VerificationRequest(Body, frozen=True):
    """The address to verify; a request with a token needs none."""

    email: Email | UnsetType = UNSET


class EmailVerification(Body, frozen=True):
    """The token of a mailed link."""

    token: _LinkToken


Code = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Six digits of the authenticator app; at a login also a recovery code.",
        examples=["123456"],
    ),
]


class TotpConfirmation(Body, frozen=True):
    """A code of the authenticator app, which proves that it has the secret."""

    code: Code


class SecondFactorGrant(Body, frozen=True):
    """The challenge of a login, and a code."""

    challenge: Annotated[str, Meta(max_length=256, examples=["7.1.1767225600.9f"])]
    code: Code


KeyTime = Annotated[
    str,
    Meta(
        max_length=40,
        description="RFC 3339; without it the key does not expire.",
        examples=["2027-01-01T00:00:00Z"],
        extra_json_schema={"format": "date-time"},
        extra={CHECK: record_time_fault},
    ),
]


class KeyRequest(Body, frozen=True):
    """A new API key."""

    name: KeyName
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=len(SCOPES),
            description="What the key may do: read, write, and for auditors audit. Never more than "
            "its user may.",
            examples=[["read"]],
            extra_json_schema={"uniqueItems": True},
        ),
    ] = msgspec.field(default_factory=lambda: list[Scope](("read", "write")))
    expires_at: KeyTime | UnsetType | None = UNSET


class ProfilePatch(Body, frozen=True):
    """A merge patch (RFC 7396) of a profile."""

    email: Email | UnsetType = UNSET
    full_name: FullName | UnsetType | None = UNSET


Point = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=rf"^(0|[1-9][0-9]{{0,17}}|{_TIME})$(?!\n)",
        description=f"A position of the log, or an RFC 3339 time; {_TIME_NOTE}",
        examples=["17", "2026-01-02T03:04:05Z"],
        extra={RULE: "must be a position or an RFC 3339 time"},
    ),
]


PastTime = Annotated[
    str,
    Meta(
        max_length=40,
        pattern=rf"^{_TIME}$(?!\n)",
        description=f"An RFC 3339 time; {_TIME_NOTE}",
        examples=["2026-01-02T03:04:05Z"],
        extra={RULE: "must be a position, as a number, or an RFC 3339 time"},
    ),
]


class Restoration(Body, frozen=True):
    """The point whose content to restore; by default the one before the deletion."""

    as_of: Annotated[int, Meta(ge=0, le=2**63 - 1)] | PastTime | UnsetType = UNSET


JSON_BODIES: Final = (
    Confirmation,
    EmailVerification,
    ForgottenPassword,
    KeyRequest,
    PasswordChange,
    PasswordGrant,
    PasswordReset,
    ProfilePatch,
    RefreshGrant,
    Registration,
    Restoration,
    SecondFactorGrant,
    TotpConfirmation,
    VerificationRequest,
)


class ReadQuery(msgspec.Struct, frozen=True):
    """The point of the past at which to read a resource."""

    as_of: Point | UnsetType = UNSET


_HISTORY_LIMIT: Final = "Maximum number of changes; by default all."


class HistoryQuery(msgspec.Struct, frozen=True):
    """The changes of a resource to list."""

    limit: Annotated[int, Meta(ge=1, le=1000, description=_HISTORY_LIMIT)] | UnsetType = UNSET
    after: (
        Annotated[int, Meta(ge=0, le=2**63 - 1, description="Start after this position.")]
        | UnsetType
    ) = UNSET


After = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Start after this position.")]


class StateQuery(msgspec.Struct, frozen=True):
    """The point of the past at which to read the state."""

    as_of: Point | UnsetType = UNSET


class FeedQuery(msgspec.Struct, frozen=True):
    """The position to follow from; by default the current one."""

    after: After | UnsetType = UNSET


class AccountEventsQuery(msgspec.Struct, frozen=True):
    """The events about the caller's account to list, and their order."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="Maximum number of events.")] = 100
    after: (
        Annotated[
            int,
            Meta(
                ge=0, le=2**63 - 1, description="Start after the event at this position, in order."
            ),
        ]
        | UnsetType
    ) = UNSET
    order: Annotated[Literal["asc", "desc"], Meta(description="Oldest first, or newest first.")] = (
        "desc"
    )


class ExportQuery(msgspec.Struct, frozen=True):
    """The events to export."""

    after: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="Only events after this position.")
    ] = 0


_LIST_LIMIT: Final = "Maximum number of resources; by default 100, and in version 1 all."
_SEARCHED: Final = "A part of any text; case is ignored."

Limit = Annotated[int, Meta(ge=1, le=1000, description=_LIST_LIMIT)]
Order = Annotated[Literal["asc", "desc"], Meta(description="Order by number.")]
SortOrder = Annotated[
    Literal["asc", "desc"], Meta(description="Order by number; with `sort` it cannot be `desc`.")
]
Searched = Annotated[
    str,
    Meta(
        max_length=200,
        pattern=NO_NUL,
        description=_SEARCHED,
        extra={RULE: "must not contain NUL"},
    ),
]


class ListQueryV1(msgspec.Struct, frozen=True):
    """The items to list in version 1, and their order.

    No member may be ``None``, because msgspec would decode the text ``null`` as it.
    """

    limit: Limit | UnsetType = UNSET
    after: (
        Annotated[int, Meta(ge=0, le=2**63 - 1, description="Start after this number.")] | UnsetType
    ) = UNSET
    order: Order = "asc"
    q: Searched | UnsetType = UNSET
    as_of: Point | UnsetType = UNSET


class ListQuery(msgspec.Struct, frozen=True):
    """The resources to list, and their order; filters are beside it."""

    limit: Limit | UnsetType = UNSET
    after: (
        Annotated[
            str, Meta(max_length=8_192, description="The cursor in `next` of the page before.")
        ]
        | UnsetType
    ) = UNSET
    order: SortOrder = "asc"
    sort: (
        Annotated[
            str,
            Meta(
                max_length=600,
                description="Fields to sort by, separated by commas; `-` before one reverses it.",
                examples=["-updated_at,id"],
            ),
        ]
        | UnsetType
    ) = UNSET
    q: Searched | UnsetType = UNSET
    fields: (
        Annotated[
            str,
            Meta(
                max_length=4_096,
                description="The members of each resource in the response, separated by commas; "
                "the others are left out, also those that its schema requires.",
                examples=["id,version"],
            ),
        ]
        | UnsetType
    ) = UNSET
    count: (
        Annotated[
            Literal["true", "false"],
            Meta(description="Whether to count the resources of all pages."),
        ]
        | UnsetType
    ) = UNSET
    as_of: Point | UnsetType = UNSET
