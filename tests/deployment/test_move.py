"""Run the guide's commands that move a server to a database, with stubs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.server import ROOT

pytestmark = pytest.mark.skipif(
    shutil.which("flock") is None, reason="flock is absent: apt-get install util-linux"
)

STUB = """#!/bin/sh
echo "{name} $* $(cat {folder}/env) $(flock --nonblock {folder}/events.jsonl.lock echo free || echo locked)" >> {folder}/reported
{then}
"""


@pytest.fixture
def block() -> str:
    """The guide's commands that run while writes are blocked."""
    guide = (ROOT / "docs" / "operating.md").read_text()
    (found,) = re.findall(r"^    flock .*?(?=\n\n)", guide, re.DOTALL | re.MULTILINE)
    assert isinstance(found, str)
    return found


def run_commands(block: str, folder: Path, **programs: str) -> tuple[int, list[str]]:
    """Run the commands with stub programs; return exit code and the stubs' reports.

    A stub reports its arguments, the settings in force, and whether the log is locked.
    """
    for name, then in programs.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STUB.format(name=name, folder=folder, then=then))
        program.chmod(0o755)
    (folder / "env").write_text("file")
    (folder / "env.new").write_text("database")
    commands = block.replace("/etc/eventapi", str(folder)).replace("DIR", str(folder))
    ran = subprocess.run(
        ["/bin/sh", "-c", commands],
        env={"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
        timeout=30,
        check=False,
    )
    return ran.returncode, (folder / "reported").read_text().replace(
        str(folder), "DIR"
    ).splitlines()


COPY = "runuser -u eventapi -- eventapi log copy DIR/events.jsonl URL --data DIR file locked"
CONFIRM = (
    "runuser -u eventapi -- eventapi log restore --checkpoint DIR/events.jsonl.checkpoint"
    " --log URL --data DIR file locked"
)
KILL = "systemctl kill --signal=KILL eventapi@* database locked"


def test_copy_precedes_new_settings_and_both_precede_the_kill(block: str, tmp_path: Path) -> None:
    assert run_commands(block, tmp_path, runuser="", systemctl="") == (0, [COPY, CONFIRM, KILL])


def test_failed_copy_changes_nothing(block: str, tmp_path: Path) -> None:
    code, reported = run_commands(block, tmp_path, runuser="exit 1", systemctl="")
    assert (code, reported) == (1, [COPY])
    assert (tmp_path / "env").read_text() == "file"


def test_lock_is_held_until_all_servers_are_killed(block: str, tmp_path: Path) -> None:
    twice = f"test $(grep -c systemctl {tmp_path}/reported) = 2"
    assert run_commands(block, tmp_path, runuser="", systemctl=twice) == (
        0,
        [COPY, CONFIRM, KILL, KILL],
    )
