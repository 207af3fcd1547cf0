"""Every console block of README.md prints the output that it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.server import free_port
from tests.eventapi.cli.running import PROGRAM, clean_environment

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
WIDTH = 100
"""Columns of a code block that a browser shows without scrolling."""

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INSTALLING = "Installing into .venv, which takes about a minute ...\n"
_SERVERS = {
    "make demo\n": ("serve --demo", 8000),
    "eventapi serve --resources shop --port 8001\n": ("serve --resources shop", 8001),
}
_CODE = re.compile(r"^```\w+\n(.*?)^```$|(?:^    [^\n]*\n)+", re.MULTILINE | re.DOTALL)
_VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"), "TIME OF VERSION 1"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r'"sealed":"[\w-]+"'), "SEALED"),
    (re.compile(r'"commitment":"[\w-]{43}"'), "COMMITMENT"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[\d,]+ bytes"), "BYTES"),
    (re.compile(r"\bbyte offset \d+"), "OFFSET"),
    (re.compile(r"^[\d-]{10} [\d:]{8}\.\d{3} ", re.MULTILINE), "TIME OF LINE "),
    (re.compile(r"(?<=127\.0\.0\.1:)\d+"), "PORT"),
    (re.compile(r"\bits data is in /.*/"), "its data is in FOLDER/"),
    (re.compile(r"^(Sign in as \w+ with) \S{12}$", re.MULTILINE), r"\1 PASSWORD"),
]


def steps(text: str) -> Iterator[tuple[str, str]]:
    """The commands of the tour, each with the output that the document shows."""
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


@contextmanager
def serving(folder: Path, port: int, arguments: str) -> Iterator[str]:
    """A server in a folder, as in a terminal; its output until it is ready."""
    with subprocess.Popen(
        [*PROGRAM, *shlex.split(arguments), "--port", str(port)],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = ""
        try:
            for line in process.stdout:
                printed += line
                if line.startswith("Press Ctrl-C"):
                    break
            yield printed
        finally:
            process.terminate()


def outputs(folder: Path, shown: int, port: int, commands: Sequence[str]) -> Iterator[str]:
    """Run commands in one shell, with another port than the shown one; yield what each prints."""
    end = "echo; echo '---8<---'\n"
    script = "".join(command + end for command in commands)
    ran = subprocess.run(
        ["bash", "-c", script.replace(f"localhost:{shown}", f"127.0.0.1:{port}")],
        cwd=folder,
        env=clean_environment(PATH=f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        check=False,
    )
    *printed, rest = ran.stdout.split("---8<---\n")
    assert (len(printed), rest) == (len(commands), ""), ran.stderr
    yield from printed


@pytest.mark.long
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent: apt-get install curl")
def test_every_command_prints_the_output_in_the_readme(tmp_path: Path) -> None:
    tour = list(steps(README.read_text()))
    servers = [step for step in tour if step[0] in _SERVERS]
    others = [step for step in tour if step[0] not in _SERVERS]
    assert [command for command, _ in servers] == list(_SERVERS)
    assert len(others) > 12
    (tmp_path / "shop.py").write_text(shop())
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "activate").touch()
    (binaries / "eventapi").write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    (binaries / "eventapi").chmod(0o755)
    (binaries / "python").symlink_to(sys.executable)

    with ExitStack() as stack:
        for command, shown in servers:
            (arguments, number), port = _SERVERS[command], free_port()
            printed = stack.enter_context(serving(tmp_path, port, arguments))
            assert f"http://127.0.0.1:{number}/console" in shown
            assert mask(printed) == mask(shown.removeprefix(_INSTALLING))
        found = outputs(tmp_path, number, port, [command for command, _ in others])
        for (command, shown), output in zip(others, found, strict=True):
            assert (command, mask(output)) == (command, mask(shown))


def shop() -> str:
    """The module that the reader saves as shop.py."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


def test_make_announces_the_installation_as_the_readme_shows() -> None:
    assert _INSTALLING in README.read_text()
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    assert f"echo '{_INSTALLING.strip()}'" in makefile


def test_no_line_of_code_in_the_readme_needs_a_scroll_bar() -> None:
    wide = [
        line
        for block in _CODE.finditer(README.read_text())
        for line in block[0].splitlines()
        if len(line) > WIDTH
    ]
    assert wide == []
