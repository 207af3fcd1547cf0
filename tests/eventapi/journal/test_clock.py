"""The log's clock: lines never go back, instances agree, and a jump spends nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from eventapi.journal.clock import (
    MAX_JUMP_SECONDS,
    MAX_PAUSE_SECONDS,
    LogClock,
    RecentRefreshes,
    Reference,
    SystemUptime,
    boot_id,
    read_reference,
    system_now,
    write_reference,
)
from eventapi.values.times import later, seconds_of, time_of
from events.errors import ClockJumped

START = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0


class Machine:
    """A machine whose clock can be set, and whose uptime cannot."""

    def __init__(self, skew: float = 0.0) -> None:
        self.wall = START + skew
        self.seconds_up = 1_000.0
        self.boot = "boot 1"

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.seconds_up += seconds

    def reboots(self, seconds_off: float = 60.0) -> None:
        self.wall += seconds_off
        self.seconds_up, self.boot = 10.0, f"{self.boot}+"

    def clock(self, last: str = "", path: Path | None = None) -> LogClock:
        """The clock of a process that starts now."""
        clock = LogClock(lambda: time_of(self.wall), lambda: self.seconds_up, path, self.boot)
        clock.start(last)
        return clock


def is_refused(clock: LogClock, last: str) -> bool:
    """Whether a write is refused, with a text that shows what to do."""
    try:
        clock.check(last)
    except ClockJumped as error:
        text = str(error.message)
        assert "Reads continue, and nothing was lost" in text
        assert "eventapi serve --accept-clock" in text
        assert clock.refuses
        return True
    assert not clock.refuses
    return False


def written(clock: LogClock, last: str) -> str:
    """The time of a line that is written now."""
    clock.check(last)
    return max(clock.now(), last)


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


@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, 10 * 365 * DAY, -10 * 365 * DAY])
def test_a_jump_while_no_process_runs_is_seen_in_the_same_boot(tmp_path: Path, jump: float) -> None:
    machine, path = Machine(), tmp_path / "clock"
    last = written(machine.clock("", path), "")
    machine.passes(DAY)
    machine.wall += jump
    clock = machine.clock(last, path)
    assert is_refused(clock, last)
    assert abs(clock.seconds() - (START + DAY)) < 0.001
    machine.wall -= jump
    assert not is_refused(clock, last)


def test_observation_before_the_start_does_not_hide_a_jump(tmp_path: Path) -> None:
    """A journal applies the last lines before it starts the clock."""
    machine, path = Machine(), tmp_path / "clock"
    last = written(machine.clock("", path), "")
    machine.wall += 2 * HOUR
    clock = LogClock(lambda: time_of(machine.wall), lambda: machine.seconds_up, path, machine.boot)
    clock.observe(last)
    clock.start(last)
    assert is_refused(clock, last)
    assert clock.seconds() == START


def test_control_without_the_reference_a_restart_hides_a_jump_forward() -> None:
    machine = Machine()
    last = written(machine.clock(), "")
    machine.wall += 2 * HOUR
    assert not is_refused(machine.clock(last), last)


@pytest.mark.parametrize(
    ("ahead", "refused"),
    [
        (-10 * 365 * DAY, True),
        (-HOUR - 10, True),
        (-HOUR + 1, False),
        (2 * HOUR, False),
        (MAX_PAUSE_SECONDS - 1, False),
        (MAX_PAUSE_SECONDS + 1, True),
        (10 * 365 * DAY, True),
    ],
)
def test_after_a_boot_the_clock_is_compared_with_the_log(
    tmp_path: Path, ahead: float, refused: bool
) -> None:
    machine, path = Machine(), tmp_path / "clock"
    last = written(machine.clock("", path), "")
    machine.reboots(0)
    machine.wall = seconds_of(last) + ahead
    clock = machine.clock(last, path)
    assert is_refused(clock, last) is refused
    if refused:
        machine.passes(5)
        assert abs(clock.seconds() - seconds_of(last) - 5) < 0.001, "the log's time goes on"
        machine.wall = seconds_of(last) + 60
        assert not is_refused(clock, last)


def test_empty_log_is_not_compared_with_the_clock(tmp_path: Path) -> None:
    for skew in (-20 * 365 * DAY, 20 * 365 * DAY):
        assert not is_refused(Machine(skew).clock("", tmp_path / f"clock{skew}"), "")


def test_line_an_hour_ahead_stops_writes_and_does_not_move_the_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    assert is_refused(clock, time_of(START + 10 * 365 * DAY))
    assert clock.seconds() == START


def accept(machine: Machine, path: Path, last: str = "") -> None:
    write_reference(path, Reference(machine.boot, machine.wall - machine.seconds_up, last))


def test_accepted_clock_is_used_by_running_and_new_processes(tmp_path: Path) -> None:
    machine, path = Machine(), tmp_path / "clock"
    clock = machine.clock("", path)
    last = written(clock, "")
    machine.wall += 2 * HOUR
    assert is_refused(clock, last)
    accept(machine, path)
    assert not is_refused(clock, last)
    assert clock.seconds() == machine.wall
    assert not is_refused(machine.clock(last, path), last)


def test_log_ahead_of_an_accepted_clock_can_be_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its times stay where they are; what expires goes by the clock."""
    machine, path = Machine(), tmp_path / "clock"
    last = time_of(START + 10 * 365 * DAY)
    clock = machine.clock(last, path)
    assert is_refused(clock, last)
    accept(machine, path, last)
    for _ in range(2):
        assert written(clock, last) == last
        assert abs(clock.seconds() - machine.wall) < 0.001
        assert clock.drift == pytest.approx(10 * 365 * DAY)
        machine.reboots()
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            clock = machine.clock(last, path)
        assert f"until the clock reaches {last}" in caplog.text
    machine.reboots()
    machine.wall = START + 10 * 365 * DAY + 1
    assert written(machine.clock(last, path), last) == time_of(machine.wall)


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


# The file


def test_reference_file_is_private_and_written_only_after_a_change(tmp_path: Path) -> None:
    machine, path = Machine(), tmp_path / "clock"
    clock = machine.clock("", path)
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_bytes()
    machine.wall += 0.5
    clock.check("")
    assert path.read_bytes() == first
    machine.wall += 2
    clock.check("")
    assert path.read_bytes() != first


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"boot":1,"epoch":"x"}'])
def test_a_reference_that_cannot_be_read_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    machine, path = Machine(), tmp_path / "clock"
    path.write_bytes(content)
    clock = machine.clock("", path)
    assert "is ignored" in caplog.text
    assert not is_refused(clock, "")
    assert read_reference(path) is not None, "it was written again"


def test_a_reference_that_cannot_be_written_stops_no_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Machine().clock("", tmp_path / "nowhere" / "clock")
    for _ in range(3):
        clock.check("")
    assert caplog.text.count("cannot be stored") == 1


def test_without_uptime_nothing_is_refused_and_no_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock = LogClock(lambda: time_of(START), None, path)
    clock.start(time_of(START + 20 * 365 * DAY))
    clock.check(time_of(START + 20 * 365 * DAY))
    assert not path.exists()


def test_the_uptime_of_this_machine_passes_and_its_boot_has_a_name() -> None:
    uptime = SystemUptime()
    assert 0 < uptime() <= uptime()
    assert boot_id() == boot_id() != ""
    assert abs(seconds_of(system_now()) - datetime.now(UTC).timestamp()) < 60


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_the_uptime_of_a_container_does_not_count(tmp_path: Path) -> None:
    """It begins anew with the container and not with the boot: every restart would be a jump."""
    file = tmp_path / "uptime"
    file.write_text("10.00 5.00\n")
    shown = "from eventapi.journal.clock import SystemUptime; print(SystemUptime()())"
    mounted = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /proc/uptime && shift && "$@"']
    ended = subprocess.run(
        [*mounted, "sh", str(file), sys.executable, "-c", shown], capture_output=True, check=False
    )
    if not ended.stdout:
        pytest.skip("needs the right to mount")
    assert float(ended.stdout) == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)


# What is recent


def test_refresh_stays_recent_for_the_span_even_if_added_again() -> None:
    machine = Machine()
    recent = RecentRefreshes(lambda: machine.seconds_up, 10)
    recent.add(("a", 1))
    machine.passes(9)
    recent.add(("b", 1))
    recent.add(("a", 1))
    machine.wall += 10 * DAY
    assert ("a", 1) in recent.current()
    machine.passes(2)
    assert ("a", 1) not in recent.current()
    assert ("b", 1) in recent.current()
    assert ("b", 2) not in recent.current()


def test_without_uptime_no_refresh_is_recent() -> None:
    recent = RecentRefreshes(None, 10)
    recent.add(("a", 1))
    assert ("a", 1) not in recent.current()
