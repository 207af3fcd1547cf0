"""Health: for people, and for what starts and stops processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.telemetry.metrics.store import MetricsStore
from tests.eventapi.http.client import Api, Caller, quiet_settings


def test_a_running_server_is_alive_and_ready(api: Api, prefix: str) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = api.request("GET", prefix + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_details_tell_where_the_log_stands(ann: Caller, prefix: str) -> None:
    ann.create()
    report = ann.api.request("GET", f"{prefix}/health").json()
    assert report["status"] == "ok"
    assert (report["position"], report["lag"]) == (ann.api.log.position, 0)
    assert report["queued"] == 0
    assert report["uptime_seconds"] >= 0
    assert report["process"] > 0
    assert report["workers"] == 1
    assert report["version"]


def test_details_tell_the_room_on_the_disk(tmp_path: Path) -> None:
    with Api(quiet_settings(data=str(tmp_path))) as api:
        assert api.request("GET", "/health").json()["disk_free_bytes"] > 0


def test_details_do_without_a_disk(tmp_path: Path) -> None:
    with Api(quiet_settings(data=str(tmp_path / "nowhere"))) as api:
        answer = api.request("GET", "/health")
        assert (answer.status_code, answer.json()["disk_free_bytes"]) == (200, None)


def test_numbers_that_cannot_be_read_make_nobody_unready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics are a convenience: for them no balancer is to send requests elsewhere."""

    def gone(store: MetricsStore) -> int:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(MetricsStore, "workers", gone)
    assert api.request("GET", "/health/ready").status_code == 200
    answer = api.request("GET", "/health")
    assert (answer.status_code, answer.json()["workers"]) == (200, None)
