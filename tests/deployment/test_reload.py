"""The operating guide's reload command reaches the intended server and no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.server import ROOT, START_SECONDS, is_running
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.running import clean_environment
from tests.servers.service import descendants

GUIDE = ROOT / "docs" / "operating.md"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*")]


def commands() -> tuple[str, str]:
    """The guide's lines that start a server and make it reload its code."""
    section = GUIDE.read_text().partition("## Change the code")[2].partition("\n## ")[0]
    (start,) = re.findall(r"^    (eventapi serve .*?)#", section, re.MULTILINE)
    (reload,) = re.findall(r"^    (kill .*?)#", section, re.MULTILINE)
    return start, reload


def run_shell(folder: Path, line: str) -> None:
    """Run a line of the guide in a folder."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "output").open("ab") as output:
        subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=folder,
            env=clean_environment(PATH=programs),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )


class GuideServer:
    """A server started with the guide's line."""

    def __init__(self, folder: Path, start: str) -> None:
        folder.mkdir()
        self.folder = folder
        run_shell(folder, start.replace("serve", "serve --port 0"))
        self.pid = int((folder / "eventapi.pid").read_text())
        wait_until(lambda: "eventapi serves" in (folder / "output").read_text(), 2 * START_SECONDS)

    def workers(self) -> set[int]:
        """The worker processes that run now."""
        return {pid for pid in descendants(self.pid) if is_worker(pid)}


def is_worker(pid: int) -> bool:
    """Whether a child of a server serves requests; ``False`` for one that has ended."""
    try:
        return b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@contextmanager
def guide_server(folder: Path, start: str) -> Iterator[GuideServer]:
    """Run such a server; stop it on exit."""
    server = GuideServer(folder, start)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: not is_running(server.pid))


@pytest.mark.long
def test_reload_replaces_the_workers_of_the_intended_server_only(
    tmp_path: Path,
) -> None:
    start, reload = commands()
    with (
        guide_server(tmp_path / "other", start) as other,
        guide_server(tmp_path / "intended", start) as intended,
    ):
        before, others = intended.workers(), other.workers()
        assert len(before) == len(others) == 2
        run_shell(intended.folder, reload)
        wait_until(lambda: len(intended.workers()) == 2 and not intended.workers() & before)
        assert other.workers() == others


@pytest.mark.parametrize("program", ["pgrep", "pkill", "killall"])
def test_no_document_selects_processes_by_name(program: str) -> None:
    texts = {file: file.read_text() for file in DOCUMENTS if file.is_file()}
    assert [file for file, text in texts.items() if program in text] == []
