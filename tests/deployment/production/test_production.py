"""Short form of the production run: each part behind the balancer is killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.deployment.production.differences import DIFFERENT
from tests.deployment.production.incidents import Effect
from tests.deployment.production.load import BalancerWorkload
from tests.deployment.production.stack import Stack
from tests.deployment.production.trial import Trial, judge_run, run_trial
from tests.deployment.production.walk import PASSWORD, Walk
from tests.end_to_end.accounts import TIMEOUT_SECONDS
from tests.end_to_end.linearizability import Violation
from tests.end_to_end.server import ROOT, uvicorn_of
from tests.end_to_end.workload import Load
from tests.eventapi.http.client import PREFIXES
from tests.servers.postgresql import PostgreSQL

PAUSE_SECONDS = 0.2
CLIENTS = 4
"""Few, because they share the cores with the processes that restart."""


def test_every_operation_through_the_balancer_is_answered_as_documented(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    with (
        Stack(tmp_path, postgresql) as stack,
        httpx.Client(
            base_url=stack.balancer.url, verify=stack.balancer.ssl_context, timeout=TIMEOUT_SECONDS
        ) as client,
    ):
        body = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
        assert client.post("/auth/register", json=body).status_code == 200
        stack.run("users", "grant", "ann", "auditor")
        walk = Walk(client, "ann")
        walk.run()
    assert {f"GET {prefix}/items" for prefix in PREFIXES} <= walk.statuses.keys()
    assert len(walk.statuses) > 120
    done = [what for what, status in walk.statuses.items() if status < 300]
    assert len(done) > 100, walk.statuses


def test_control_instance_that_ignores_min_event_position_is_found(tmp_path: Path) -> None:
    command = uvicorn_of("tests.end_to_end.planted:ignored_min_position")
    with Stack(tmp_path, None, command=command) as stack:
        load = Load([stack.balancer.port], tmp_path, clients=16, seconds=3)
        ran = asyncio.run(BalancerWorkload(load, stack.balancer.ssl_context).run())
        verdict, _ = judge_run(stack, tmp_path, ran)
    assert Violation.STALE in verdict.violations, f"{verdict}"


def effect_of(trial: Trial, name: str) -> Effect:
    """The effect of the incident whose name starts with ``name``."""
    (found,) = [effect for effect in trial.effects if effect.name.startswith(name)]
    return found


def assert_no_violation(trial: Trial, operations: int) -> None:
    """Assert that no acknowledged write is lost and no read is older than requested."""
    assert not trial.verdict.violations, f"{trial}"
    assert trial.verdict.counts["operations"] > operations, f"{trial}"
    # Reads do not fail, because nginx retries them on the next instance, except for a response
    # that was cut half-way.
    assert effect_of(trial, "an instance is killed").reads <= 2, f"{trial}"
    assert effect_of(trial, "Valkey is killed").reads == 0, f"{trial}"


def test_incidents_lose_no_write_and_cause_no_stale_read(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    with Stack(tmp_path, postgresql) as stack:
        trial = run_trial(stack, tmp_path, clients=CLIENTS, pause=PAUSE_SECONDS)
    assert_no_violation(trial, 300)
    assert len(trial.effects) == 7


def test_tests_that_may_differ_behind_a_balancer_exist() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests/eventapi/http").rglob("test_*.py"))
    assert [name for name in DIFFERENT if f"def {name}(" not in text] == []
