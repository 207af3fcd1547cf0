"""Production in short: everything behind the balancer is killed in its turn, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from tests.deployment.production.differences import DIFFERENT
from tests.deployment.production.incidents import Effect
from tests.deployment.production.load import Through
from tests.deployment.production.stack import Stack
from tests.deployment.production.trial import Trial, judged, try_out
from tests.deployment.production.walk import PASSWORD, Walk
from tests.end_to_end.linearizability import Guilt
from tests.end_to_end.server import ROOT, uvicorn_of
from tests.end_to_end.workload import Load
from tests.eventapi.http.client import PREFIXES
from tests.servers.postgresql import PostgreSQL

PAUSE_SECONDS = 0.2
CLIENTS = 4
"""Few: they share the cores with what has to start again, and that is what takes the time."""


def test_every_operation_is_answered_through_the_balancer_as_documented(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    with (
        Stack(tmp_path, postgresql) as stack,
        httpx.Client(base_url=stack.balancer.url, verify=stack.balancer.trust) as client,
    ):
        body = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
        assert client.post("/auth/register", json=body).status_code == 200
        stack.run("users", "grant", "ann", "auditor")
        walk = Walk(client, "ann")
        walk.run()
    assert {f"GET {prefix}/items" for prefix in PREFIXES} <= walk.asked.keys()
    assert len(walk.asked) > 120
    done = [what for what, status in walk.asked.items() if status < 300]
    assert len(done) > 100, walk.asked


def test_control_an_instance_that_does_not_listen_for_the_position_is_found(tmp_path: Path) -> None:
    command = uvicorn_of("tests.end_to_end.planted:unasked")
    with Stack(tmp_path, None, command=command) as stack:
        load = Load([stack.balancer.port], tmp_path, clients=16, seconds=3)
        ran = asyncio.run(Through(load, stack.balancer.trust).run())
        verdict, _ = judged(stack, tmp_path, ran)
    assert Guilt.STALE in verdict.guilt, f"{verdict}"


def effect_of(trial: Trial, name: str) -> Effect:
    """What clients noticed of the incident whose name begins so."""
    (found,) = [effect for effect in trial.effects if effect.name.startswith(name)]
    return found


def assert_innocent(trial: Trial, operations: int) -> None:
    """No acknowledged write is lost and no read is older than it was asked to be."""
    assert not trial.verdict.guilt, f"{trial}"
    assert trial.verdict.counts["operations"] > operations, f"{trial}"
    # Who reads notices nothing, for the next instance is asked: save where half an answer was sent.
    assert effect_of(trial, "an instance is killed").reads <= 2, f"{trial}"
    assert effect_of(trial, "Valkey is killed").reads == 0, f"{trial}"


def test_whatever_is_killed_nothing_is_lost_and_nothing_is_stale(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    with Stack(tmp_path, postgresql) as stack:
        trial = try_out(stack, tmp_path, clients=CLIENTS, pause=PAUSE_SECONDS)
    assert_innocent(trial, 300)
    assert len(trial.effects) == 7


def test_what_may_differ_behind_a_balancer_are_tests_that_there_are() -> None:
    text = "".join(path.read_text() for path in (ROOT / "tests/eventapi/http").glob("test_*.py"))
    assert [name for name in DIFFERENT if f"def {name}(" not in text] == []
