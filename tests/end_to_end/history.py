"""A history of client operations with their times and responses."""

from __future__ import annotations

from enum import StrEnum

import msgspec

Content = tuple[str, str | None]
"""An item's title and description."""

Changes = dict[str, str | None]
"""The members of an item that a write sends."""

Row = tuple[int, int, Content]
"""An item in a list: number, version, content."""


class Kind(StrEnum):
    """The kind of an operation."""

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
"""Statuses that are correct for some states of the item; all other failures are errors."""


class Outcome(StrEnum):
    """The outcome of an operation as the client knows it."""

    UNSENT = "never sent"
    UNKNOWN = "unknown"
    ANSWERED = "answered"


class Operation(msgspec.Struct, kw_only=True):
    """A request of one client and its response; times are from `time.monotonic_ns`.

    ``owner`` is the subject of the caller. ``position`` is the response's ``Event-Position``,
    ``min_position`` the request's ``Min-Event-Position``. ``version`` and ``seen`` are the version
    and content of the item in the response, ``rows`` those of a list. ``log_size`` is the size of
    the log's file after the response: the response cannot depend on later bytes.
    """

    kind: Kind
    requestid: str
    owner: str
    item: int = 0
    changes: Changes = {}
    if_match: int | None = None
    outcome: Outcome = Outcome.UNSENT
    start: int = 0
    end: int = 0
    status: int = 0
    position: int = 0
    version: int = 0
    seen: Content | None = None
    rows: list[Row] = []
    log_size: int = 0
    min_position: int = 0
    worker: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the response is a success."""
        return self.outcome is Outcome.ANSWERED and self.status in SUCCESSES[self.kind]

    @property
    def refused(self) -> bool:
        """Whether the response is a refusal that some state of the item justifies."""
        return self.outcome is Outcome.ANSWERED and self.status in REFUSALS[self.kind]

    @property
    def failed(self) -> bool:
        """Whether the response is one that a correct server never gives."""
        return self.outcome is Outcome.ANSWERED and not self.succeeded and not self.refused
