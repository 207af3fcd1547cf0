"""Deployment files that tests cannot run are valid and refer to existing things."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from dotenv import dotenv_values

from eventapi.configuration.load import load
from eventapi.security.secret_key import parse_keys
from events.errors import ConfigurationError
from tests.deployment.balancer import DEPLOY
from tests.end_to_end.server import ROOT

COMPOSE = DEPLOY / "compose"
NOT_RUN = [DEPLOY / "Containerfile", *COMPOSE.glob("*.yaml")]


@pytest.fixture
def compose() -> dict[str, Any]:
    """The compose file with the variables of example.env."""
    return interpolate(dotenv_values(COMPOSE / "example.env"))


def interpolate(variables: Mapping[str, str | None]) -> dict[str, Any]:
    """The compose file with variables substituted in the values, as in Compose."""

    def substitute(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: substitute(one) for key, one in value.items()}
        if isinstance(value, list):
            return [substitute(one) for one in value]
        if isinstance(value, str):
            return re.sub(r"\$\{(\w+)\}", lambda name: variables[name[1]] or "", value)
        return value

    found: dict[str, Any] = substitute(yaml.safe_load((COMPOSE / "compose.yaml").read_text()))
    return found


def bind_mounts(compose: dict[str, Any]) -> list[tuple[str, str, Path]]:
    """Service, target and file of everything that is mounted from this repository."""
    return [
        (name, parts[1], COMPOSE / parts[0])
        for name, service in compose["services"].items()
        for parts in (volume.split(":") for volume in service.get("volumes", ()))
        if parts[0].startswith(".")
    ]


@pytest.mark.parametrize("file", NOT_RUN, ids=lambda file: str(file.name))
def test_file_that_is_not_run_is_marked_in_its_first_line(file: Path) -> None:
    assert file.read_text().startswith("# NOT RUN where the tests run")


def test_settings_in_the_files_are_valid(compose: dict[str, Any]) -> None:
    of_units = load({}, DEPLOY / "eventapi.env").settings
    assert of_units.trusted_proxies == ("127.0.0.1",)
    for name in ("eventapi-1", "eventapi-2", "eventapi-3"):
        settings = load(compose["services"][name]["environment"], Path("/nonexistent")).settings
        (subnet,) = compose["networks"]["default"]["ipam"]["config"]
        assert settings.trusted_proxies == (subnet["subnet"],)


@pytest.mark.parametrize("file", [DEPLOY / "eventapi.env", COMPOSE / "example.env"])
def test_server_refuses_the_secret_key_of_the_examples(file: Path) -> None:
    with pytest.raises(ConfigurationError):
        parse_keys(dotenv_values(file)["EVENTAPI_SECRET_KEY"] or "")


@pytest.mark.parametrize("password", ["S3c@ret/#?%41:&", "'\"\\ $x ü", "CHANGE-ME"])
def test_database_password_may_have_any_characters(password: str) -> None:
    """Database and clients get it unchanged; in a URL it would have to be escaped."""
    services = interpolate(
        {**dotenv_values(COMPOSE / "example.env"), "POSTGRES_PASSWORD": password}
    )["services"]
    assert services["postgresql"]["environment"]["POSTGRES_PASSWORD"] == password
    for name in ("eventapi-1", "eventapi-2", "eventapi-3"):
        environment = services[name]["environment"]
        settings = load(environment, Path("/nonexistent")).settings
        address = sqlalchemy.make_url(settings.log or "")
        assert (address.username, address.password) == ("eventapi", None)
        assert (address.host, address.database) == ("postgresql", "eventapi")
        assert (
            environment["PGPASSWORD"] == password
        )  # The driver is tested in tests/events/log/sql/test_log.py.


def test_every_service_restarts_with_the_machine(compose: dict[str, Any]) -> None:
    """With `on-failure`, Docker restarts a service only after a failure."""
    policies = {name: service["restart"] for name, service in compose["services"].items()}
    assert set(policies.values()) == {"unless-stopped"}, policies


def test_health_check_allows_a_long_replay_at_the_start() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    (period,) = re.findall(r"^HEALTHCHECK .*--start-period=(\d+)h ", text, re.MULTILINE)
    assert int(period) >= 1


def test_build_context_contains_only_what_is_copied() -> None:
    """No setting, key or log in the directory gets into an image or its cache."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *patterns = [line for line in lines if line and not line.startswith("#")]
    assert first == "*"
    taken = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert taken == set(copied_paths())
    assert [pattern for pattern in patterns if not pattern.startswith("!")] == ["**/__pycache__"]


CHECKED_ELSEWHERE = {"README.md": "tests/test_documents.py"}


def test_every_deployment_file_is_checked_by_a_test() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))
    files = {file.name for file in DEPLOY.rglob("*") if file.is_file()} - {".env"}
    unchecked = {name for name in files - CHECKED_ELSEWHERE.keys() if name not in tests}
    assert unchecked == set()
    assert all((ROOT / test).exists() for test in CHECKED_ELSEWHERE.values())


def test_mounted_files_and_volumes_exist(compose: dict[str, Any]) -> None:
    files = [file for _, _, file in bind_mounts(compose)]
    assert [file for file in files if not file.exists()] == [
        COMPOSE / "tls"
    ]  # Each operator provides it.
    named = {
        volume.split(":")[0]
        for one in compose["services"].values()
        for volume in one.get("volumes", ())
    }
    assert {name for name in named if not name.startswith(".")} == compose["volumes"].keys()


def test_files_refer_to_existing_services(compose: dict[str, Any]) -> None:
    services = compose["services"].keys()
    instances = re.findall(
        r"^server ([\w-]+):8000 ", (COMPOSE / "instances.conf").read_text(), re.MULTILINE
    )
    scraped = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())["scrape_configs"][0]
    targets = [target.removesuffix(":8000") for target in scraped["static_configs"][0]["targets"]]
    assert instances == targets == [name for name in services if name.startswith("eventapi-")]
    for service in compose["services"].values():
        assert set(service.get("depends_on", ())) <= services
    source = yaml.safe_load((COMPOSE / "grafana-datasources.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    boards = yaml.safe_load((COMPOSE / "grafana-dashboards.yaml").read_text())["providers"][0]
    assert boards["options"]["path"] in [place for _, place, _ in bind_mounts(compose)]


def test_container_copies_all_packages_and_they_exist() -> None:
    assert [name for name in copied_paths() if not (ROOT / name).exists()] == []
    assert {"eventapi", "projections", "events", "pyproject.toml"} <= set(copied_paths())


def copied_paths() -> list[str]:
    """The paths that the Containerfile copies."""
    lines = re.findall("^COPY ([^-].*)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    return [name for line in lines for name in line.split()[:-1]]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is absent: make servers")
def test_prometheus_takes_its_configuration() -> None:
    command = ["promtool", "check", "config", str(COMPOSE / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
