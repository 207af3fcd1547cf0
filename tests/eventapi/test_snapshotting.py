"""The process that takes snapshots beside a server."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import uvloop

from eventapi.settings import Settings
from eventapi.snapshotting import start_taking

SECONDS = 30


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_the_process_does_not_keep_the_port_of_a_server_that_is_gone(tmp_path: Path) -> None:
    """A worker's listening socket can be inherited, for the supervisor hands it on so."""

    async def run() -> set[Path]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.set_inheritable(True)
            process = start_taking(Settings(data=str(tmp_path)))
            held = {file.readlink() for file in Path(f"/proc/{process.pid}/fd").iterdir()}
            process.kill()
            process.wait(SECONDS)
            ours = Path(f"/proc/self/fd/{listening.fileno()}").readlink()
        return held & {ours}

    assert not uvloop.run(run())
