"""Spectral and Redocly report no problem of the OpenAPI documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.generators.conftest import DOCUMENTS
from tests.generators.tools import Node

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def ruleset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spectral") / "ruleset.yaml"
    path.write_text('extends: ["spectral:oas"]\n')
    return path


def spectral(node: Node, document: Path, ruleset: Path) -> str:
    """Run Spectral and return its report; a warning or a hint fails the test, too."""
    return node.run("spectral", "lint", "--fail-severity", "hint", "--ruleset", ruleset, document)


def redocly(node: Node, document: Path) -> dict[str, int]:
    """Run Redocly and return the numbers of errors and warnings."""
    arguments = ["--extends", "recommended", "--format", "json"]
    output = node.run("redocly", "lint", document, *arguments)
    found: dict[str, int] = json.JSONDecoder().raw_decode(output[output.index("{") :])[0]["totals"]
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_spectral_reports_nothing(
    node: Node, documents: dict[str, Path], ruleset: Path, name: str
) -> None:
    assert "No results" in spectral(node, documents[name], ruleset)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_redocly_reports_nothing(node: Node, documents: dict[str, Path], name: str) -> None:
    totals = redocly(node, documents[name])
    assert (totals["errors"], totals["warnings"]) == (0, 0)


def test_control_linters_report_faults(
    node: Node, documents: dict[str, Path], ruleset: Path, tmp_path: Path
) -> None:
    content = json.loads(documents["v2"].read_text())
    content["components"]["schemas"]["EventPage"]["properties"]["items"] = {"type": "array"}
    del content["paths"]["/api/v2/health"]["get"]["security"]
    faulty = tmp_path / "faulty.json"
    faulty.write_text(json.dumps(content))

    with pytest.raises(AssertionError, match="array-items"):
        spectral(node, faulty, ruleset)
    with pytest.raises(AssertionError, match="security-defined"):
        redocly(node, faulty)
