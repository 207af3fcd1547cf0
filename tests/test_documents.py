"""Files and modules that documents name exist, and documented examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")])

_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_FILE = re.compile(r"`((?:eventapi|events|projections|tests|docs|benchmarks|deploy)/[\w./-]+)")
_MODULE = re.compile(r"python -m ((?:tests|benchmarks)[\w.]+)")


def named_files(document: Path) -> set[Path]:
    """The files that a document links to or names."""
    text = document.read_text()
    links = {document.parent / target for target in _LINK.findall(text)}
    files = {ROOT / name for name in _FILE.findall(text)}
    modules = {ROOT / name.replace(".", "/") for name in _MODULE.findall(text)}
    return links | files | {path if path.is_dir() else path.with_suffix(".py") for path in modules}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_named_in_a_document_exists(document: Path) -> None:
    assert [path for path in sorted(named_files(document)) if not path.exists()] == []


def test_control_names_in_a_document_are_detected() -> None:
    found = {str(path.relative_to(ROOT)) for path in named_files(ROOT / "docs" / "security.md")}
    assert {"tests/security/fuzz.py", "tests/security/test_tls.py"} <= found


def test_every_step_of_the_operating_guide_names_the_test_that_runs_it() -> None:
    """The guide has a step for each task in the table of README.md."""
    _, *steps = re.split(r"^## ", (ROOT / "docs" / "operating.md").read_text(), flags=re.MULTILINE)
    named = {step.partition("\n")[0]: step.lower() for step in steps}
    wanted = {"Install", "Upgrade", "Back up", "Restore", "Rotate keys", "Move to PostgreSQL"}
    assert wanted | {"Size a machine"} <= named.keys()

    marks = ("*run*", "*not run*")
    assert [name for name, step in named.items() if not any(mark in step for mark in marks)] == []


@pytest.mark.long
def test_the_example_in_the_testing_guide_runs(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL
    )
    (tmp_path / "test_rules.py").write_text(example)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rules.py"]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout
