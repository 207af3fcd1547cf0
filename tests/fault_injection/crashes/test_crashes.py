"""Short form of the crash campaign: a few cycles; `make prove` runs thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.linearizability import Violation
from tests.end_to_end.server import uvicorn_of
from tests.fault_injection.crashes.campaign import command_of, run_directory
from tests.fault_injection.crashes.incidents import Incident

PLANNED = (Incident.STOP, Incident.START, Incident.SNAPSHOT)


@pytest.mark.parametrize(
    ("seed", "min_segments"), [(1, 0), (2, 1)], ids=["one file", "closed segments"]
)
def test_crashes_lose_duplicate_and_invent_no_write(
    tmp_path: Path, seed: int, min_segments: int
) -> None:
    """Retried writes have exactly one effect; some order explains all operations."""
    totals = run_directory(tmp_path / "data", PLANNED, seed, command_of(seed), min_segments)
    assert (totals.counts["closed segments"] > 0) == (min_segments > 0)
    assert not totals.violations.total(), f"{totals}"
    assert totals.counts["cycles"] == len(PLANNED)
    assert totals.counts["writes acknowledged"] > 100, f"{totals}"
    assert totals.counts["writes of clients that retry"] > 10, f"{totals}"
    assert totals.counts["operations searched"] > 500, f"{totals}"


def test_control_server_that_answers_before_writing_is_found(tmp_path: Path) -> None:
    """The same campaign on a server that acknowledges before it appends."""
    command = uvicorn_of("tests.end_to_end.planted:early_answers")
    totals = run_directory(tmp_path / "data", [Incident.WORKERS], 1, command)
    assert totals.violations[Violation.LOST] or totals.violations[Violation.FUTURE], f"{totals}"
