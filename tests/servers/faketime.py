"""Set the wall clock of one process with libfaketime, of a Debian package.

It changes every clock that the C library reads, also ``CLOCK_BOOTTIME``, but not ``/proc/uptime``,
so the effect is that of an operator who sets the clock.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.service import NotInstalledError
from tests.servers.serving import skip_or_fail


def clock_environment(offset: str | Path) -> dict[str, str]:
    """Environment variables that offset a process's clock, as by ``+60s``.

    A path names a file with the offset, which may change while the process runs. Without the
    library, the test is skipped, or fails in CI.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        skip_or_fail(
            NotInstalledError(
                "libfaketime is not installed: apt-get install faketime (make servers)"
            )
        )
    # The monotonic clock stays real, so that the event loop's timers work.
    always = {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    if isinstance(offset, Path):
        return always | {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    return always | {"FAKETIME": offset}
