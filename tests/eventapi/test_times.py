"""Times in all forms that RFC 3339 has come out as those of records."""

from __future__ import annotations

import pytest

from eventapi.times import record_time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05.000000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05.9999999-00:30", "2026-01-02T03:34:05.999999Z"),
    ],
)
def test_a_time_comes_out_as_that_of_a_record(text: str, time: str) -> None:
    assert record_time(text, zone_needed=True) == time


@pytest.mark.parametrize(
    "text",
    [
        *("2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04Z", "2026-01-02T03:04:05.Z"),
        *("2026-02-30T00:00:00Z", "0001-01-01T00:00:00+00:01", "now"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        record_time(text, zone_needed=True)
