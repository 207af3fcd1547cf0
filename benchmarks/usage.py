"""CPU and memory of a server and its child processes (proc_pid_stat(5), proc_pid_smaps(5))."""

import os
import time
from contextlib import suppress
from pathlib import Path

from tests.servers.service import descendants

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.05
SETTLE_SECONDS = 10.0


def cpu_seconds(process: int) -> float:
    """Return the user and system CPU time of a process and its children, including ended ones."""
    ticks = 0
    for pid in {process, *descendants(process)}:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # utime, stime, and of waited-for children cutime, cstime.
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def memory(process: int) -> int:
    """Return the memory of a process and its children in bytes; shared pages count once (PSS)."""
    kilobytes = 0
    for pid in {process, *descendants(process)}:
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024


def settle(process: int) -> None:
    """Wait until a server has finished the work of an earlier run, at most `SETTLE_SECONDS`."""
    deadline = time.monotonic() + SETTLE_SECONDS
    used = cpu_seconds(process)
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        before, used = used, cpu_seconds(process)
        if used - before <= POLL_SECONDS / 4:
            return
