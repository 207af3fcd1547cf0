"""The commands that move a running server to a database, as the operating guide has them."""

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
echo "{name} $* $(cat {folder}/env) $(flock --nonblock {folder}/events.jsonl.lock echo free || echo locked)" >> {folder}/said
{then}
"""


@pytest.fixture
def block() -> str:
    """The commands that are run while nobody can write."""
    guide = (ROOT / "docs" / "operating.md").read_text()
    (found,) = re.findall(r"^    flock .*?(?=\n\n)", guide, re.DOTALL | re.MULTILINE)
    assert isinstance(found, str)
    return found


def moved(block: str, folder: Path, **programs: str) -> tuple[int, list[str]]:
    """The exit code, and what each program that is not here was told, with the settings of then."""
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
    return ran.returncode, (folder / "said").read_text().replace(str(folder), "DIR").splitlines()


COPY = "runuser -u eventapi -- eventapi log copy DIR/events.jsonl URL --data DIR file locked"
CONFIRM = (
    "runuser -u eventapi -- eventapi log restore --checkpoint DIR/events.jsonl.checkpoint"
    " --log URL --data DIR file locked"
)
KILL = "systemctl kill --signal=KILL eventapi@* database locked"


def test_a_copy_comes_before_the_settings_and_both_before_servers_are_ended(
    block: str, tmp_path: Path
) -> None:
    assert moved(block, tmp_path, runuser="", systemctl="") == (0, [COPY, CONFIRM, KILL])


def test_where_the_copy_fails_nothing_has_changed(block: str, tmp_path: Path) -> None:
    code, said = moved(block, tmp_path, runuser="exit 1", systemctl="")
    assert (code, said) == (1, [COPY])
    assert (tmp_path / "env").read_text() == "file"


def test_the_lock_is_held_until_all_servers_are_ended(block: str, tmp_path: Path) -> None:
    twice = f"test $(grep -c systemctl {tmp_path}/said) = 2"
    assert moved(block, tmp_path, runuser="", systemctl=twice) == (0, [COPY, CONFIRM, KILL, KILL])
