"""Lists and exports of a log that is older than an erasure, or whose keys are not here."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.eventapi.cli.running import message_in, output_of, refusal_of

Options = tuple[Path, Sequence[str]]
"""A data directory, and the options that name the log."""


def archive_from_before(data: Path) -> Options:
    """An archive that was made before ann was erased."""
    place = str(data.parent / "archive")
    output_of(data, "log", "archive", place)
    output_of(data, "users", "erase", "ann", "--yes")
    return data, ("--log", place)


def copy_put_back(data: Path) -> Options:
    """The log from before the erasure, put back by hand; no server has started yet."""
    shutil.copytree(data, data.parent / "before")
    output_of(data, "users", "erase", "ann", "--yes")
    for file in data.glob("events.jsonl*"):
        file.unlink()
        shutil.copy(data.parent / "before" / file.name, file)
    return data, ()


@pytest.mark.parametrize("older", [archive_from_before, copy_put_back])
def test_a_user_erased_since_is_in_no_list_and_in_no_export(
    data: Path, older: Callable[[Path], Options]
) -> None:
    place, options = older(data)

    def printed(*command: str) -> Any:
        return json.loads(output_of(place, *command, *options))

    assert [one["username"] for one in printed("users", "list", "--json")] == ["ben"]
    exported = printed("log", "export", "--format", "db-json")
    assert [*exported["users"]] == [*exported["items"]] == ["ben"]
    assert len(exported["items"]["ben"]) == 5
    rows = output_of(place, "data", "export", "--resource", "items", *options).splitlines()
    assert {json.loads(row)["owner"] for row in rows} == {"ben"}


@pytest.mark.parametrize(
    "command",
    [["log", "export", "--format", "db-json"], ["data", "export", "--resource", "items"]],
    ids=" ".join,
)
def test_an_export_without_the_keys_is_refused(data: Path, command: Sequence[str]) -> None:
    """An archive is read without a vault, but then it has no values to export."""
    place = str(data.parent / "archive")
    output_of(data, "log", "archive", place)
    output = data.parent / "exported.ndjson"
    elsewhere = data.parent / "elsewhere"
    code, err = refusal_of(elsewhere, *command, "--log", place, "--output", str(output))
    assert code == 1
    assert message_in(err).startswith("2 users have no key (users/1, users/2)")
    assert not output.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["users", "export", "ann", "OUT"],
        ["log", "evidence", "--user", "ann", "OUT"],
        ["log", "evidence", "--user", "ann", "--open", "OUT"],
        ["users", "erase", "ann"],
        ["data", "import", "ROWS", "--resource", "items", "--owner", "ann", "--dry-run"],
        ["log", "import", "OLD", "--dry-run"],
    ],
    ids=" ".join,
)
def test_a_user_whose_key_is_lost_is_not_reported_as_unknown(
    data: Path, tmp_path: Path, command: Sequence[str]
) -> None:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        vault.execute("DELETE FROM keys WHERE subject = 'users/1'")
    files = {"OUT": tmp_path / "out", "ROWS": tmp_path / "rows.ndjson", "OLD": tmp_path / "db.json"}
    files["ROWS"].write_text('{"title":"a title"}\n')
    files["OLD"].write_text('{"users":{},"items":{}}')

    code, err = refusal_of(data, *[str(files.get(word, word)) for word in command])

    assert code == 1
    assert message_in(err).startswith("1 user has no key (users/1). Either this vault belongs to")
    assert not files["OUT"].exists()


def test_the_evidence_about_the_number_of_a_user_needs_no_name(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        vault.execute("DELETE FROM keys WHERE subject = 'users/1'")

    output_of(data, "log", "evidence", "--user", "users/1", str(tmp_path / "out"))

    assert (tmp_path / "out").exists()
