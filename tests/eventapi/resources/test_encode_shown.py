"""The answers of projections: anything that msgspec encodes, with times as in all responses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from eventapi.resources import as_read
from eventapi.resources.as_read import encode_shown

EAST = timezone(timedelta(hours=2))
NOON, SHOWN = datetime(2026, 1, 31, 14, tzinfo=EAST), "2026-01-31T12:00:00.000000Z"


class Since(msgspec.Struct):
    """Code of an application runs when one is made."""

    since: datetime
    year: int = 0

    def __post_init__(self) -> None:
        self.year = self.since.year


class Tagged(msgspec.Struct, tag=True, rename="camel", omit_defaults=True):
    """Encoded under other names."""

    first_time: datetime
    left_out: int = 0


class Row(msgspec.Struct, array_like=True):
    """Encoded as a list."""

    at: datetime
    number: int


@dataclass
class Plain:
    """Encoded as an object."""

    at: datetime


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NOON, SHOWN),
        ([NOON, None, "2026-01-31T14:00:00+02:00"], [SHOWN, None, "2026-01-31T14:00:00+02:00"]),
        (Since(NOON), {"since": SHOWN, "year": 2026}),
        (Tagged(NOON), {"type": "Tagged", "firstTime": SHOWN}),
        (Row(NOON, 7), [SHOWN, 7]),
        ({"a": Plain(NOON), "b": (NOON,)}, {"a": {"at": SHOWN}, "b": [SHOWN]}),
        ({NOON}, [SHOWN]),
        ({1: NOON, 2: Decimal("1.50")}, {"1": SHOWN, "2": "1.50"}),
        ([NOON, msgspec.Raw(b'{"a": 1}')], [SHOWN, {"a": 1}]),
        (datetime(2026, 1, 31, 14), "2026-01-31T14:00:00"),  # noqa: DTZ001 - it has no offset
        (datetime(1, 1, 1, tzinfo=EAST), "0001-01-01T00:00:00+02:00"),
        (datetime(9999, 12, 31, 23, tzinfo=UTC), "9999-12-31T23:00:00.000000Z"),
    ],
)
def test_times_are_in_utc_with_microseconds(answer: Any, expected: Any) -> None:
    assert msgspec.json.decode(encode_shown(answer)) == expected


def test_an_answer_without_times_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_read, "_with_times", lambda *_: pytest.fail("looked at each value"))
    rows = [{"number": number, "text": "at 12:00"} for number in range(3)]

    assert encode_shown(rows) == msgspec.json.encode(rows)
