"""Bodies of a batch: several writes in one request, and the answer to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventapi.http.schemas.requests import Body
from eventapi.http.schemas.responses import Version

MAX_REQUESTS: Final = 100

_PATH: Final = (
    "The path below `/api/v2`, with or without that prefix. `$0` in place of a number stands for the "
    "resource that request 0 creates."
)
_BODY: Final = (
    "The body of the single request. The text `$0` in place of a whole number stands for the number "
    "of the resource that request 0 creates."
)


class BatchRequest(Body, frozen=True):
    """One write of a batch."""

    method: Literal["DELETE", "PATCH", "POST", "PUT"]
    path: Annotated[
        str,
        Meta(min_length=1, max_length=1_024, description=_PATH, examples=["/items/$0"]),
    ]
    body: Annotated[msgspec.Raw, Meta(description=_BODY)] | UnsetType = UNSET
    if_match: (
        Annotated[int, Meta(ge=1, le=2**63 - 1)]
        | Annotated[str, Meta(max_length=1_024)]
        | UnsetType
    ) = UNSET


class Batch(Body, frozen=True):
    """Writes that take effect in their order, all or none."""

    requests: Annotated[
        list[BatchRequest],
        Meta(
            min_length=1,
            max_length=MAX_REQUESTS,
            examples=[
                [
                    {"method": "POST", "path": "/items", "body": {"title": "First item"}},
                    {"method": "PATCH", "path": "/items/$0", "body": {"description": "My first"}},
                ]
            ],
        ),
    ]


class BatchResponse(msgspec.Struct, frozen=True):
    """The answer to one write of a batch.

    ``status`` and ``body`` are those of the single request; ``body`` is null if that has none.
    ``location`` is the address of a new resource.
    """

    status: Annotated[int, Meta(examples=[201])]
    body: Any
    version: Version
    location: str | UnsetType = UNSET


class BatchResponses(msgspec.Struct, frozen=True):
    """The answers to the writes of a batch, in the order of its requests."""

    responses: Sequence[BatchResponse]
