"""What is not installed is missed where it is asked for, and costs nothing where it is not."""

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
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "mine"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_traces_are_wanted_as_opentelemetry_says(environ: dict[str, str], wanted: bool) -> None:
    assert require_tracing(environ) is wanted


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://127.0.0.1:4318"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://"},
    ],
)
def test_what_there_is_not_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(more))):
        require_tracing(ENDPOINT | more)


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(
        ConfigurationError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT .*opentelemetry-sdk"
    ):
        require_tracing(ENDPOINT)
    with pytest.raises(ConfigurationError, match=r"EVENTAPI_SENTRY_DSN .*sentry-sdk"):
        require_sentry("http://key@127.0.0.1/7")
    assert not require_sentry(None)


@pytest.mark.parametrize("extra", extras.PACKAGES)
def test_the_command_that_a_message_shows_installs_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    """With the interpreter that runs, into its environment, and by no name that others may take."""
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as refused:
        require_tracing(ENDPOINT) if extra == "otel" else require_sentry("http://key@127.0.0.1/7")
    command = shlex.split(str(refused.value).partition("type: ")[2])
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert command[4:] == project["optional-dependencies"][extra]


def test_the_name_to_install_by_is_our_own() -> None:
    """On PyPI, eventapi is a project of somebody else: no document or message may install it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION == "eventapi-server"
    assert project["scripts"] == {"eventapi": "eventapi.__main__:main"}
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*")]
    texts += [*ROOT.glob("eventapi/**/*.py"), ROOT / "Makefile"]
    foreign = re.compile(r"pip install[^\n]*\beventapi(?!-server)(\[|'|\s|$)")
    assert [text for text in texts if text.is_file() and foreign.search(text.read_text())] == []


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", "opentelemetry-sdk"),
        ("EVENTAPI_SENTRY_DSN", "http://key@127.0.0.1/7", "sentry-sdk"),
    ],
)
def test_the_start_stops_with_one_line_where_an_extra_is_missing(
    tmp_path: Path, workers: str, setting: str, value: str, said: str
) -> None:
    """As on a machine where nobody installed it."""
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
    assert said in message_in(ended.err)


def test_nothing_of_them_is_imported_where_they_are_off() -> None:
    program = (
        "import sys; from eventapi.app import create_app; from eventapi.configuration.settings import Settings;"
        "create_app(Settings());"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'sentry'))])"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
