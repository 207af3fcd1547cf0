"""Resources whose values and names are at the limits of what the console can show."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta, Struct, field

from eventapi.resources import Clear, Resource


class Range(Struct):
    """Where a gauge may be."""

    low: int
    high: int


class Gauge(Resource):
    """A reading, with every type of number."""

    collection = "gauges"

    name: str
    total: int = 0
    level: float | None = None
    remarks: list[str] = field(default_factory=list)
    place: Annotated[str, Meta(max_length=100)] = ""
    numbers: list[int] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)
    span: Range | None = None
    counter: Clear[list[int]] = field(default_factory=list)
    day: date | None = None
    moment: datetime | None = None
    flag: bool | None = None
    state: Literal["closed", "open", "stuck"] | None = None
    key: UUID | None = None


class Meeting(Resource):
    """A resource with fields that have the names of the console's own parameters, or of a line's."""

    collection = "meetings"

    title: str
    at: int = 0
    q: str = ""
    sort: str = ""
    after: str = ""
    clear: str = ""
    sealed: Clear[str] = ""
