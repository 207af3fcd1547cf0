"""The record: the content of one line, with the member names of CloudEvents 1.0."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Annotated, ClassVar, Literal

import msgspec

GENESIS = bytes(32)
"""The hash before the first record."""

_TIME_PATTERN = b"0000-00-00T00:00:00.000000Z"
_TIME_BYTES = len(_TIME_PATTERN)
_UP_TO_HOUR = itemgetter(slice(len(b"0000-00-00T00")))
_FIVE = ord("5")
_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


class Personal(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of the personal values of an event, which are sealed on the line."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the vocabulary: the ``data`` of a record, one class per event type.

    A class with personal values has a field ``personal``, named ``sealed`` on the line. It is one of
    three: the values in clear; the sealed text as it is on the line; ``None`` if the key is
    destroyed. ``timestamp`` names the field whose value is a time in a record's form.
    """

    type: ClassVar[str]
    timestamp: ClassVar[str] = ""


class PlainEvent(Event, frozen=True, gc=False, kw_only=True):
    """Base of events without personal values: only a reason may be sealed in them.

    ``personal`` is that seal as it is on the line, and ``None`` once it is opened.
    """

    personal: str | None = msgspec.field(default=None, name="sealed")


Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number or a position in the data of an event."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One event with its envelope.

    ``position`` counts from 1 without gaps. ``time`` is RFC 3339 in UTC with microseconds and ``Z``.
    ``sealedfor`` names the user whose key seals the personal values, or is empty. ``hash`` is
    32 raw bytes. ``end`` is the byte offset in a JSON-lines log after the line's newline.
    ``idempotencykey`` and ``requesthash`` identify the request that caused the event, if it had an
    Idempotency-Key: the SHA-256 of caller and key, in hex, and the sealed SHA-256 of the request.
    ``session`` is the id of the session that the request was made in, ``apikey`` that of its API key,
    if any. ``reason`` is the text of its Change-Reason; it is sealed on the line, so it is empty
    without the key.
    """

    position: int
    source: str
    subject: str
    time: str
    actor: str
    event: Event
    sealedfor: str = ""
    requestid: str = ""
    hash: bytes = GENESIS
    end: int = 0
    idempotencykey: str = ""
    requesthash: str = ""
    apikey: str = ""
    session: str = ""
    reason: str = ""


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of a line; unknown extensions are ignored."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    actor: str
    data: msgspec.Raw
    hash: str
    sealedfor: str = ""
    requestid: str = ""
    remaining: str = "0"
    behind: str = ""
    idempotencykey: str = ""
    requesthash: str = ""
    apikey: str = ""
    session: str = ""
    commitment: str = ""


def entity_number(subject: str) -> int:
    """The number in a subject such as ``items/7``."""
    return int(subject[subject.index("/") + 1 :])


def all_timestamps_valid(texts: Sequence[str]) -> bool:
    """Whether all texts are valid record times; cheap enough for every line of a log."""
    joined = "".join(texts).encode(errors="replace")
    if joined.translate(_TO_ZERO) != _TIME_PATTERN * len(texts) or {*map(len, texts)} - {
        _TIME_BYTES
    }:
        return False
    if not texts:
        return True
    # Check minutes and seconds by their tens, in all texts at once; days and hours by the calendar.
    if max(joined[14::_TIME_BYTES]) > _FIVE or max(joined[17::_TIME_BYTES]) > _FIVE:
        return False
    try:
        for hour in {*map(_UP_TO_HOUR, texts)}:
            datetime.fromisoformat(f"{hour}:00")
    except ValueError:
        return False
    return True


START = Record(0, "", "", "", "", Event())
"""The record before the first one."""
