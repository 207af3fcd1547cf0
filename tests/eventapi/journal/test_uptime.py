"""The uptime of the machine, and the refreshes that are recent by it."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eventapi.journal.clock import RecentRefreshes, SystemUptime, boot_id, system_now
from eventapi.values.times import seconds_of
from tests.eventapi.journal.clock_machine import DAY, Machine


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


# Recent refreshes


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
