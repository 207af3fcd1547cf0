"""``eventapi users``."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import click
import pytest

from eventapi.commands.command import Command
from eventapi.commands.users import DisableUser, EnableUser, GrantRole, RegisterUser
from eventapi.mail import outbox
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.errors import StorageFull, VaultUnavailable
from events.vault.sqlite import SqliteVault
from tests.eventapi.cli.running import invoke, log_of, message_in, run, written

GOOD = "correct horse"

pytestmark = pytest.mark.usefixtures("cheap_hashes")


def list_users(data: Path) -> list[dict[str, object]]:
    users: list[dict[str, object]] = json.loads(invoke(data, "users", "list", "--json").stdout)
    return users


def test_create_registers_a_user_as_the_operator(tmp_path: Path) -> None:
    arguments = ("ann", "Ann@EXAMPLE.org", "--full-name", "Ann Lee", "--password-stdin")
    result = invoke(tmp_path, "users", "create", *arguments, typed=f"{GOOD}\n")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "users/1 is ann\n"
    (line,) = (tmp_path / "events.jsonl").read_bytes().splitlines()
    assert json.loads(line)["actor"].startswith("operator/")
    (user,) = list_users(tmp_path)
    assert (user["email"], user["full_name"]) == ("Ann@example.org", "Ann Lee")
    assert (user["status"], user["roles"], user["items"]) == ("enabled", [], 0)


def test_create_with_json_prints_the_user_as_list_does(tmp_path: Path) -> None:
    arguments = ("ann", "ann@example.org", "--password-stdin", "--json")
    result = invoke(tmp_path, "users", "create", *arguments, typed=GOOD)
    assert result.exit_code == 0, result.stderr
    assert [json.loads(result.stdout)] == list_users(tmp_path)


def test_create_asks_for_the_password_twice(tmp_path: Path) -> None:
    arguments = ("users", "create", "ann", "ann@example.org")
    result = invoke(tmp_path, *arguments, typed=f"{GOOD}\nanother\n{GOOD}\n{GOOD}\n")
    assert result.exit_code == 0
    assert GOOD not in result.output


@pytest.mark.parametrize(
    ("username", "email", "password"),
    [
        ("ab", "ann@example.org", GOOD),
        ("a b c", "ann@example.org", GOOD),
        ("--help", "ann@example.org", GOOD),
        ("-ann", "ann@example.org", GOOD),
        ("ann", "nobody", GOOD),
        ("ann", "ann@localhost", GOOD),
        ("ann", "ann@example.org", "short"),
        ("ann", "ann@example.org", "é" * 1000),
        ("ann", "ann@example.org", b"\xff" * 9),
        ("BEN", "ann@example.org", GOOD),
        ("ann", "BEN@example.org", GOOD),
    ],
)
def test_create_applies_the_rules_of_a_request(
    tmp_path: Path, username: str, email: str, password: str | bytes
) -> None:
    written(tmp_path, RegisterUser(profile("ben")))
    arguments = ("users", "create", "--password-stdin", "--", username, email)
    result = invoke(tmp_path, *arguments, typed=password)
    assert result.exit_code == 1
    assert message_in(result.stderr)
    assert len(list_users(tmp_path)) == 1


def test_list_prints_a_row_per_user(tmp_path: Path) -> None:
    users = [RegisterUser(profile(name)) for name in ("ann", "ben")]
    written(tmp_path, *users, create_item(1, Content("one")), DisableUser("ben", "operator/root"))
    assert [(user["username"], user["status"], user["items"]) for user in list_users(tmp_path)] == [
        ("ann", "enabled", 1),
        ("ben", "disabled", 0),
    ]
    headers, ann, ben = invoke(tmp_path, "users", "list").stdout.splitlines()
    assert headers.startswith("number\tusername\temail\temail verified\t")
    assert ann.startswith("1\tann\tann@example.org\tno\tAnn\tenabled\t\t1\t")
    assert ben.startswith("2\tben\t")


def test_create_in_a_process_of_its_own_refuses_an_empty_password(tmp_path: Path) -> None:
    """The process uses the real cost of password hashes."""
    ended = run(tmp_path, "users", "create", "ann", "ann@example.org", "--password-stdin")
    assert (ended.code, ended.out) == (1, b"")
    assert "password: " in ended.err


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    """A data directory in which there is a user."""
    made = invoke(
        tmp_path, "users", "create", "ann", "ann@example.org", "--password-stdin", typed=GOOD
    )
    assert made.exit_code == 0, made.stderr
    return tmp_path


def last_line(data: Path) -> dict[str, object]:
    line: dict[str, object] = json.loads((data / "events.jsonl").read_bytes().splitlines()[-1])
    return line


def test_roles_are_granted_and_revoked(ann: Path) -> None:
    for role in ("auditor", "operator"):
        assert invoke(ann, "users", "grant", "ANN", role).exit_code == 0
    assert list_users(ann)[0]["roles"] == ["auditor", "operator"]
    line = last_line(ann)
    assert (line["type"], line["data"]) == ("user.role_granted", {"role": "operator"})
    assert str(line["actor"]).startswith("operator/")
    assert invoke(ann, "users", "revoke", "ann", "auditor").exit_code == 0
    assert list_users(ann)[0]["roles"] == ["operator"]


def test_a_user_is_disabled_and_enabled_again(ann: Path) -> None:
    assert invoke(ann, "users", "disable", "ann").exit_code == 0
    assert list_users(ann)[0]["status"] == "disabled"
    assert invoke(ann, "users", "enable", "ann").exit_code == 0
    assert list_users(ann)[0]["status"] == "enabled"
    assert last_line(ann)["type"] == "user.enabled"


def test_an_erased_user_is_gone_from_the_list(ann: Path) -> None:
    assert invoke(ann, "users", "erase", "ann", "--yes").exit_code == 0
    assert list_users(ann) == []
    assert last_line(ann)["type"] == "user.erased"
    assert invoke(ann, "log", "verify").exit_code == 0
    assert invoke(ann, "users", "erase", "ann", "--yes").exit_code == 1


@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "what\nN\n"])
def test_erase_asks_for_confirmation(ann: Path, answer: str) -> None:
    result = invoke(ann, "users", "erase", "ann", typed=answer)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ann is not erased, because the answer was no" in result.stderr
    assert len(list_users(ann)) == 1
    assert invoke(ann, "users", "erase", "ann", typed="y\n").exit_code == 0
    assert list_users(ann) == []


@pytest.mark.parametrize(
    ("arguments", "typed", "option"),
    [
        (("erase", "ann"), "", "--yes"),
        (("erase", "ann"), "maybe", "--yes"),
        (("create", "bob", "bob@example.org"), "", "--password-stdin"),
        (("create", "bob", "bob@example.org"), f"{GOOD}\n", "--password-stdin"),
    ],
)
def test_an_input_that_ends_at_a_question_is_misuse(
    ann: Path, arguments: tuple[str, ...], typed: str, option: str
) -> None:
    before = log_of(ann)
    result = invoke(ann, "users", *arguments, typed=typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "\neventapi: the input ended before" in result.stderr
    assert option in result.stderr
    assert log_of(ann) == before


def test_an_interrupt_at_a_question_ends_the_command_as_a_shell_expects(
    ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> bool:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise click.Abort from None

    monkeypatch.setattr(click, "confirm", interrupt)
    assert invoke(ann, "users", "erase", "ann").exit_code == 130
    assert len(list_users(ann)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("grant", "bob", "auditor"),
        ("revoke", "bob", "auditor"),
        ("disable", "bob"),
        ("enable", "bob"),
        ("erase", "bob", "--yes"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_unknown_user_is_reported(ann: Path, arguments: tuple[str, ...]) -> None:
    result = invoke(ann, "users", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no user 'bob'" in result.stderr


@pytest.mark.parametrize("role", ["king", "audtior", "Not a role", ""])
@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_an_unknown_role_is_misuse(ann: Path, command: str, role: str) -> None:
    assert invoke(ann, "users", "grant", "ann", "auditor").exit_code == 0
    before = log_of(ann)
    result = invoke(ann, "users", command, "ann", role)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "auditor, operator" in result.stderr
    assert log_of(ann) == before
    assert list_users(ann)[0]["roles"] == ["auditor"]


def test_a_role_that_the_user_does_not_have_cannot_be_revoked(ann: Path) -> None:
    before = log_of(ann)
    result = invoke(ann, "users", "revoke", "ann", "auditor")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message_in(result.stderr) == "ann does not have the role auditor"
    assert log_of(ann) == before


def test_a_role_that_no_resource_names_any_more_can_be_revoked(ann: Path) -> None:
    written(ann, GrantRole("ann", "clerk", "operator/root"))
    assert invoke(ann, "users", "revoke", "ann", "clerk").exit_code == 0
    assert list_users(ann)[0]["roles"] == []


@pytest.mark.parametrize(
    ("before", "arguments", "printed"),
    [
        (GrantRole("ann", "auditor", "operator/root"), ("grant", "ann", "auditor"), "ann has the"),
        (DisableUser("ann", "operator/root"), ("disable", "ann"), "ann is disabled"),
        (EnableUser("ann", "operator/root"), ("enable", "ann"), "ann is enabled"),
    ],
)
def test_a_command_without_an_effect_writes_nothing_and_says_so(
    ann: Path, before: Command, arguments: tuple[str, ...], printed: str
) -> None:
    written(ann, before)
    whole = log_of(ann)
    result = invoke(ann, "users", *arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(printed)
    assert result.stdout.endswith(" already; nothing was written\n")
    assert log_of(ann) == whole


# Keys that cannot be destroyed


def keys_of(data: Path) -> set[str]:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault:
        rows = vault.execute("SELECT subject FROM keys WHERE key != zeroblob(32)")
        return {subject for (subject,) in rows}


@pytest.mark.parametrize("error", [StorageFull("no room"), VaultUnavailable("it is locked")])
def test_an_erasure_is_reported_as_unfinished_if_the_key_cannot_be_destroyed(
    ann: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(SqliteVault, "destroy", fail)
        result = invoke(ann, "users", "erase", "ann", "--yes")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "the event is in the log" in result.stderr
        assert "the key of users/1 could not be destroyed" in result.stderr
        assert "`eventapi users erase --finish`" in result.stderr
        assert invoke(ann, "users", "erase", "--finish").exit_code == 3
    assert last_line(ann)["type"] == "user.erased"
    assert keys_of(ann) == {"users/1"}
    result = invoke(ann, "users", "erase", "--finish")
    assert (result.exit_code, result.stdout) == (0, "no key of an erased user is left\n")
    assert keys_of(ann) == set()


def test_an_erasure_whose_mails_cannot_be_removed_does_not_blame_the_key(
    ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as broken:
        broken.setattr(outbox, "_remove", fail)
        result = invoke(ann, "users", "erase", "ann", "--yes")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "the key of users/1 is destroyed. But mails to the user" in result.stderr
        assert "could not be destroyed" not in result.stderr
        assert "`eventapi users erase --finish`" in result.stderr
        assert invoke(ann, "users", "erase", "--finish").exit_code == 3
    assert keys_of(ann) == set()
    assert invoke(ann, "users", "erase", "--finish").exit_code == 0


@pytest.mark.parametrize("arguments", [(), ("ann", "--finish")])
def test_erase_requires_either_a_name_or_finish(ann: Path, arguments: tuple[str, ...]) -> None:
    result = invoke(ann, "users", "erase", *arguments, typed="y\n")
    assert result.exit_code == 2
    assert list_users(ann) != []


# Names that look like options, which earlier versions allowed


@pytest.mark.parametrize("name", ["--help", "--yes", "-ann", "---", "--data"])
def test_commands_accept_a_name_with_a_leading_dash_after_two_dashes(
    tmp_path: Path, name: str
) -> None:
    written(tmp_path, RegisterUser(profile(name, email="ann@example.org"), imported=True))
    for command, rest, event in (
        ("disable", (), "user.disabled"),
        ("enable", (), "user.enabled"),
        ("grant", ("auditor",), "user.role_granted"),
        ("revoke", ("auditor",), "user.role_revoked"),
    ):
        result = invoke(tmp_path, "users", command, "--", name, *rest)
        assert result.exit_code == 0, result.output
        line = last_line(tmp_path)
        assert (line["subject"], line["type"]) == ("users/1", event)


@pytest.mark.parametrize("name", ["--help", "--yes", "-ann"])
def test_a_user_whose_name_begins_with_a_dash_can_be_erased(tmp_path: Path, name: str) -> None:
    written(tmp_path, RegisterUser(profile(name, email="ann@example.org"), imported=True))
    assert invoke(tmp_path, "users", "erase", "--yes", "--", name).exit_code == 0
    assert list_users(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("disable", "--help"), 0),
        (("disable", "-ann"), 2),
        (("erase", "--yes"), 2),
        (("grant", "--ann", "auditor"), 2),
    ],
)
def test_a_name_parsed_as_an_option_changes_nothing_and_the_output_has_the_cure(
    ann: Path, arguments: tuple[str, ...], code: int
) -> None:
    before = last_line(ann)
    result = invoke(ann, "users", *arguments)
    assert result.exit_code == code
    assert "is given after `--`: eventapi users disable -- -NAME" in " ".join(result.output.split())
    assert last_line(ann) == before


def test_create_refuses_a_name_that_begins_with_a_dash(tmp_path: Path) -> None:
    arguments = ("users", "create", "--password-stdin", "--", "-ann", "ann@example.org")
    result = invoke(tmp_path, *arguments, typed=GOOD)
    assert (result.exit_code, "and not begin with `-`" in result.stderr) == (1, True)
