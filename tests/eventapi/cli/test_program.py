"""The program as a whole: options, settings, errors and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eventapi import __version__
from eventapi.cli import config as config_module
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings, setting_descriptions
from eventapi.testing.given import profile
from events.errors import LogUnavailable, NotFound, StorageFull, VaultUnavailable
from tests.eventapi.cli.running import PROGRAM, invoke, message_in, run, written


def test_version_prints_the_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").out.decode() == f"eventapi {__version__}\n"


def test_every_command_has_help(tmp_path: Path) -> None:
    answer = invoke(tmp_path, "--help")
    assert answer.exit_code == 0
    for name in ("serve", "log", "state", "rebuild", "resources", "users", "config"):
        assert name in answer.stdout
        assert invoke(tmp_path, name, "--help").exit_code == 0
    for name in ("show", "tail", "verify", "export", "import"):
        assert invoke(tmp_path, "log", name, "--help").exit_code == 0


@pytest.mark.parametrize("arguments", [["nothing"], ["log", "nothing"], ["--nothing"], ["state"]])
def test_misuse_has_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == 2
    assert result.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NotFound("there is no such thing"), 1, "there is no such thing"),
        (StorageFull("no room"), 3, "no room"),
        (LogUnavailable("not now"), 3, "not now"),
        (VaultUnavailable("no keys"), 3, "no keys"),
        (PermissionError(13, "Permission denied"), 3, "Permission denied"),
        (PermissionError(13, "Permission denied", "a/file"), 3, "a/file: Permission denied"),
        (OSError("a text"), 3, "a text"),
    ],
)
def test_every_error_is_one_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, text: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(config_module, "loaded", fail)
    result = invoke(tmp_path, "config")
    assert result.exit_code == code
    assert message_in(result.stderr) == text


@pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
def test_an_interrupt_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def interrupt() -> None:
        raise error

    monkeypatch.setattr(config_module, "loaded", interrupt)
    result = invoke(tmp_path, "config")
    assert result.exit_code == 130
    assert result.stderr.strip() == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_changes_no_result(tmp_path: Path, closed: str) -> None:
    """Checked with `log verify`, for a whole log and a damaged one."""
    written(tmp_path / "data", RegisterUser(profile("ann")))
    command = ["sh", "-c", f'"$@" {closed}', "sh", *PROGRAM]
    ended = run(tmp_path, "log", "verify", command=command)
    assert (ended.code, ended.err) == (0, "")
    (tmp_path / "data" / "events.jsonl").write_bytes(b"no event\n")
    ended = run(tmp_path, "log", "verify", command=command)
    assert (ended.code, ended.err) == (1, "")


# Settings


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SECRET_KEY", "short", "EVENTAPI_SECRET_KEY must have 32 bytes at least"),
        ("SECRET_KEY", "changeme" * 4, "EVENTAPI_SECRET_KEY is "),
        ("MAIL_FROM", "Ann, Ben <ann@example.org>", "EVENTAPI_MAIL_FROM: An email address must"),
        ("MAIL_FROM", "ann@-example.org", "EVENTAPI_MAIL_FROM: "),
        ("REDIS_URL", "redis://cache?size=9", "EVENTAPI_REDIS_URL must be an address"),
        ("SSL_KEYFILE", "key.pem", "EVENTAPI_SSL_KEYFILE or --ssl-keyfile needs EVENTAPI_SSL_CE"),
        ("RESOURCES", "shop.py", "EVENTAPI_RESOURCES: there is no module 'shop.py'"),
        ("RESOURCES", "json", "EVENTAPI_RESOURCES: the module 'json' declares no subclass of"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_reports_values_with_which_no_server_starts(
    tmp_path: Path, name: str, value: str, reason: str, form: list[str]
) -> None:
    result = invoke(tmp_path, "config", *form, **{f"EVENTAPI_{name}": value})
    assert result.exit_code == 2
    assert f"EVENTAPI_{name}" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"eventapi: {reason}")


def test_all_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    secret = "a secret that must never be printed"
    result = invoke(tmp_path, "config", "--json", EVENTAPI_SECRET_KEY=secret)
    assert secret not in result.output
    answer = json.loads(result.stdout)
    assert set(answer) == {f"EVENTAPI_{name}" for name in Settings.__struct_encode_fields__}
    assert value_of(answer, "SECRET_KEY") == ("********", "environment")
    assert value_of(answer, "DATA") == (str(tmp_path), "environment")
    assert value_of(answer, "METRICS") == ("on", "default")
    assert "EVENTAPI_METRICS\ton\tdefault\t" in invoke(tmp_path, "config").stdout


def value_of(answer: dict[str, dict[str, str]], name: str) -> tuple[str, str]:
    """The value and the origin of a setting."""
    one = answer[f"EVENTAPI_{name}"]
    return one["value"], one["origin"]


def test_config_shows_the_meaning_of_each_setting(tmp_path: Path) -> None:
    answer = json.loads(invoke(tmp_path, "config", "--json").stdout)
    for name, setting in setting_descriptions().items():
        one = answer[f"EVENTAPI_{name}"]
        assert one["meaning"] == setting.meaning.replace("`", "")
        assert (one["unit"], one["values"]) == (setting.unit, setting.values)
        assert one["example"] == setting.example
    *_, row = [row for row in invoke(tmp_path, "config").stdout.splitlines() if "_METRICS" in row]
    assert (
        row == "EVENTAPI_METRICS\ton\tdefault\tWhether GET /metrics returns metrics for Prometheus."
    )


@pytest.mark.parametrize(
    "arguments",
    [["--data", "mine", "config", "--json"], ["config", "--data", "mine", "--json"]],
)
def test_the_command_line_wins_before_and_after_the_command(
    tmp_path: Path, arguments: list[str]
) -> None:
    answer = json.loads(invoke(tmp_path, *arguments).stdout)
    assert value_of(answer, "DATA") == ("mine", "--data")


def test_the_last_of_two_equal_options_wins(tmp_path: Path) -> None:
    result = invoke(tmp_path, "--log", "one", "config", "--log", "two", "--json")
    assert value_of(json.loads(result.stdout), "LOG") == ("two", "--log")


def test_a_bad_setting_is_misuse(tmp_path: Path) -> None:
    result = invoke(tmp_path, "log", "show", EVENTAPI_NONSENSE="1")
    assert result.exit_code == 2
    expected = "EVENTAPI_NONSENSE (from environment) is no setting of eventapi: "
    assert message_in(result.stderr) == f"{expected}docs/settings.md has a list"
    assert result.stderr.count("\n") == 1
    # `eventapi config` is refused as well, for as long as the setting is wrong.
    assert "eventapi config" not in result.stderr
