"""A command ends at SIGTERM and SIGHUP as at Ctrl-C: its temporary files are removed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import PROGRAM, REPOSITORY, running

ENDS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]

UNBLOCKED = """\
import signal
from eventapi.cli import main
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
"""
"""The program begins so: a test that runs `serve` in its own process leaves SIGHUP blocked."""

STALLED = f"""\
{UNBLOCKED}
import asyncio
from pathlib import Path
from eventapi.cli import export

async def stall(*_):
    Path("stalled").touch()
    await asyncio.sleep(600)

export._export_lines = stall
main.main()
"""
"""The program, whose exports write nothing and never end."""


def stopped_export(folder: Path, *signals: signal.Signals) -> int:
    """The exit code of an export that gets signals; it must leave no file and no message."""
    out = folder / "out"
    out.mkdir()
    command = [sys.executable, "-c", STALLED]
    with running(folder, "log", "export", "--output", "out/log", command=command) as export:
        wait_until((folder / "stalled").exists)
        assert any(out.iterdir())
        for number in signals[:-1]:
            export.send(number)
        ended = export.stop(signals[-1])
    assert ended.err.strip() == ""
    assert not any(out.iterdir())
    return ended.code


@pytest.mark.parametrize("how", ENDS)
def test_an_export_that_is_stopped_leaves_no_file(tmp_path: Path, how: signal.Signals) -> None:
    assert stopped_export(tmp_path, how) == 128 + how


def test_an_export_that_gets_both_signals_leaves_no_file(tmp_path: Path) -> None:
    code = stopped_export(tmp_path, signal.SIGTERM, signal.SIGHUP)
    assert code in {128 + signal.SIGTERM, 128 + signal.SIGHUP}


SLOW = """\
import time
from pathlib import Path
import msgspec
from eventapi.resources import Projection

class Count(msgspec.Struct):
    number: int = 0

class Slow(Projection):
    state = Count()

    def apply(self, event):
        Path("applying").touch()
        time.sleep(600)

    def query(self, caller):
        return self.state.number
"""
"""A module of an application with a projection that takes for ever."""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("arguments", [("snapshot",), ("state", "digest")], ids=" ".join)
def test_a_signal_in_the_code_of_a_projection_ends_the_command(
    data: Path, how: signal.Signals, arguments: tuple[str, ...]
) -> None:
    """It is no fault of the projection, which would be left out of the snapshot."""
    folder = data.parent
    (folder / "slow.py").write_text(SLOW)
    command = [sys.executable, "-c", f"{UNBLOCKED}\nmain.main()"]
    settings = {"EVENTAPI_RESOURCES": "slow", "PYTHONPATH": f"{folder}:{REPOSITORY}"}
    with running(folder, *arguments, command=command, **settings) as running_command:
        wait_until((folder / "applying").exists)
        ended = running_command.stop(how)
    assert ended.code == 128 + how
    assert "Traceback" not in ended.err
    assert not any((data / "snapshots").glob("*.snapshot"))


def test_a_signal_while_a_module_is_imported_ends_the_command(data: Path) -> None:
    folder = data.parent
    (folder / "slow.py").write_text(
        "from pathlib import Path\nPath('importing').touch()\nimport time\ntime.sleep(600)\n"
    )
    settings = {"EVENTAPI_RESOURCES": "slow", "PYTHONPATH": f"{folder}:{REPOSITORY}"}
    with running(folder, "state", "digest", command=PROGRAM, **settings) as command:
        wait_until((folder / "importing").exists)
        ended = command.stop()
    assert (ended.code, ended.err.strip()) == (128 + signal.SIGTERM, "")
