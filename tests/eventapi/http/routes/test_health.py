"""Health: details for people, liveness and readiness for process managers."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.telemetry.metrics.store import MetricsStore
from tests.eventapi.http.client import Api, Caller, quiet_settings


def test_a_running_server_is_alive_and_ready(api: Api, prefix: str) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = api.request("GET", prefix + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_details_report_the_position_of_the_log(ann: Caller, prefix: str) -> None:
    ann.create()

    report = ann.api.request("GET", f"{prefix}/health").json()

    assert report["status"] == "ok"
    assert (report["position"], report["lag"]) == (ann.api.log.position, 0)
    assert report["queued"] == 0
    assert report["uptime_seconds"] >= 0
    assert report["process"] > 0
    assert report["workers"] == 1
    assert report["version"]


def test_details_report_the_free_space_of_the_disk(tmp_path: Path) -> None:
    with Api(quiet_settings(data=str(tmp_path))) as api:
        assert api.request("GET", "/health").json()["disk_free_bytes"] > 0


def test_details_are_answered_without_a_data_directory(tmp_path: Path) -> None:
    with Api(quiet_settings(data=str(tmp_path / "nowhere"))) as api:
        answer = api.request("GET", "/health")
        assert (answer.status_code, answer.json()["disk_free_bytes"]) == (200, None)


def test_unreadable_metrics_do_not_make_the_server_unready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A balancer must not take the server out because of its metrics."""

    def fail(store: MetricsStore) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(MetricsStore, "workers", fail)

    assert api.request("GET", "/health/ready").status_code == 200
    answer = api.request("GET", "/health")
    assert (answer.status_code, answer.json()["workers"]) == (200, None)
