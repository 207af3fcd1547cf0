"""Commands, settings and targets in documents exist; blocks name their tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from eventapi.cli.main import program
from eventapi.configuration.setting import PREFIX
from eventapi.configuration.settings import Settings
from tests.test_documents import ROOT

DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")}
    - {ROOT / "CHANGELOG.md"}
)
FILES = sorted({*DOCUMENTS, *(file for file in ROOT.glob("deploy/**/*") if file.is_file())})

_INLINE = re.compile(r"`([^`\n]+)`")
_BLOCK = re.compile(r"^(?:    .*\n|\n(?=    ))+", re.MULTILINE)
_FENCED = re.compile(r"^```(?!console)\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_END = re.compile(r"\s(?:[|&;<>#]|\d?>)|[;)]|\s#")
"""The end of a command in a shell."""

NOT_SETTINGS = {
    "EVENTAPI_PORT",
    "EVENTAPI_SERVICE_HOST",  # Set by Kubernetes.
    "EVENTAPI_TESTS_THROUGH",  # Read by the tests.
}


def code(text: str) -> Iterator[str]:
    """The lines of code blocks, continued lines joined, and code in sentences.

    Lines of a console that do not begin with a prompt are output.
    """
    for block in (*_BLOCK.findall(text), *_FENCED.findall(text)):
        yield from block.replace("\\\n", " ").splitlines()
    for block in _CONSOLE.findall(text):
        yield from re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
    yield from _INLINE.findall(text)


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every command of ``eventapi`` in code."""
    for line in code(text):
        for start in re.finditer(
            r"(?:^|[\s(]|/bin/)eventapi (?!eventapi)(?=((?:--?)?[a-z][^`]*))", line
        ):
            rest = _END.split(start[1], maxsplit=1)[0]
            try:
                yield shlex.split(rest)
            except ValueError:
                yield rest.split()


def fault(words: list[str]) -> str | None:
    """The unknown name or option of a command, if it has one."""
    found: click.Command = program
    context = click.Context(program)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        command = found.get_command(context, name)
        if command is None:
            return f"{found.name} has no command {name}"
        found = command
    known = {name for one in (found, program) for option in one.params for name in option.opts}
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    unknown = options - known - {"--help"}
    return f"{found.name} has no option {unknown}" if unknown else None


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists(file: Path) -> None:
    found = {" ".join(words): fault(words) for words in commands(file.read_text())}
    assert {command: wrong for command, wrong in found.items() if wrong} == {}


def test_control_commands_and_their_faults_are_detected() -> None:
    found = [words for file in DOCUMENTS for words in commands(file.read_text())]

    assert ["log", "verify", "--seals"] in found
    assert ["users", "erase", "ann", "--yes"] in found  # After a prompt.
    assert ["serve", "--accept-clock", "--port", "0", "--data", "DIR"] in found
    assert len(found) > 50
    assert fault(["log", "verify", "--seals"]) is None
    assert fault(["log", "varify"])
    assert fault(["log", "verify", "--seal"])


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_in_a_document_exists(file: Path) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__} | NOT_SETTINGS
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", file.read_text()))

    assert named - known == set()


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_in_a_document_exists(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [line for line in code(file.read_text()) if re.match(r"\s*(\S+ && )?make ", line)]
    named = {word for line in lines for word in re.findall(r"\bmake (?:-C \S+ )?([a-z-]+)", line)}

    assert named - targets == set()


def test_every_block_of_the_operating_guide_names_the_test_that_runs_it() -> None:
    """In its section: `Run` and a test, or `not run`."""
    sections = re.split(
        r"^#{2,} ", (ROOT / "docs" / "operating.md").read_text(), flags=re.MULTILINE
    )
    unmarked = [
        section.partition("\n")[0]
        for section in sections
        if _BLOCK.search(section)
        and not re.search(
            r"\*(not )?run\*", section[list(_BLOCK.finditer(section))[-1].end() :], re.IGNORECASE
        )
    ]

    assert unmarked == []
