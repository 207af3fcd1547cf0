"""Commands that help users, beside a running server, as the guide's page on support has them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from eventapi.accounts.links import ResetLink, reset_link
from eventapi.commands.command import Command
from eventapi.commands.mailed_links import VerifyEmail
from eventapi.commands.second_factors import EnableTotp, StartTotp
from eventapi.commands.users import DisableUser, RegisterUser
from eventapi.security.signed_texts import SignedTexts
from eventapi.testing.given import profile
from eventapi.values.times import seconds_of
from tests.eventapi.cli.running import (
    REPOSITORY,
    address_of,
    invoke,
    log_of,
    message_in,
    output_of,
    running,
    written,
)
from tests.test_commands_in_documents import commands

PASSWORD = "correct horse battery staple"
SECRET = "a secret key for tests: 0123456789abcdef"
TOTP: list[Command] = [StartTotp(1, "A" * 32), EnableTotp(1, "A" * 32, 1, ("hash",))]

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with the users ann and ben."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    return folder


@pytest.fixture
def served(data: Path) -> Iterator[str]:
    """The address of a server that runs over the data directory."""
    with running(data.parent, "serve", "--port", "0", "--data", data.name) as server:
        yield address_of(server)


def last_record(data: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads(log_of(data).splitlines()[-1])
    return record


# Beside a running server


def support_commands() -> list[list[str]]:
    """The commands in the blocks of the guide's page."""
    guide = (REPOSITORY / "docs" / "operating.md").read_text()
    page = guide.partition("\n## Support\n")[2].partition("\n## ")[0]
    return [*commands("\n".join(re.findall(r"^    .*", page, re.MULTILINE)) + "\n")]


def test_every_command_of_the_guide_runs_beside_a_server(data: Path, served: str) -> None:
    """The server sees each change at its next request."""
    written(data, *TOTP)
    ran = {}
    for words in support_commands():
        given = {"NAME": "ann", "ADDRESS": "new@example.org"}
        before = len(log_of(data).splitlines())
        result = invoke(data, *(given.get(word, word) for word in words))
        assert result.exit_code == 0, (words, result.output)
        lines = log_of(data).splitlines()
        assert len(lines) == before + 1
        record = json.loads(lines[-1])
        assert (record["subject"], record["actor"].partition("/")[0]) == ("users/1", "operator")
        ran[" ".join(words)] = record["type"]

    assert ran == {
        "users grant NAME operator": "user.role_granted",
        "users reset-password NAME": "user.password_reset_requested",
        "users reset-password NAME --link": "user.password_reset_requested",
        "users remove-totp NAME": "user.totp_disabled",
        "users set-email NAME ADDRESS": "user.email_changed",
        "users disable NAME": "user.disabled",
        "users enable NAME": "user.enabled",
        "users erase NAME --yes": "user.erased",
    }
    health = httpx.get(f"{served}/health").json()
    assert health["position"] == len(log_of(data).splitlines())
    assert invoke(data, "log", "verify").exit_code == 0


def test_a_set_address_is_seen_by_the_running_server(data: Path, served: str) -> None:
    typed = {"username": "carol", "email": "carol@example.org", "password": PASSWORD}
    assert httpx.post(f"{served}/api/v2/auth/register", json=typed).status_code == 201
    login = httpx.post(f"{served}/auth/login", json={"username": "carol", "password": PASSWORD})
    output = output_of(data, "users", "set-email", "CAROL", "Carol@NEW.example")

    assert output == "CAROL has the email address Carol@new.example\n"
    headers = {"authorization": f"Bearer {login.json()['access_token']}"}
    me = httpx.get(f"{served}/api/v2/auth/me", headers=headers).json()
    assert (me["email"], me["email_verified"]) == ("Carol@new.example", False)


def test_a_printed_link_is_signed_with_the_key_of_the_server(data: Path, served: str) -> None:
    (link,) = output_of(data, "users", "reset-password", "ann", "--link").splitlines()
    (key,) = (data / "secret.key").read_text().split()
    (token,) = parse_qs(urlsplit(link).query)["token"]
    record = last_record(data)

    assert served
    assert link.startswith("http://127.0.0.1:8000/reset-password?token=")
    values = record["data"]
    assert isinstance(values, dict)
    assert values["delivery"] == "link"
    found = reset_link(SignedTexts([key]), str(record["source"]), {}, token)
    assert found == ResetLink(
        1, int(str(record["id"])), int(seconds_of(values["expires_at"])), mailed_to=None
    )
    assert token.encode() not in log_of(data)


# Without a server


def test_a_mail_is_requested_and_no_link_printed(data: Path) -> None:
    output = output_of(data, "users", "reset-password", "ann")
    assert output == "the running server mails ann a link that sets a new password\n"
    assert last_record(data)["type"] == "user.password_reset_requested"


@pytest.mark.parametrize(
    ("settings", "base"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"EVENTAPI_HOST": "0.0.0.0", "EVENTAPI_PORT": "81"}, "http://127.0.0.1:81"),  # noqa: S104
        ({"EVENTAPI_HOST": "::1"}, "http://[::1]:8000"),
        ({"EVENTAPI_HOST": "api.example"}, "http://api.example:8000"),
        ({"EVENTAPI_PUBLIC_URL": "https://api.example/v/"}, "https://api.example/v"),
    ],
)
def test_a_link_begins_with_the_public_url_or_the_address_of_the_settings(
    data: Path, settings: dict[str, str], base: str
) -> None:
    keyed = {"EVENTAPI_SECRET_KEY": SECRET} | settings
    result = invoke(data, "users", "reset-password", "ann", "--link", **keyed)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{base}/reset-password?token=1.3.")
    if "EVENTAPI_PUBLIC_URL" in settings:
        assert result.stderr == ""
    else:  # The command does not know `serve --port`.
        assert f"EVENTAPI_PUBLIC_URL is not set, so the link begins with {base};" in result.stderr


def test_without_the_key_of_the_server_nothing_is_written_or_made(data: Path) -> None:
    before = log_of(data)
    result = invoke(data, "users", "reset-password", "ann", "--link")

    assert (result.exit_code, result.stdout) == (3, "")
    assert message_in(result.stderr).startswith("there is no secret key in ")
    assert log_of(data) == before
    assert not (data / "secret.key").exists()


def test_a_weak_key_is_reported(data: Path) -> None:
    before = log_of(data)
    keyed = {"EVENTAPI_SECRET_KEY": "short"}
    result = invoke(data, "users", "reset-password", "ann", "--link", **keyed)
    assert result.exit_code in {2, 3}
    assert message_in(result.stderr)
    assert log_of(data) == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("reset-password", "carol"), "there is no user 'carol'"),
        (("set-email", "carol", "c@example.org"), "there is no user 'carol'"),
        (("remove-totp", "carol"), "there is no user 'carol'"),
        (("set-email", "ann", "nobody"), "/email: "),
        (("set-email", "ann", "a@localhost"), "/email: the domain needs a dot"),
        (("set-email", "ann", "BEN@example.org"), "Email address already registered"),
        (("remove-totp", "ann"), "there is no second factor"),
        (("reset-password", "ben"), "ben is disabled and cannot use a new password"),
    ],
    ids=" ".join,
)
def test_a_refusal_is_reported_and_nothing_is_written(
    data: Path, arguments: tuple[str, ...], reason: str
) -> None:
    written(data, DisableUser("ben", "operator/root"))
    before = log_of(data)
    result = invoke(data, "users", *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message_in(result.stderr).startswith(reason)
    assert log_of(data) == before


def test_remove_totp_removes_it(data: Path) -> None:
    written(data, *TOTP)
    assert output_of(data, "users", "remove-totp", "ann") == "ann logs in with the password alone\n"
    assert invoke(data, "users", "remove-totp", "ann").exit_code == 1


@pytest.mark.parametrize(
    ("command", "rest"),
    [("reset-password", ()), ("set-email", ("new@example.org",)), ("remove-totp", ())],
)
def test_a_name_with_a_leading_dash_is_given_after_two_dashes(
    tmp_path: Path, command: str, rest: tuple[str, ...]
) -> None:
    registered = RegisterUser(profile("--link", email="ann@example.org"), imported=True)
    written(tmp_path, registered, *TOTP)
    before = log_of(tmp_path)
    wrong = invoke(tmp_path, "users", command, "-ann", *rest)
    assert wrong.exit_code == 2
    assert "is given after `--`" in " ".join(wrong.output.split())
    assert log_of(tmp_path) == before

    assert invoke(tmp_path, "users", command, "--", "--link", *rest).exit_code == 0
    assert last_record(tmp_path)["subject"] == "users/1"


def test_the_list_shows_whether_an_address_is_verified(data: Path) -> None:
    written(data, VerifyEmail(1, "ann@example.org"))
    listed = json.loads(output_of(data, "users", "list", "--json"))
    assert [user["email_verified"] for user in listed] == [True, False]
    rows = [line.split("\t") for line in output_of(data, "users", "list").splitlines()]
    assert [row[3] for row in rows] == ["email verified", "yes", "no"]
