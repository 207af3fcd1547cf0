"""Convert between the times that users write and those of records."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

SKEW_SECONDS: Final = 60
"""How far the clocks of two instances may differ without a refused token or a missed reuse."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - it is UTC
_DATE_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:(?P<second>\d\d)(\.\d+)?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_SPACE_FOR_PLUS: Final = re.compile(r" (?=\d\d:\d\d$(?!\n))", re.ASCII)
"""In a query that is not percent-encoded, the ``+`` of an offset arrives as a space."""

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def record_time(text: str, *, zone_needed: bool) -> str:
    """Convert a time to a record's form: RFC 3339 in UTC with microseconds and ``Z``.

    A time without a zone is UTC, unless ``zone_needed``. Digits after the microsecond are cut off.
    A leap second (``:60``) becomes the last microsecond of its minute, because records have none.
    Raises `ValueError`.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None or (zone_needed and not match["zone"]):
        kind = "an RFC 3339 time" if zone_needed else "an ISO 8601 date and time"
        raise ValueError(f"{text!r} is not {kind}")
    if match["second"] == "60":
        text = f"{text[: match.start('second')]}59.999999{match['zone'] or ''}"
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise ValueError(f"there is no time {text!r}") from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def record_time_fault(text: str) -> str | None:
    """The fault of a text that is no RFC 3339 time, if it is none."""
    try:
        record_time(text, zone_needed=True)
    except ValueError:
        return "must be an RFC 3339 time"
    return None


def moment(text: str) -> datetime:
    """Parse an RFC 3339 time, or a date as its start in UTC. Raises `ValueError`."""
    text = f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text
    return datetime.fromisoformat(record_time(text, zone_needed=True))


def time_text(moment: datetime) -> str:
    """A moment in a record's form."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def naive(time: str) -> str:
    """A record's time without its zone, and without a fraction that is zero."""
    return datetime.fromisoformat(time).replace(tzinfo=None).isoformat()


def with_plus(text: str) -> str:
    """A time of a query with the ``+`` of its offset, for which a space may stand."""
    return _SPACE_FOR_PLUS.sub("+", text)


def parse_point(text: str) -> int | str:
    """Parse a point of the log: a position or an RFC 3339 time.

    A time is returned in a record's form. A space is accepted for the ``+`` of an offset. Raises
    `ValueError`.
    """
    if _POSITION.fullmatch(text):
        return int(text)
    try:
        return record_time(with_plus(text), zone_needed=True)
    except ValueError:
        raise ValueError(f"{text!r} is neither a position nor an RFC 3339 time") from None


def seconds_of(time: str) -> float:
    """A record's time in seconds since 1970, exact to the microsecond."""
    return datetime.fromisoformat(time).timestamp()


def time_of(seconds: float) -> str:
    """Seconds since 1970 in a record's form; the inverse of `seconds_of`."""
    # A datetime without a zone takes a third of the time.
    return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"


def later(time: str, seconds: float) -> str:
    """A time so many seconds after another, in a record's form."""
    moment = datetime.fromisoformat(time).replace(tzinfo=None) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds") + "Z"
