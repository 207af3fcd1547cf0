"""The query of a pack of evidence."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas.requests import Point
from eventapi.values.explanations import RULE

_MAX: Final = 300
_NO_NUL: Final = r"^[^\u0000]*$"
_RULE: Final = "must not contain NUL"


class EvidenceQuery(msgspec.Struct, frozen=True):
    """The events to collect: those of a subject, or those of a user."""

    subject: (
        Annotated[
            str,
            Meta(
                max_length=_MAX,
                pattern=_NO_NUL,
                description="The events of this subject. Give either this or `user`.",
                examples=["items/7"],
                extra={RULE: _RULE},
            ),
        ]
        | UnsetType
    ) = UNSET
    user: (
        Annotated[
            str,
            Meta(
                max_length=_MAX,
                pattern=_NO_NUL,
                description="The events that this user caused, and those about the user and the "
                "user's sessions, keys and resources. A username, or `users/7`.",
                examples=["john_doe"],
                extra={RULE: _RULE},
            ),
        ]
        | UnsetType
    ) = UNSET
    since: (
        Annotated[
            Point,
            Meta(
                description="Only events at or after this position of the log, or RFC 3339 time.",
                examples=["1"],
            ),
        ]
        | UnsetType
    ) = UNSET
    until: (
        Annotated[
            Point,
            Meta(
                description="Only events at or before this position of the log, or RFC 3339 time.",
                examples=["2999-01-01T00:00:00Z"],
            ),
        ]
        | UnsetType
    ) = UNSET
    open: Annotated[
        Literal["true", "false"],
        Meta(
            description="Whether to add the sealed values whose keys exist, which is recorded.",
            examples=["false"],
        ),
    ] = "false"
