"""The house stays readable: sizes, first lines, words, and documents that are complete."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from eventapi.configuration.settings import Settings
from eventapi.http.problem_types import PROBLEMS

ROOT = Path(__file__).parent.parent
ROOMS = ("events", "projections", "eventapi")
PRODUCT = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_SUMMARY = 80

LONG_FILES = {"eventapi/evidence/pack/verify.py": "it leaves the server as one file"}
"""Files that may be longer, each with the reason."""

LONG_FUNCTIONS = {"tests/clients/cases/items.py:items": "one list of cases"}
"""Functions that may be longer, each with the reason."""

WORDS = re.compile(
    r"\b(?:nobody|somebody|everybody|anybody|whoever|whomever|lest|thereof"
    r"|save (?:where|when|for|in)|all the same|but for)\b"
    r"|, for (?:it|they|there|nothing)\b",
    re.IGNORECASE,
)
"""Words for processes, callers and reasons that have a plainer and more exact one."""

GLOSSARY = (
    "checkpoint", "checksum", "command", "crypto-shredding", "digest", "event",
    "fence", "fold", "head", "idempotency record", "journal", "mark", "position", "quarantine",
    "record", "seal", "snapshot", "stage", "state", "tile", "tombstone", "upcast", "vault",
)  # fmt: skip


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


class Definition(NamedTuple):
    """A module, class or function."""

    name: str
    is_function: bool
    lines: int
    docstring: str


@cache
def definitions(file: Path) -> list[Definition]:
    """The module of a file, then what it defines; without the tree, which takes much memory."""
    return [
        Definition(
            getattr(node, "name", ""),
            isinstance(node, FUNCTIONS),
            getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1,
            ast.get_docstring(node) or "",
        )
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS))
    ]


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of comments and of texts with a blank, with their numbers."""
    content = io.StringIO(file.read_text())
    for token in tokenize.generate_tokens(content.readline):
        is_text = token.type == tokenize.STRING and " " in token.string
        if token.type == tokenize.COMMENT or is_text:
            for offset, line in enumerate(token.string.split("\n")):
                yield token.start[0] + offset, line


def test_no_file_is_too_long_for_one_sitting() -> None:
    lengths = {name_of(file): len(file.read_text().splitlines()) for file in [*PRODUCT, *TESTS]}
    long = {name for name, lines in lengths.items() if lines > MAX_FILE_LINES}
    assert long == LONG_FILES.keys()


def test_no_function_is_too_long_for_one_look() -> None:
    long = {
        f"{name_of(file)}:{function.name}"
        for file in [*PRODUCT, *TESTS]
        for function in definitions(file)
        if function.is_function and function.lines > MAX_FUNCTION_LINES
    }
    assert long == LONG_FUNCTIONS.keys()


@pytest.mark.parametrize("room", ROOMS)
def test_the_first_line_of_a_docstring_is_a_summary(room: str) -> None:
    summaries = [
        (name_of(file), definition.docstring.partition("\n")[0])
        for file in (ROOT / room).rglob("*.py")
        for definition in definitions(file)
    ]
    assert [summary for summary in summaries if len(summary[1]) > MAX_SUMMARY] == []


@pytest.mark.parametrize("room", ROOMS)
def test_processes_and_reasons_have_plain_words(room: str) -> None:
    found = [
        f"{name_of(file)}:{number}: {line.strip()}"
        for file in (ROOT / room).rglob("*.py")
        for number, line in prose(file)
        if WORDS.search(line)
    ]
    assert found == []


def test_nothing_lies_loose_at_the_top() -> None:
    assert {file.name for file in (ROOT / "eventapi").glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "app.py",
    }


def test_every_package_and_module_says_what_it_is() -> None:
    silent = [
        name_of(file)
        for file in PRODUCT
        if file.read_text().strip() and not definitions(file)[0].docstring
    ]
    assert silent == []


def test_every_word_of_ours_is_in_the_glossary() -> None:
    glossary = (ROOT / "docs" / "glossary.md").read_text().lower()
    assert [word for word in GLOSSARY if f"| {word}" not in glossary] == []


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    names = [name.upper() for name in Settings.__struct_fields__]
    assert [name for name in names if f"`{name}`" not in page and name not in page] == []


def test_every_problem_says_what_it_means() -> None:
    assert [kind.slug for kind in PROBLEMS.values() if len(kind.meaning) < 10] == []


def test_no_program_left_files_in_the_repository() -> None:
    """A command that takes an option for a directory makes one, such as `--help`."""
    assert [file.name for file in ROOT.iterdir() if file.name.startswith("-")] == []


@pytest.mark.parametrize("kind", ["--cached", "--others"])
def test_git_ignores_no_file_that_tests_need(kind: str) -> None:
    """An ignored file is missing from a clone, or from the next commit of a copy."""
    command = ["git", "ls-files", kind, "--ignored", "--exclude-standard", "tests", "docs"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [name for name in found.splitlines() if "__pycache__" not in name] == []
