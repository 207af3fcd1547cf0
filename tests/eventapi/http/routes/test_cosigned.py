"""The cosigned checkpoint over HTTP, and what health and metrics show of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventapi.values.times import seconds_of
from eventapi.witnesses import tasks
from events.transparency.cosignature import Cosigner
from events.transparency.signed_note import Note
from tests.eventapi.http.client import Api, assert_problem, quiet_settings
from tests.eventapi.http.webhooks.test_webhooks import until
from tests.eventapi.witnesses.process import QUICK, policy_text
from tests.eventapi.witnesses.witness_server import Running, witnessing

END_OF_TIME = (1 << 63) - 1


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Running]:
    with witnessing(tmp_path / "w1") as running:
        yield running


@pytest.fixture
def api(tmp_path: Path, witness: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An app with one witness, which trusts its log."""
    monkeypatch.setattr(tasks, "Pace", lambda: QUICK)
    policy = tmp_path / "policy"
    policy.write_text(policy_text([witness]))
    with Api(quiet_settings(witnesses=str(policy))) as running:
        witness.witness.trust(running.request("GET", "/log/key").text)
        yield running


def is_cosigned(api: Api) -> Callable[[], bool]:
    return lambda: api.request("GET", "/log/cosigned").status_code == 200


def test_the_cosigned_checkpoint_is_served_and_shown(api: Api, witness: Running) -> None:
    assert_problem(api.request("GET", "/log/cosigned"), 404, "not-found")
    cosigning = api.request("GET", "/health").json()["cosigning"]
    assert cosigning == {
        "status": "overdue",
        "size": None,
        "cosigned_at": None,
        "witnesses": [{"name": "w1", "cosigned_at": None}],
    }
    api.caller("ann")
    until(api, is_cosigned(api))

    note = Note.parse(api.request("GET", "/log/cosigned").text)
    found = Cosigner.parse(witness.witness.vkey).newest(note)
    assert found is not None
    until(api, lambda: api.request("GET", "/health").json()["cosigning"]["status"] == "ok")
    cosigning = api.request("GET", "/health").json()["cosigning"]
    assert seconds_of(cosigning["cosigned_at"]) == found[0]
    assert cosigning["witnesses"] == [{"name": "w1", "cosigned_at": cosigning["cosigned_at"]}]
    metrics = api.request("GET", "/metrics").text
    assert 'eventapi_witness_attempts_total{witness="w1"}' in metrics
    assert 'eventapi_witness_failures_total{witness="w1"} 0.0' in metrics
    assert 'eventapi_witness_cosigned_timestamp_seconds{witness="w1"} 1' in metrics
    assert "\neventapi_log_cosigned_timestamp_seconds 1" in metrics


def test_a_dead_witness_makes_no_check_fail(api: Api, witness: Running) -> None:
    witness.witness.faults = ["500"]
    api.caller("ann")
    until(api, lambda: len(witness.witness.requests) > 2)

    assert api.request("GET", "/health/ready").status_code == 200
    assert api.request("GET", "/health/live").status_code == 200
    assert api.request("GET", "/log/checkpoint").status_code == 200
    assert api.request("GET", "/health").json()["cosigning"]["status"] == "overdue"
    metrics = api.request("GET", "/metrics").text
    assert 'eventapi_witness_cosigned_timestamp_seconds{witness="w1"} 0.0' in metrics


def test_a_time_without_a_date_is_shown_as_the_last_one(
    api: Api, witness: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may add a cosignature of any time."""
    monkeypatch.setattr("eventapi.witnesses.client.MAX_SKEW_SECONDS", END_OF_TIME)
    witness.witness.now = lambda: END_OF_TIME
    api.caller("ann")
    until(api, is_cosigned(api))
    until(api, lambda: api.request("GET", "/health").json()["cosigning"]["status"] == "ok")

    cosigning = api.request("GET", "/health").json()["cosigning"]
    assert cosigning["cosigned_at"] == "9999-12-31T23:59:59.000000Z"


def test_without_a_policy_health_shows_no_witnesses() -> None:
    with Api() as api:
        assert api.request("GET", "/health").json()["cosigning"] is None
        assert "eventapi_log_cosigned_timestamp_seconds" not in api.request("GET", "/metrics").text
