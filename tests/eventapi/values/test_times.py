"""Times in all forms that RFC 3339 has come out as those of records."""

from __future__ import annotations

import pytest

from eventapi.values.times import parse_point, record_time


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02t03:04:05.5z", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02 03:04:05+02:00", "2026-01-02T01:04:05.000000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("2026-01-02T03:04:05.9999999-00:30", "2026-01-02T03:34:05.999999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31t23:59:60.25z", "2016-12-31T23:59:59.999999Z"),
        ("2017-01-01T00:59:60+01:00", "2016-12-31T23:59:59.999999Z"),
        ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_converted_to_the_form_of_records(text: str, time: str) -> None:
    assert record_time(text, zone_needed=True) == time


@pytest.mark.parametrize(
    "text",
    [
        *("2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04Z", "2026-01-02T03:04:05.Z"),
        *("2026-02-30T00:00:00Z", "0001-01-01T00:00:00+00:01", "now"),
        *("2026-01-02T03:04:61Z", "2026-01-02T03:60:60Z", "9999-12-31T23:59:60-00:01"),
        "2026-01-02T03:04:05 01:00",
    ],
)
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        record_time(text, zone_needed=True)


def test_leap_second_lies_between_its_neighbours() -> None:
    before, leap, after = (
        record_time(f"2016-12-31T{time}Z", zone_needed=True)
        for time in ("23:59:59.999998", "23:59:60", "23:59:59.9999999")
    )
    assert before < leap == after < record_time("2017-01-01T00:00:00Z", zone_needed=True)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("17", 17),
        ("2026-01-02T03:04:05 02:00", "2026-01-02T01:04:05.000000Z"),
        ("2026-01-02 03:04:05.5 00:00", "2026-01-02T03:04:05.500000Z"),
        ("2026-01-02T03:04:60 00:00", "2026-01-02T03:04:59.999999Z"),
    ],
)
def test_space_is_accepted_for_the_plus_of_a_point(text: str, point: int | str) -> None:
    """A query that is not percent-encoded has a space there."""
    assert parse_point(text) == point


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05  02:00", "2026-01-02 03:04", "1 02:00", "2026-01-02T03:04:05 02"]
)
def test_control_other_spaces_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_point(text)


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "9999-12-31T23:59:59-23:59", "-1", ""])
def test_what_is_no_point_of_the_log_is_refused_with_both_kinds(text: str) -> None:
    with pytest.raises(ValueError, match=r"^.* is neither a position nor an RFC 3339 time$"):
        parse_point(text)
