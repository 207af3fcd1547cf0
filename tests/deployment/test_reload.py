"""The operating guide's commands that change the code reach the server that they mean, and no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.server import ROOT, START_SECONDS, is_running
from tests.eventapi.cli.running import clean_environment
from tests.servers.service import descendants

GUIDE = ROOT / "docs" / "operating.md"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*")]


def commands() -> tuple[str, str]:
    """The line that starts a server by hand, and the line that has it take new code."""
    section = GUIDE.read_text().partition("## Change the code")[2].partition("\n## ")[0]
    (start,) = re.findall(r"^    (eventapi serve .*?)#", section, re.MULTILINE)
    (reload,) = re.findall(r"^    (kill .*?)#", section, re.MULTILINE)
    return start, reload


def sh(folder: Path, line: str) -> None:
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


def until(happens: Callable[[], bool]) -> None:
    """Return when it has happened; raises `TimeoutError`."""
    deadline = time.monotonic() + 2 * START_SECONDS
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


class ByHand:
    """A server that was started by the guide's line."""

    def __init__(self, folder: Path, start: str) -> None:
        folder.mkdir()
        self.folder = folder
        sh(folder, start.replace("serve", "serve --port 0"))
        self.pid = int((folder / "eventapi.pid").read_text())
        until(lambda: "eventapi serves" in (folder / "output").read_text())

    def workers(self) -> set[int]:
        """The processes that serve."""
        return {
            pid
            for pid in descendants(self.pid)
            if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        }


@contextmanager
def by_hand(folder: Path, start: str) -> Iterator[ByHand]:
    """Such a server, of which nothing is left afterwards."""
    server = ByHand(folder, start)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        until(lambda: not is_running(server.pid))


@pytest.mark.long
def test_the_server_that_is_meant_takes_the_new_code_and_another_one_does_not(
    tmp_path: Path,
) -> None:
    start, reload = commands()
    with by_hand(tmp_path / "other", start) as other, by_hand(tmp_path / "meant", start) as meant:
        before, others = meant.workers(), other.workers()
        assert len(before) == len(others) == 2
        sh(meant.folder, reload)
        until(lambda: len(meant.workers()) == 2 and not meant.workers() & before)
        assert other.workers() == others


@pytest.mark.parametrize("program", ["pgrep", "pkill", "killall"])
def test_no_document_searches_a_process_by_its_name(program: str) -> None:
    texts = {file: file.read_text() for file in DOCUMENTS if file.is_file()}
    assert [file for file, text in texts.items() if program in text] == []
