"""Queries of projections over HTTP: their document, and the point of the past."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.resources import Caller, Projection, PublicEvent
from tests.eventapi.http.client import assert_problem
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.resources.applications import Positions, Revenue, invoices_with

REVENUE = "/projections/revenue"


class Faulty(Projection):
    """Has a query with mistakes."""

    state = Positions()

    def apply(self, event: PublicEvent) -> None:
        """Fold nothing."""

    def query(self, caller: Caller, *, mistake: str) -> Any:
        if mistake == "leave":
            sys.exit(5)
        if mistake == "key":
            raise KeyError(mistake)
        return object()


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(invoices_with(Revenue, Faulty)) as running:
        yield running


def test_the_point_of_a_projection_is_documented_as_all_others(api: ResourceApi) -> None:
    document = api.request("GET", f"{V2}/openapi.json").json()
    shared = document["components"]["parameters"]
    found: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        for given in operations.get("get", {}).get("parameters", ()):
            parameter = shared.get(given.get("$ref", "").rpartition("/")[2], given)
            if parameter["name"] == "as_of":
                found[path] = parameter
    assert len(found) >= 4
    assert all(one == found[V2 + REVENUE] for one in found.values())
    assert found[V2 + REVENUE]["schema"]["pattern"]


def test_a_projection_is_queried_as_of_a_position_or_a_time(api: ResourceApi) -> None:
    ann = api.user()
    path = f"{REVENUE}?month=2026-01"
    for point in ("1", "2999-01-01T00:00:00Z"):
        assert ann.get(f"{path}&as_of={point}").json() == 0
    for point in ("x", "2026-01-01", "999999"):
        problem = assert_problem(ann.get(f"{path}&as_of={point}"), 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "/as_of"


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ("key", "the query of the projection 'faulty' raised KeyError"),
        ("leave", "the query of the projection 'faulty' raised SystemExit"),
        ("object", "the answer of the projection 'faulty' raised TypeError"),
    ],
)
def test_a_mistake_in_a_query_is_named(
    api: ResourceApi, caplog: pytest.LogCaptureFixture, mistake: str, named: str
) -> None:
    ann = api.user()
    answer = ann.get(f"/projections/faulty?mistake={mistake}")
    problem = assert_problem(answer, 500, "internal-error")
    assert "faulty" not in problem["detail"]
    (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert logged.getMessage().startswith(f"internal-error: {named}")
    assert ann.get(f"{REVENUE}?month=2026-01").status_code == 200
