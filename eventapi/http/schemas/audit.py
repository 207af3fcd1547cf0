"""Queries of auditors, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas.requests import NO_NUL, Point
from eventapi.queries.differences import Difference
from eventapi.values.explanations import RULE

_Member = Annotated[str, Meta(max_length=300, pattern=NO_NUL, extra={RULE: "must not contain NUL"})]


class EventsQuery(msgspec.Struct, frozen=True):
    """The events of the log to read, and their order."""

    after: (
        Annotated[
            int,
            Meta(
                ge=0, le=2**63 - 1, description="Start after the event at this position, in order."
            ),
        ]
        | UnsetType
    ) = UNSET
    limit: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1000,
                description="Maximum number of events: by default 100 on a page, and all as lines of "
                "JSON. Live streams ignore it.",
            ),
        ]
        | UnsetType
    ) = UNSET
    type: (
        Annotated[
            str,
            Meta(
                max_length=300,
                description="Only events of this type.",
                examples=["item.created"],
            ),
        ]
        | UnsetType
    ) = UNSET
    subject: _Member | UnsetType = UNSET
    actor: _Member | UnsetType = UNSET
    since: (
        Annotated[
            Point,
            Meta(description="Only events at or after this position of the log, or RFC 3339 time."),
        ]
        | UnsetType
    ) = UNSET
    until: (
        Annotated[
            Point,
            Meta(
                description="Only events at or before this position of the log, or RFC 3339 time. "
                "Not for live streams."
            ),
        ]
        | UnsetType
    ) = UNSET
    order: Annotated[
        Literal["asc", "desc"],
        Meta(description="Oldest first, or newest first. Live streams are oldest first."),
    ] = "asc"


class DiffQuery(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The moments and entities to compare."""

    start: Annotated[
        Point,
        Meta(
            description="The first moment: after the event at this position of the log, or at this RFC "
            "3339 time. By default before the first event.",
            examples=["0"],
        ),
    ] = "0"
    end: (
        Annotated[
            Point,
            Meta(
                description="The second moment, which must not be before `from`. By default now.",
                examples=["2099-12-31T23:59:59Z"],
            ),
        ]
        | UnsetType
    ) = UNSET
    subject: (
        Annotated[
            _Member,
            Meta(
                description="Only the entities of this collection, such as `items`, or only this one, "
                "such as `items/7`.",
                examples=["items"],
            ),
        ]
        | UnsetType
    ) = UNSET
    open: Annotated[
        Literal["true", "false"],
        Meta(
            description="Whether to show sealed values; with `false` only the names of those that "
            "differ.",
            examples=["true"],
        ),
    ] = "true"
    after: (
        Annotated[
            _Member,
            Meta(description="Start after this entity, in order.", examples=["items/1"]),
        ]
        | UnsetType
    ) = UNSET
    limit: Annotated[
        int, Meta(ge=1, le=1000, description="Maximum number of entities.", examples=[100])
    ] = 100


class DiffPage(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A page of the entities that differ, and the URL of the next page."""

    start: Annotated[int, Meta(ge=0, description="The position of the first moment.")]
    end: Annotated[int, Meta(ge=0, description="The position of the second moment.")]
    items: Sequence[Difference]
    next: str | None
