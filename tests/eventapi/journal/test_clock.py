"""The log's clock: lines never go back, instances agree, and a jump spends nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

from eventapi.journal.clock import MAX_JUMP_SECONDS
from eventapi.values.times import later, seconds_of, time_of
from tests.eventapi.journal.clock_machine import DAY, HOUR, START, Machine, is_refused, written

# Laws


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_a_time_in_seconds_is_exact_to_the_microsecond(moment: datetime) -> None:
    text = moment.replace(tzinfo=UTC).isoformat(timespec="microseconds")[:-6] + "Z"
    assert time_of(seconds_of(text)) == text
    assert later(text, 0) == text


steps = st.lists(
    st.tuples(st.floats(0, 7_200), st.floats(-7_200, 7_200) | st.just(0.0)), max_size=20
)


@given(steps)
def test_the_clock_and_times_on_lines_never_go_back(steps: list[tuple[float, float]]) -> None:
    """However time passes, and the clock is set."""
    machine = Machine()
    clock, last, before = machine.clock(), "", ""
    for passed, jump in steps:
        machine.passes(passed)
        machine.wall += jump
        now = clock.now()
        assert now >= before
        before = now
        if not is_refused(clock, last):
            line = written(clock, last)
            assert line >= last
            last = line


@given(st.floats(-60, 60), st.floats(-60, 60), st.lists(st.floats(0, 30), max_size=10))
def test_instances_that_read_each_others_lines_agree(
    skew: float, other_skew: float, pauses: list[float]
) -> None:
    """They follow the fastest clock, and are apart by no more than their leads shrink."""
    machines = Machine(skew), Machine(other_skew)
    one, other = (machine.clock() for machine in machines)
    last = written(other, written(one, ""))
    for clock in (one, other):
        clock.observe(last)
    assert one.now() == other.now() == last
    for pause in pauses:
        for machine in machines:
            machine.passes(pause)
        assert abs(one.seconds() - other.seconds()) <= 0.011 * sum(pauses) + 1e-6
        last = max(written(one, last), last)
        other.observe(last)


jumps = st.floats(MAX_JUMP_SECONDS + 1, 20 * 365 * DAY).flatmap(
    lambda span: st.sampled_from((span, -span))
)


@given(jumps, st.floats(0, 10 * DAY))
def test_clock_jump_expires_nothing(jump: float, meanwhile: float) -> None:
    """Writes are refused until the jump is over, and the time passes as it would without it."""
    machine = Machine()
    clock = machine.clock()
    last = written(clock, "")
    machine.wall += jump
    assert is_refused(clock, last)
    machine.passes(meanwhile)
    assert is_refused(clock, last)
    assert abs(clock.seconds() - (START + meanwhile)) < 0.001
    assert abs(clock.drift + jump) < 0.001
    machine.wall -= jump
    assert not is_refused(clock, last)
    assert abs(seconds_of(clock.now()) - machine.wall) < 0.001


@given(st.lists(st.floats(-HOUR + 1, HOUR - 1), max_size=10))
def test_clock_change_of_less_than_an_hour_stops_no_write(steps: list[float]) -> None:
    machine = Machine()
    clock, last = machine.clock(), ""
    for step in steps:
        machine.passes(10)
        machine.wall += step
        if last and seconds_of(last) - machine.wall > MAX_JUMP_SECONDS:
            break  # By several of them, it is an hour behind the log.
        assert not is_refused(clock, last)
        last = written(clock, last)


@given(st.floats(0.001, HOUR))
def test_a_lead_over_the_wall_clock_shrinks_by_one_percent_of_the_time(lead: float) -> None:
    machine = Machine()
    clock = machine.clock(time_of(START + lead))
    for part in range(1, 101):
        machine.passes(lead)
        expected = max(lead * (1 - 0.01 * part), 0.0)
        # Between two readings of the uptime, of a second, it is not shrunk yet.
        assert abs(seconds_of(clock.now()) - machine.wall - expected) < 0.02
    assert abs(clock.drift) < 0.01 or clock.drift < 0  # The last line is in the past.


# Rules


def test_the_time_for_requests_sees_a_jump_and_costs_no_reading_of_the_uptime() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(0.5)
    assert clock.seconds() == START + 0.5
    machine.wall += 2 * HOUR
    assert clock.seconds() == START + 0.5
    machine.wall -= 2 * HOUR
    machine.passes(0.25)
    assert clock.seconds() == START + 0.75


def test_second_end_lies_after_every_time_of_the_second() -> None:
    machine = Machine(0.5)
    clock = machine.clock()
    assert time_of(START + 0.999) <= clock.second_end(clock.seconds()) < time_of(START + 1)
    machine.passes(0.5)
    assert time_of(START + 1) <= clock.second_end(clock.seconds())


def test_line_an_hour_ahead_stops_writes_and_does_not_move_the_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    assert is_refused(clock, time_of(START + 10 * 365 * DAY))
    assert clock.seconds() == START


def test_a_jump_and_its_end_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += 2 * HOUR
    for _ in range(3):
        machine.passes(600)
        clock.now()
    machine.wall -= 2 * HOUR
    for _ in range(3):
        clock.now()
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "WARNING"]
    assert "jumped forward by 2 hours" in caplog.text
