"""The process that takes snapshots beside a server."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from eventapi.bootstrap.storage import open_journal, snapshots_of
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.tasks import snapshots as snapshotting
from eventapi.tasks.snapshots import run_snapshots, start_snapshot
from eventapi.testing.given import profile
from tests.eventapi.cli.running import written

SECONDS = 30


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_snapshot_process_does_not_keep_the_port_of_a_dead_server(tmp_path: Path) -> None:
    """A worker's listening socket is inheritable, because the supervisor passes it that way."""

    async def run() -> set[Path]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.set_inheritable(True)
            process = start_snapshot(Settings(data=str(tmp_path)))
            held = {file.readlink() for file in Path(f"/proc/{process.pid}/fd").iterdir()}
            process.kill()
            process.wait(SECONDS)
            ours = Path(f"/proc/self/fd/{listening.fileno()}").readlink()
        return held & {ours}

    assert not uvloop.run(run())


def test_one_of_two_workers_takes_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both find it due at once, and neither process that would take it has its lock yet."""
    written(tmp_path, RegisterUser(profile("ann")))
    settings = Settings(data=str(tmp_path), snapshot_every=1)
    started: list[subprocess.Popen[bytes]] = []

    def start(settings: Settings) -> subprocess.Popen[bytes]:
        started.append(start_snapshot(settings))
        return started[-1]

    monkeypatch.setattr(snapshotting, "start_snapshot", start)
    monkeypatch.setattr(snapshotting, "CHECK_INTERVAL_SECONDS", 0.0)

    async def work() -> None:
        async with open_journal(settings) as (journal, _):
            await run_snapshots(journal, snapshots_of(settings), settings)

    async def run() -> None:
        workers = [asyncio.create_task(work()) for _ in range(2)]
        async with asyncio.timeout(SECONDS):
            while snapshots_of(settings).usable_position() < 1:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
            for process in started:
                await asyncio.to_thread(process.wait)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert (len(started), caplog.messages) == (1, [])
