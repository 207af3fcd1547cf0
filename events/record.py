"""The record: what one line of the log says, as CloudEvents 1.0 names it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Annotated, ClassVar

import msgspec

GENESIS = bytes(32)
"""The hash before the first record."""

_TIME = b"0000-00-00T00:00:00.000000Z"
_LENGTH = len(_TIME)
_UP_TO_HOUR = itemgetter(slice(len(b"0000-00-00T00")))
_FIVE = ord("5")
_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")


class Personal(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base of the personal values of an event: what a user typed, sealed on the line."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the vocabulary: the ``data`` member of a record, one class per event type.

    A class with personal values has a field ``personal``, named ``sealed`` on the line, of one of
    three kinds: the values in clear; the sealed text, as it stands on the line; ``None`` where the
    key is destroyed.
    """

    type: ClassVar[str]


Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number or a position in the data of an event."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One event with its envelope.

    ``position`` is dense from 1; ``time`` is RFC 3339 in UTC with microseconds and ``Z``;
    ``sealedfor`` names the user whose key seals the personal values, or is empty; ``hash`` is
    32 raw bytes; ``end`` is the byte offset in a JSON-lines log at which the line's newline ends;
    ``written_as`` is the type on the line where an upcast renamed it, for the seal is bound to it;
    ``idempotencykey`` and ``requesthash`` say which request this is the effect of, if it said so
    itself: the SHA-256 of the caller and their key, in hex, and the sealed SHA-256 of the request.
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
    written_as: str = ""
    idempotencykey: str = ""
    requesthash: str = ""


def entity_number(subject: str) -> int:
    """The number in a subject such as ``items/7``."""
    return int(subject[subject.index("/") + 1 :])


def all_timestamps_valid(texts: Sequence[str]) -> bool:
    """Whether all of these are times of a record's form; cheap enough for every line of a log."""
    joined = "".join(texts).encode(errors="replace")
    if joined.translate(_TO_ZERO) != _TIME * len(texts) or {*map(len, texts)} - {_LENGTH}:
        return False
    if not texts:
        return True
    # Minutes and seconds by their tens, of all texts at once; days and hours by the calendar.
    if max(joined[14::_LENGTH]) > _FIVE or max(joined[17::_LENGTH]) > _FIVE:
        return False
    try:
        for hour in {*map(_UP_TO_HOUR, texts)}:
            datetime.fromisoformat(f"{hour}:00")
    except ValueError:
        return False
    return True


START = Record(0, "", "", "", "", Event())
"""What stands before the first record."""
