"""Every command over a log in a database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.server import free_port
from tests.eventapi.cli.databases import (
    NEEDS_DATABASE,
    PASSWORDS,
    keys_in,
    write_log_with_erasure,
)
from tests.eventapi.cli.running import (
    message_in,
    output_of,
    refusal_of,
)

pytestmark = NEEDS_DATABASE


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of two users, one of them erased, with ten items."""
    write_log_with_erasure(tmp_path / "data")
    return tmp_path / "data"


def test_every_command_works_on_a_database(data: Path, moved: str, tmp_path: Path) -> None:
    there = tmp_path / "another machine"
    there.mkdir()
    lines = output_of(data, "log", "export").splitlines(keepends=True)

    def ask(*arguments: str, typed: str | None = None) -> str:
        return output_of(there, *arguments, "--log", moved, typed=typed)

    assert ask("log", "tail", "-n", "2") == "".join(lines[-2:])
    assert ask("log", "show", "--json", "--after", "3", "--limit", "2") == "".join(lines[3:5])
    opened = ask("log", "show", "--open", "--type", "item.created")
    assert ("item 0" in opened, "item 1" in opened) == (True, False)
    assert ask("state", "digest", "--at", "4") == output_of(data, "state", "digest", "--at", "4")
    assert ask("state", "show") == output_of(data, "state", "show")
    assert ask("log", "prove", "3").startswith("c2sp.org/tlog-proof@v1\n")
    assert ask("log", "prove", "--since", "3")
    assert json.loads(ask("snapshot", "--json"))["position"] == 13
    rebuilt = json.loads(ask("rebuild", "--json"))
    assert (rebuilt["snapshot"], rebuilt["equal"]) == (13, True)
    ask("users", "create", "cid", "cid@example.org", "--password-stdin", typed="correct horse\n")
    ask("users", "grant", "cid", "auditor")
    ask("users", "disable", "cid")
    ask("users", "enable", "cid")
    (ann, cid) = json.loads(ask("users", "list", "--json"))
    assert (ann["username"], cid["username"], cid["roles"]) == ("ann", "cid", ["auditor"])
    assert "ann" in ask("log", "export", "--format", "db-json")
    (tmp_path / "db.json").write_text('{"users": {}, "items": {}}')
    ask("log", "import", str(tmp_path / "db.json"))
    assert ask("users", "erase", "cid", "--yes")
    assert keys_in(moved).keys() - {"log"} == {"users/1"}
    assert "is whole: 18 events" in ask("log", "verify", "--seals")
    ask("log", "copy", f"{tmp_path}/backup/", "--vault", str(tmp_path / "keys"))
    exported = ask("log", "export").encode()
    assert (tmp_path / "backup" / "events.jsonl").read_bytes() == exported


def test_the_keys_of_a_database_are_copied_to_the_place_of_a_vault(
    moved: str, tmp_path: Path
) -> None:
    """A database has its own vault, so this is the way back to a file."""
    there = tmp_path / "there"
    there.mkdir()
    keys = there / "vault.sqlite"
    output_of(there, "log", "copy", moved, str(there / "events.jsonl"), "--vault", str(keys))

    assert "is whole: 13 events" in output_of(there, "log", "verify", "--seals")


def test_a_dry_run_of_an_import_creates_no_log_in_a_database(url: str, tmp_path: Path) -> None:
    file = tmp_path / "db.json"
    ann = {"username": "ann", "full_name": "two\nlines\0"}
    file.write_text(json.dumps({"users": {"ann": ann}, "items": {}}))
    asked = ("log", "import", str(file), "--log", url)
    assert "would import 1 user " in output_of(tmp_path, *asked, "--dry-run")
    code, why = refusal_of(tmp_path, "log", "tail", "--log", url)
    assert (code, "there is no log at" in why) == (3, True)
    assert "imported 1 user " in output_of(tmp_path, *asked)
    assert "two\\nlines\\u0000" in output_of(tmp_path, "log", "show", "--open", "--log", url)


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "show"],
        ["log", "verify"],
        ["log", "checkpoint"],
        ["log", "copy", "somewhere/"],
        ["state", "digest"],
        ["rebuild"],
        ["snapshot"],
        ["users", "list"],
        ["users", "disable", "ann"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_is_down_is_reported_in_one_message(
    tmp_path: Path, scheme: str, arguments: list[str]
) -> None:
    url = f"{scheme}://ann:a%20password@127.0.0.1:{free_port()}/log"
    code, why = refusal_of(tmp_path, *arguments, "--log", url)
    assert code == 3, why
    assert message_in(why).startswith(f"the database {scheme}")
    assert not any(secret in why for secret in PASSWORDS)


def test_a_wrong_password_is_not_printed(tmp_path: Path, url: str) -> None:
    code, why = refusal_of(tmp_path, "state", "digest", "--log", url.replace("a%20", "another%20"))
    assert (code, "another" in why) == (3, False), why
    assert message_in(why)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_password_is_masked_among_the_settings(tmp_path: Path, form: list[str]) -> None:
    url = "postgresql://ann:a%20password@db.example/log?sslmode=require"
    shown = output_of(tmp_path, "config", *form, "--log", url)
    assert "postgresql://ann:********@db.example/log?sslmode=require" in shown
    assert not any(secret in shown for secret in PASSWORDS)
