"""libfaketime, of Debian's package: the wall clock of one process, as a test wants it.

It fakes every clock that the C library reads, ``CLOCK_BOOTTIME`` too, but not ``/proc/uptime``: like
a clock that somebody sets.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.service import AbsentError
from tests.servers.serving import absent


def faked(offset: str | Path) -> dict[str, str]:
    """The environment of a process whose clock is off by so much, as in ``+60s`` or ``-2h``.

    A file has the offset on a line, and may change while the process runs. Where the library is not
    installed the test is skipped, and in CI it fails.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        absent(AbsentError("libfaketime is not here: apt-get install faketime (make servers)"))
    # The loop's own waiting is not what is faked here.
    always = {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    if isinstance(offset, Path):
        return always | {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    return always | {"FAKETIME": offset}
