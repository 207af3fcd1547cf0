"""What clients saw: every operation with its window in time, and what became of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

Content = tuple[str, str | None]
"""An item's title and description."""

Changes = dict[str, str | None]
"""What a write sends: the members of an item that it names."""

Row = tuple[int, int, Content]
"""An item in a list: its number, its version, its content."""


class Kind(StrEnum):
    """What is asked for."""

    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"
    GET = "get"
    LIST = "list"


READS = {Kind.GET, Kind.LIST}
SUCCESSES = {
    Kind.CREATE: {200, 201},
    Kind.PATCH: {200},
    Kind.DELETE: {204},
    Kind.GET: {200},
    Kind.LIST: {200},
}
REFUSALS = {
    Kind.CREATE: set[int](),
    Kind.PATCH: {404, 412},
    Kind.DELETE: {404, 412},
    Kind.GET: {404},
    Kind.LIST: set[int](),
}
"""Answers that are right if the item stood so; any other answer is an error."""


class Fate(StrEnum):
    """What a client knows of its operation."""

    UNSENT = "never sent"
    UNKNOWN = "unknown"
    ANSWERED = "answered"


class Operation(msgspec.Struct, kw_only=True):
    """One request of one client, and its answer; times are `time.monotonic_ns`.

    ``owner`` is the subject of the caller, ``position`` that of the answer's ``Event-Position``,
    ``version`` and ``seen`` what was shown of the item, ``rows`` of the list. ``written`` is the
    size of the log's file once the answer was there: no more can have been known by then. ``least``
    is the position that was asked for by ``Min-Event-Position``.
    """

    kind: Kind
    requestid: str
    owner: str
    item: int = 0
    changes: Changes = {}
    if_match: int | None = None
    fate: Fate = Fate.UNSENT
    start: int = 0
    end: int = 0
    status: int = 0
    position: int = 0
    version: int = 0
    seen: Content | None = None
    rows: list[Row] = []
    written: int = 0
    least: int = 0
    worker: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was meant to."""
        return self.fate is Fate.ANSWERED and self.status in SUCCESSES[self.kind]

    @property
    def refused(self) -> bool:
        """Whether the answer says that the item stood so that it could not be done."""
        return self.fate is Fate.ANSWERED and self.status in REFUSALS[self.kind]

    @property
    def failed(self) -> bool:
        """Whether the answer is none that a right server gives."""
        return self.fate is Fate.ANSWERED and not self.succeeded and not self.refused
