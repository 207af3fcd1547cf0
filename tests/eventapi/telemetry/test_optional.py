"""Optional packages: a missing one fails the start that needs it, and no other."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eventapi import DISTRIBUTION
from eventapi.telemetry import optional as extras
from eventapi.telemetry.optional import require_sentry, require_tracing
from events.errors import ConfigurationError
from tests.eventapi.cli.running import message_in, run

ROOT = Path(__file__).parents[3]
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a:b@[::1]:4318"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_opentelemetrys_variables_turn_traces_on(environ: dict[str, str], is_on: bool) -> None:
    assert require_tracing(environ) is is_on


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:b@:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:b@127.0.0.1:99999"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:b/c@127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:b#c@127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:b c@127.0.0.1:4318"},
    ],
)
def test_an_unsupported_value_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(more))):
        require_tracing(ENDPOINT | more)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigurationError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT .*opentelemetry-sdk"
    ):
        require_tracing(ENDPOINT)
    with pytest.raises(ConfigurationError, match=r"EVENTAPI_SENTRY_DSN .*sentry-sdk"):
        require_sentry("http://key@127.0.0.1/7")
    assert not require_sentry(None)


@pytest.mark.parametrize("extra", extras.PACKAGES)
def test_the_command_in_the_message_installs_the_missing_packages(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    """Into the environment of this interpreter, and without this project's name."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as refused:
        require_tracing(ENDPOINT) if extra == "otel" else require_sentry("http://key@127.0.0.1/7")
    command = shlex.split(str(refused.value).partition("install it with: ")[2])
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert command[4:] == project["optional-dependencies"][extra]


def test_documents_install_the_distribution_by_its_own_name() -> None:
    """On PyPI, eventapi is another project, which no document or message may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION == "eventapi-server"
    assert project["scripts"] == {"eventapi": "eventapi.__main__:main"}
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*")]
    texts += [*ROOT.glob("eventapi/**/*.py"), ROOT / "Makefile"]
    foreign = re.compile(r"pip install[^\n]*\beventapi(?!-server)(\[|'|\s|$)")
    assert [text for text in texts if text.is_file() and foreign.search(text.read_text())] == []


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("setting", "value", "package"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "opentelemetry-sdk"),
        ("EVENTAPI_SENTRY_DSN", "http://key@127.0.0.1/7", "sentry-sdk"),
    ],
)
def test_a_start_without_a_needed_extra_fails_with_one_line(
    tmp_path: Path, workers: str, setting: str, value: str, package: str
) -> None:
    """As on a machine on which the extra is not installed."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.modules['sentry_sdk'] = sys.modules['opentelemetry'] = None\n"
    )
    ended = run(
        tmp_path,
        *("serve", "--port", "0", "--workers", workers),
        **{setting: value, "PYTHONPATH": f"{hidden}:{ROOT}"},
    )
    assert ended.code == 3
    assert package in message_in(ended.err)


def test_extras_that_are_off_are_not_imported() -> None:
    program = (
        "import sys; from eventapi.app import create_app; from eventapi.configuration.settings import Settings;"
        "create_app(Settings());"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'sentry'))])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"
