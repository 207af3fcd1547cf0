"""``eventapi serve --demo``: example data in a directory of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventapi.cli.demo import ERASED, hints, make_demo
from eventapi.cli.serve import DEMO_RESOURCES
from eventapi.configuration.settings import Settings
from tests.eventapi.cli.running import answer_of, invoke, output_of, running

USERS = {"ann": [], "eve": ["auditor"], "otto": ["operator"]}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Mapping[str, str]]:
    data = tmp_path_factory.mktemp("demo") / "data"
    settings = Settings(data=str(data), resources=(DEMO_RESOURCES,))
    return settings, asyncio.run(make_demo(settings))


def lines(settings: Settings) -> list[dict[str, str]]:
    return [msgspec.json.decode(line) for line in settings.log_path.read_bytes().splitlines()]


def test_the_log_verifies_and_has_the_resource_and_the_users(
    demo: tuple[Settings, Mapping[str, str]],
) -> None:
    settings, passwords = demo
    data, resources = settings.data_path, ("--resources", DEMO_RESOURCES)
    summary = answer_of(data, "state", "show", *resources)
    users: Any = answer_of(data, "users", "list", *resources)

    output_of(data, "log", "verify", *resources)
    assert summary["users"] == {"enabled": 3, "disabled": 0, "erased": 1}
    assert summary["resources"]["invoices"] == {"live": 24, "deleted": 0}
    assert summary["items"]["live"] == 3
    listed = {one["username"]: one["roles"] for one in users if one["username"]}
    assert listed == USERS
    assert passwords.keys() == USERS.keys()


def test_the_history_is_of_the_last_days(demo: tuple[Settings, Mapping[str, str]]) -> None:
    settings, _ = demo
    times = [datetime.fromisoformat(one["time"]) for one in lines(settings)]

    assert times == sorted(times)
    assert 3 <= (times[-1] - times[0]).days <= 4
    assert times[-1] <= datetime.now(UTC)
    assert len({time.date() for time in times}) >= 4


def test_the_passwords_are_right_and_in_no_file(
    demo: tuple[Settings, Mapping[str, str]],
) -> None:
    settings, passwords = demo
    kept = b"".join(one.read_bytes() for one in settings.data_path.rglob("*") if one.is_file())

    assert len(set(passwords.values())) == len(passwords)
    for password in passwords.values():
        assert len(password) >= 12
        assert password.encode() not in kept


def test_the_erased_user_left_nothing_readable(
    demo: tuple[Settings, Mapping[str, str]],
) -> None:
    settings, _ = demo
    shown = output_of(settings.data_path, "log", "show", "--open", "--resources", DEMO_RESOURCES)

    assert f'"{ERASED}"' not in shown
    assert "This can never be read" not in shown
    assert "Blue Bicycles" in shown
    assert any(one["type"] == "user.erased" for one in lines(settings))


def test_hints_have_each_password_once_and_two_things_to_try(
    demo: tuple[Settings, Mapping[str, str]],
) -> None:
    settings, passwords = demo
    text = "\n".join(hints(settings, passwords))

    assert all(text.count(password) == 1 for password in passwords.values())
    assert text.count("Try this:") == 2
    assert "Delete it to begin again" in "\n".join(hints(settings, {}))


def test_a_directory_with_other_files_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")

    result = invoke(tmp_path, "serve", "--demo", "--data", str(tmp_path))

    assert result.exit_code == 2
    assert "give --demo a new directory" in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--log", "events.jsonl"], {}),
        (["--resources", "shop"], {}),
        ([], {"EVENTAPI_LOG": "postgresql://127.0.0.1:1/live"}),
    ],
)
def test_a_log_or_resources_of_the_user_are_refused(
    tmp_path: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    data = tmp_path / "demo"
    result = invoke(tmp_path, "serve", "--demo", "--data", str(data), *arguments, **settings)

    assert result.exit_code == 2
    assert "--demo" in result.stderr
    assert not data.exists()


def test_the_server_prints_passwords_at_the_first_start_alone(tmp_path: Path) -> None:
    options = ("serve", "--demo", "--port", "0", "--data", "demo")
    printed = []
    for _ in range(2):
        with running(tmp_path, *options) as server:
            found = [server.line().decode()]
            while not found[-1].startswith("Press Ctrl-C"):
                found.append(server.line().decode())
        printed.append("".join(found))

    address = r"http://127\.0\.0\.1:\d+"
    assert re.search(rf"^eventapi serves {address}, ", printed[0])
    assert re.search(rf"^Console: {address}/console$", printed[0], re.MULTILINE)
    assert len(re.findall(r"^Sign in as \w+ with \S{12}$", printed[0], re.MULTILINE)) == 3
    assert "Sign in as" not in printed[1]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["demo"]
