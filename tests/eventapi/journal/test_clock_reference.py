"""The reference of the clock: its file, restarts, boots, and an accepted clock."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from eventapi.journal.clock import MAX_PAUSE_SECONDS, LogClock, read_reference
from eventapi.values.times import seconds_of, time_of
from tests.eventapi.journal.clock_machine import (
    DAY,
    HOUR,
    START,
    Machine,
    accept,
    is_refused,
    written,
)

# Restarts and boots


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


# Acceptance by an operator


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
