"""Dashboard, alerts and documentation agree with the metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from eventapi.telemetry.metrics.gauges import Sample
from eventapi.telemetry.metrics.meters import Meters, meters_unless_full
from tests.end_to_end.server import Server, by_serve
from tests.eventapi.telemetry.metrics.reading import Page
from tests.servers.serving import serving
from tests.servers.web import Prometheus

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "eventapi.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DOCUMENT = ROOT / "docs" / "observability.md"

_METRIC = re.compile(r"\b(?:eventapi|process)_[a-z_]+\b")
_LABELS = re.compile(r"\{([^{}]*)\}")
_LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is absent: make servers"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A metrics page with every metric."""
    with meters_unless_full(tmp_path_factory.mktemp("metrics"), "1") as meters:
        assert isinstance(meters, Meters)
        meters.count_request("POST", "/auth/login", 200, 0.1)
        meters.count_rate_limited("login")
        meters.count_webhook(1, failed=True)
        meters.count_witness("w1", failed=True)
        sample = Sample(1, 0, 0, 0, 0, 0, 1, redis_ok=True, signing_ok=True)
        sample = replace(sample, witness_times={"w1": 0.0}, cosigned_at=0.0)
        meters.sample(replace(sample, segments=1, closed_bytes=1))
        return Page(meters.store.collect())


@pytest.fixture(scope="module")
def names(page: Page) -> set[str]:
    return {name for name, _ in page.series}


def expressions() -> Iterator[tuple[str, str]]:
    """Yield panel or alert name and expression, for the dashboard and the alerts."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for text in re.split(r"- alert: ", ALERTS.read_text())[1:]:
        name, _, rest = text.partition("\n")
        yield name, re.split(r"\n        (?:for|labels):", rest)[0]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(
    "expression", [one for _, one in EXPRESSIONS], ids=[where for where, _ in EXPRESSIONS]
)
def test_expression_uses_existing_metrics_and_labels(
    expression: str, page: Page, names: set[str]
) -> None:
    used = set(_METRIC.findall(expression))
    assert used <= names
    assert used or "up{" in expression
    known = {label for _, labels in page.series for label, _ in labels} | {"instance", "job"}
    for labels in _LABELS.findall(expression):
        assert set(_LABEL.findall(labels)) <= known


def test_control_unknown_metric_is_found(names: set[str]) -> None:
    assert not set(_METRIC.findall("rate(eventapi_nonsense_total[5m])")) <= names
    assert len(EXPRESSIONS) > 40


def test_dashboard_shows_every_metric(names: set[str]) -> None:
    shown = set(_METRIC.findall(DASHBOARD.read_text()))
    hidden = {name for name in names if not name.endswith(("_bucket", "_sum", "_count"))} - shown
    assert hidden == set()


def test_dashboard_has_the_structure_that_grafana_requires() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time"} <= dashboard.keys()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells
        assert panel["type"] == "row" or panel["description"].endswith(".")
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


def test_every_metric_and_every_alert_is_documented(page: Page) -> None:
    text = DOCUMENT.read_text()
    for family in page.families:
        suffix = "_total" if family.type == "counter" else ""
        assert f"`{family.name}{suffix}`" in text
        for _, labels in page.series:
            assert all(f"`{label}`" in text for label, _ in labels if label != "le")
    for alert in re.findall(r"- alert: (\w+)", ALERTS.read_text()):
        assert f"`{alert}`" in text
    named = set(re.findall(r"`((?:eventapi|process)_[a-z_]+)`", text))
    assert named <= {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in page.families
    }


@needs_promtool
@pytest.mark.parametrize(
    "command",
    [("check", "rules", ALERTS), ("check", "config", PROMETHEUS)],
    ids=["rules", "config"],
)
def test_promtool_accepts_rules_and_configuration(command: tuple[str, str, Path]) -> None:
    checked = subprocess.run(
        ["promtool", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


ALERT_TESTS = """\
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="eventapi",instance="a"}}', values: '1 1 0x20'}}
      - {{series: 'eventapi_http_requests_total{{instance="a",status="200"}}', values: '0+60x20'}}
      - {{series: 'eventapi_http_requests_total{{instance="a",status="503"}}', values: '0+3x20'}}
      - {{series: 'eventapi_http_requests_total{{instance="b",status="200"}}', values: '0+60x20'}}
      - {{series: 'eventapi_log_append_failures_total{{instance="a",reason="fenced"}}', values: '0x9 1x10'}}
      - {{series: 'eventapi_log_append_failures_total{{instance="b",reason="fenced"}}', values: '0x20'}}
      - {{series: 'eventapi_worker_starts_total{{instance="a"}}', values: '4x5 12x3 20x10'}}
      - {{series: 'eventapi_workers{{instance="a"}}', values: '4x20'}}
      - {{series: 'eventapi_worker_starts_total{{instance="b"}}', values: '4x5 8x15'}}
      - {{series: 'eventapi_workers{{instance="b"}}', values: '4x20'}}
      - {{series: 'eventapi_clock_refuses_writes{{instance="a"}}', values: '0x9 1x10'}}
      - {{series: 'eventapi_clock_refuses_writes{{instance="b"}}', values: '0x20'}}
      - {{series: 'eventapi_clock_drift_seconds{{instance="a"}}', values: '-45x20'}}
      - {{series: 'eventapi_clock_drift_seconds{{instance="b"}}', values: '20x20'}}
    alert_rule_test:
      - eval_time: 12m
        alertname: EventapiDown
        exp_alerts:
          - exp_labels: {{severity: page, job: eventapi, instance: a}}
            exp_annotations: {{summary: "a does not answer"}}
      - eval_time: 12m
        alertname: EventapiErrors
        exp_alerts:
          - exp_labels: {{severity: page, instance: a}}
            exp_annotations: {{summary: "4.762% of the answers of a are errors"}}
      - eval_time: 12m
        alertname: EventapiSyncFailed
        exp_alerts:
          - exp_labels: {{severity: page, instance: a, reason: fenced}}
            exp_annotations:
              summary: "A sync of the log failed on a: do not trust its disk"
      - eval_time: 5m
        alertname: EventapiSyncFailed
        exp_alerts: []
      - eval_time: 12m
        alertname: EventapiClockRefusesWrites
        exp_alerts:
          - exp_labels: {{severity: page, instance: a}}
            exp_annotations:
              summary: "a refuses writes: the clock of its machine cannot be right"
      - eval_time: 5m
        alertname: EventapiClockRefusesWrites
        exp_alerts: []
      - eval_time: 12m
        alertname: EventapiClockDrifts
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a}}
            exp_annotations:
              summary: "The log's clock is 45s away from the clock of a"
      - eval_time: 12m
        alertname: EventapiWorkersDie
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a}}
            exp_annotations: {{summary: "Workers of a are replaced repeatedly"}}
"""


WEBHOOK_TESTS = """\
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      # Fails for hours, and is tried less and less often.
      - {{series: 'eventapi_follower_lag_events{{instance="a",follower="webhook-1"}}', values: '0x60 3x1200'}}
      - {{series: 'eventapi_webhook_attempts_total{{instance="a",id="1"}}', values: '7x60 12x30 13x300 14x900'}}
      - {{series: 'eventapi_webhook_failures_total{{instance="a",id="1"}}', values: '0x60 5x30 6x300 7x900'}}
      # Failed once, and waits for events.
      - {{series: 'eventapi_follower_lag_events{{instance="b",follower="webhook-1"}}', values: '0x60 3 0x1200'}}
      - {{series: 'eventapi_webhook_attempts_total{{instance="b",id="1"}}', values: '7x60 9x1200'}}
      - {{series: 'eventapi_webhook_failures_total{{instance="b",id="1"}}', values: '0x60 1x1200'}}
      # Always has events to deliver, and fails now and then; the server restarts.
      - {{series: 'eventapi_follower_lag_events{{instance="c",follower="webhook-1"}}', values: '5x1300'}}
      - {{series: 'eventapi_webhook_attempts_total{{instance="c",id="1"}}', values: '7+9x300 0+9x900'}}
      - {{series: 'eventapi_webhook_failures_total{{instance="c",id="1"}}', values: '0+2x300 0+2x900'}}
    alert_rule_test:
      - {{eval_time: 60m, alertname: EventapiWebhookFails, exp_alerts: []}}
      - eval_time: 125m
        alertname: EventapiWebhookFails
        exp_alerts: &nothing_reaches_a
          - exp_labels: {{severity: warning, instance: a, id: 1, follower: webhook-1}}
            exp_annotations: {{summary: "Nothing reaches webhook 1 of a"}}
      - {{eval_time: 300m, alertname: EventapiWebhookFails, exp_alerts: *nothing_reaches_a}}
      - {{eval_time: 500m, alertname: EventapiWebhookFails, exp_alerts: *nothing_reaches_a}}
      - {{eval_time: 900m, alertname: EventapiWebhookFails, exp_alerts: *nothing_reaches_a}}
      - {{eval_time: 1200m, alertname: EventapiWebhookFails, exp_alerts: *nothing_reaches_a}}
"""


@needs_promtool
@pytest.mark.parametrize("tests", [ALERT_TESTS, WEBHOOK_TESTS], ids=["server", "webhooks"])
def test_alerts_fire_exactly_when_they_should(tests: str, tmp_path: Path) -> None:
    """Also: a takeover, which starts as many workers as there are, raises no alert."""
    alert_tests = tmp_path / "alert_tests.yml"
    alert_tests.write_text(tests.format(alerts=ALERTS))
    done = subprocess.run(
        ["promtool", "test", "rules", str(alert_tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def prometheus_configuration(port: int) -> str:
    """The deployed configuration with another port and a scrape every second."""
    config = PROMETHEUS.read_text().replace("127.0.0.1:8001", f"127.0.0.1:{port}")
    config = re.sub(r"\n +- 127\.0\.0\.1:800[23]", "", config).replace("15s", "1s")
    return config.replace("alerts.yml", str(ALERTS))


def test_compose_file_mounts_the_alerts() -> None:
    config = (ROOT / "deploy" / "compose" / "prometheus.yml").read_text()
    (wanted,) = re.findall(r"rule_files: \[(.*)\]", config)
    assert fnmatch(f"/etc/prometheus/rules/{ALERTS.name}", wanted)


def test_real_prometheus_evaluates_all_expressions(tmp_path: Path) -> None:
    """It scrapes the server and evaluates every expression of dashboard and alerts."""
    with (
        Server(tmp_path / "data", 2, by_serve) as server,
        serving(Prometheus(prometheus_configuration(server.port))) as prometheus,
    ):
        deadline = time.monotonic() + 60
        while not all(
            map(prometheus.query, ("eventapi_http_requests_total > 1", "eventapi_workers == 2"))
        ):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert prometheus.query('up{job="eventapi"} == 1')
        (group,) = httpx.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
        assert len(group["rules"]) == ALERTS.read_text().count("- alert:")
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$instance", ".*")
                prometheus.query(expression.replace("$__rate_interval", "1m"))
