"""The tour of README.md prints the output that it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.server import Server

README = Path(__file__).parent.parent / "README.md"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"), "TIME OF VERSION 1"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r'"sealed":"[\w-]+"'), "SEALED"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[\d,]+ bytes"), "BYTES"),
]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The commands of the tour, each with the output that the README shows."""
    for block in _BLOCK.findall(text):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", step)
            assert command is not None
            yield command[0], step[command.end() :]


def mask(text: str) -> str:
    """Replace the parts of a text that differ each time."""
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text.strip()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent: apt-get install curl")
def test_the_tour_prints_the_output_in_the_readme(tmp_path: Path) -> None:
    tour = list(steps(README.read_text()))
    assert len(tour) > 5

    with Server(tmp_path / "data", workers=1) as server:
        end = "echo; echo '---8<---'\n"
        script = "".join(command + end for command, _ in tour)
        script = script.replace("localhost:8000", f"127.0.0.1:{server.port}")
        script = f"PATH={Path(sys.executable).parent}:$PATH\n{script}"
        ran = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    outputs = ran.stdout.split("---8<---\n")[:-1]
    assert [mask(output) for output in outputs] == [mask(shown) for _, shown in tour], ran.stderr
