"""A few cycles of the crash loop; `make prove` has thousands."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.linearizability import Guilt
from tests.end_to_end.server import uvicorn_of
from tests.fault_injection.crashes.campaign import run_directory
from tests.fault_injection.crashes.incidents import Incident

PLANNED = (Incident.STOP, Incident.START, Incident.SNAPSHOT)


def test_nothing_is_lost_doubled_or_invented_by_crashes(tmp_path: Path) -> None:
    """Every write of clients that retry has exactly one effect, and there is an order of it all."""
    totals = run_directory(tmp_path / "data", PLANNED, 1)
    assert not totals.guilt.total(), f"{totals}"
    assert totals.counts["cycles"] == len(PLANNED)
    assert totals.counts["writes acknowledged"] > 100, f"{totals}"
    assert totals.counts["writes of clients that retry"] > 10, f"{totals}"
    assert totals.counts["operations searched"] > 500, f"{totals}"


def test_a_server_that_answers_too_early_is_found(tmp_path: Path) -> None:
    """The control: the same campaign, on a server that acknowledges before it writes."""
    command = uvicorn_of("tests.end_to_end.planted:early_answers")
    totals = run_directory(tmp_path / "data", [Incident.WORKERS], 1, command)
    assert totals.guilt[Guilt.LOST] or totals.guilt[Guilt.FUTURE], f"{totals}"
