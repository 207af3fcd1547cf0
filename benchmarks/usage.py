"""What a server and all processes below it use (proc_pid_stat(5), proc_pid_smaps(5))."""

import os
import time
from contextlib import suppress
from pathlib import Path

from tests.servers.service import descendants

TICKS = os.sysconf("SC_CLK_TCK")
PAUSE = 0.05  # seconds
PATIENCE = 10.0  # seconds


def cpu_seconds(process: int) -> float:
    """CPU time, in user and in system mode, of a process, those below it, and those that ended."""
    ticks = 0
    for pid in {process, *descendants(process)}:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # utime, stime, and of waited-for children cutime, cstime.
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def memory(process: int) -> int:
    """Bytes of memory of a process and those below it; what several share is counted once (PSS)."""
    kilobytes = 0
    for pid in {process, *descendants(process)}:
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kilobytes += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kilobytes * 1024


def settle(process: int) -> None:
    """Wait until a server is done with what an earlier run has left it, within reason."""
    deadline = time.monotonic() + PATIENCE
    used = cpu_seconds(process)
    while time.monotonic() < deadline:
        time.sleep(PAUSE)
        before, used = used, cpu_seconds(process)
        if used - before <= PAUSE / 4:
            return
