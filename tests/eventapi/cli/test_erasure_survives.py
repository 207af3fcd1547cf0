"""An erasure survives the restore of an older log, of older keys, or of both."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from eventapi.cli import vaults
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.vault.tombstones import VaultContents
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    keys_of,
    log_of,
    refusal_of,
    written,
)

SECRET = "only ben reads this"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A server with copies of Monday and Tuesday; ben was erased in between."""
    folder = tmp_path / "data"
    users = RegisterUser(profile("ann")), RegisterUser(profile("ben"))
    written(folder, *users, create_item(2, Content(SECRET)), create_item(1, Content("ann's")))
    back_up(folder, tmp_path, "monday")
    written(folder, EraseUser("ben", "users/2"))
    back_up(folder, tmp_path, "tuesday")
    return folder


def back_up(data: Path, place: Path, day: str) -> None:
    answer_of(data, "log", "copy", f"{place / day}/", "--vault", str(place / f"{day}.keys"))


def restore(data: Path, place: Path, log: str, keys: str | None) -> dict[str, object]:
    """Remove the log, and restore a copy in its place."""
    for file in data.glob("events.jsonl*"):
        file.unlink()
    options = () if keys is None else ("--vault", str(place / f"{keys}.keys"))
    return answer_of(data, "log", "restore", str(place / log), *options)


def usernames(data: Path) -> list[str]:
    users = json.loads(invoke(data, "users", "list", "--json").stdout)
    return [user["username"] for user in users]


def all_output(data: Path) -> str:
    """Everything that commands print about the log and the state."""
    commands = (
        ["log", "show", "--open"],
        ["users", "list"],
        ["log", "export", "--format", "db-json"],
    )
    return "".join(invoke(data, *command).output for command in commands)


def check_ben_is_erased(data: Path, answer: Mapping[str, object]) -> None:
    assert answer["erased_again"] == ["users/2"]
    last = json.loads(log_of(data).splitlines()[-1])
    assert (last["type"], last["subject"]) == ("user.erased", "users/2")
    assert last["actor"] == "operator/eventapi"
    assert usernames(data) == ["ann"]
    assert SECRET not in all_output(data)
    assert "ann's" in all_output(data)
    assert keys_of(data / "vault.sqlite").keys() - {"log"} == {"users/1"}
    assert invoke(data, "log", "verify", "--seals").exit_code == 0


def own_vault(data: Path, _: Path) -> Path:
    """The machine that lost only its log."""
    return data


def empty_machine(_: Path, place: Path) -> Path:
    return place / "new"


def machine_with_tuesdays_keys(_: Path, place: Path) -> Path:
    (place / "new").mkdir()
    shutil.copy(place / "tuesday.keys", place / "new" / "vault.sqlite")
    return place / "new"


def machine_with_mondays_keys(_: Path, place: Path) -> Path:
    (place / "new").mkdir()
    shutil.copy(place / "monday.keys", place / "new" / "vault.sqlite")
    return place / "new"


KNOWING = [
    (own_vault, "monday"),
    (own_vault, "tuesday"),
    (own_vault, None),
    (empty_machine, "tuesday"),
    (machine_with_tuesdays_keys, "monday"),
    (machine_with_tuesdays_keys, None),
    (machine_with_mondays_keys, "tuesday"),
]
"""Machines and key copies; the vault or the key copy has the tombstone."""


@pytest.mark.parametrize(("machine", "keys"), KNOWING)
def test_a_user_erased_after_the_copy_is_erased_again_by_the_restore(
    data: Path, tmp_path: Path, machine: Callable[[Path, Path], Path], keys: str | None
) -> None:
    key = keys_of(tmp_path / "monday.keys")["users/2"]
    place = machine(data, tmp_path)
    check_ben_is_erased(place, restore(place, tmp_path, "monday", keys))
    assert key not in (place / "vault.sqlite").read_bytes()
    again = restore(place, tmp_path, "monday", "monday")
    check_ben_is_erased(place, again)


def test_the_restore_names_the_users_that_it_erased_again(data: Path, tmp_path: Path) -> None:
    options = (str(tmp_path / "monday"), "--vault", str(tmp_path / "tuesday.keys"))
    result = invoke(tmp_path / "new", "log", "restore", *options)
    assert result.exit_code == 0, result.output
    assert "erased again  users/2\n" in result.stdout
    options = (str(tmp_path / "tuesday"), "--vault", str(tmp_path / "tuesday.keys"))
    result = invoke(tmp_path / "other", "log", "restore", *options)
    assert "erased again" not in result.stdout


@pytest.mark.parametrize("keys", ["monday", "tuesday"])
def test_a_restored_log_with_the_erasure_gets_no_second_one(
    data: Path, tmp_path: Path, keys: str
) -> None:
    before = log_of(data)
    assert restore(data, tmp_path, "tuesday", keys)["erased_again"] == []
    assert log_of(data) == before
    assert "users/2" not in keys_of(data / "vault.sqlite")


def test_the_first_write_to_a_log_restored_by_hand_repeats_the_erasure(
    data: Path, tmp_path: Path
) -> None:
    for file in data.glob("events.jsonl*"):
        file.unlink()
    shutil.copy(tmp_path / "monday" / "events.jsonl", data)
    assert invoke(data, "log", "verify", "--seals").exit_code == 0
    assert SECRET not in all_output(data)
    written(data, create_item(1, Content("another")))
    types = [json.loads(line)["type"] for line in log_of(data).splitlines()]
    assert types[-2:] == ["user.erased", "item.created"]
    assert usernames(data) == ["ann"]


def test_a_key_copy_with_a_tombstone_never_gets_the_key_back(data: Path, tmp_path: Path) -> None:
    """Keys and log of the machine were restored by hand and have no trace of Tuesday."""
    new = machine_with_mondays_keys(data, tmp_path)
    shutil.copy(tmp_path / "monday" / "events.jsonl", new)
    written(new, create_item(1, Content("another")))
    options = (str(tmp_path / "wednesday"), "--vault", str(tmp_path / "tuesday.keys"))
    code, why = refusal_of(new, "log", "copy", *options)
    assert (code, "users/2 exists in this log" in why, "users erase NAME" in why) == (
        1,
        True,
        True,
    )
    assert "users/2" not in keys_of(tmp_path / "tuesday.keys")
    assert invoke(new, "users", "erase", "ben", "--yes").exit_code == 0
    answer_of(new, "log", "copy", *options)


def test_a_key_copy_of_an_earlier_version_never_gets_an_erased_key_back(
    data: Path, tmp_path: Path
) -> None:
    """Earlier versions stored zeros in place of a destroyed key, not its fingerprint."""
    with closing(sqlite3.connect(tmp_path / "tuesday.keys")) as db, db:
        db.execute("DROP TABLE erased")
        db.execute("INSERT INTO keys VALUES ('users/2', zeroblob(32))")
    new = machine_with_mondays_keys(data, tmp_path)
    shutil.copy(tmp_path / "monday" / "events.jsonl", new)
    written(new, create_item(1, Content("another")))
    options = (str(tmp_path / "wednesday"), "--vault", str(tmp_path / "tuesday.keys"))
    code, why = refusal_of(new, "log", "copy", *options)
    assert (code, "users/2 exists in this log" in why) == (1, True)
    assert "users/2" not in keys_of(tmp_path / "tuesday.keys")


def test_control_a_merge_that_ignores_tombstones_brings_the_name_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ignorant(own: VaultContents, copy: VaultContents) -> VaultContents:
        return VaultContents({**own.keys, **copy.keys})

    monkeypatch.setattr(vaults, "merge", ignorant)
    new = machine_with_mondays_keys(data, tmp_path)
    restore(new, tmp_path, "monday", "tuesday")
    assert usernames(new) == ["ann", "ben"]
