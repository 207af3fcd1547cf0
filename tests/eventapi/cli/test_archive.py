"""``eventapi log archive``, and the commands that read an archive in place of the log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventapi.testing.items import Content, create_item
from events.transparency.signed_note import Signer
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    log_of,
    message_in,
    output_of,
    refusal_of,
    written,
)
from tests.eventapi.cli.test_segments import close_most
from tests.events.buckets import STORED_IN, bucket

READING = [
    ["log", "show"],
    ["log", "show", "--open"],
    ["log", "diff", "--from", "3"],
    ["log", "diff", "--from", "3", "--open"],
    ["state", "show", "--at", "9"],
    ["state", "digest", "--at", "9"],
    ["state", "digest"],
    ["data", "export", "--resource", "items", "--at", "11"],
    ["log", "export"],
    ["users", "list"],
    ["resources", "list"],
    ["log", "checkpoint"],
    ["log", "prove", "5"],
]

WRITING = [
    ["serve"],
    ["users", "disable", "ann"],
    ["users", "create", "eve", "eve@example.org", "--password-stdin"],
    ["log", "restore", "--new-key"],
    ["snapshot"],
    ["users", "erase", "ann", "--yes"],
    ["webhooks", "add", "http://127.0.0.1:9/"],
    ["webhooks", "replay", "1", "--after", "0"],
    ["data", "import", "-", "--resource", "items", "--owner", "ann", "--format", "ndjson"],
    ["log", "import", "-"],
]

SECRET = "".join(map(chr, range(48, 96)))
TYPED = {"data": '{"title": "new", "description": ""}\n', "log": '{"users": {}, "items": {}}'}


@pytest.fixture(params=STORED_IN)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where an archive can be made."""
    if request.param == "directory":
        yield str(tmp_path / "archive")
        return
    with bucket(monkeypatch.setenv) as url:
        yield url


def test_an_archive_has_the_log_and_a_second_run_writes_only_what_is_new(
    data: Path, place: str
) -> None:
    first = answer_of(data, "log", "archive", place)
    assert (first["path"], first["events"], first["new"]) == (place, 12, 12)
    again = answer_of(data, "log", "archive", place)
    assert (again["new"], again["objects"], again["bytes"]) == (0, 0, 0)
    assert again["root"] == first["root"]
    written(data, create_item(1, Content("later")))
    last = answer_of(data, "log", "archive", place)
    assert (last["events"], last["new"]) == (13, 1)
    assert last["root"] == answer_of(data, "log", "copy", f"{data.parent / 'copy'}/")["root"]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_prints_what_it_prints_for_the_log(
    data: Path, place: str, command: list[str]
) -> None:
    output_of(data, "log", "archive", place)
    before = invoke(data, *command)
    after = invoke(data, *command, "--log", place)
    assert before.exit_code == 0, before.output
    assert (after.exit_code, after.stdout) == (0, before.stdout), after.stderr


@pytest.mark.parametrize("command", WRITING, ids=" ".join)
def test_a_command_that_writes_refuses_an_archive(
    data: Path, place: str, command: list[str]
) -> None:
    output_of(data, "log", "archive", place)
    typed = TYPED.get(command[0], "long enough for all\n")
    result = invoke(data, *command, "--log", place, typed=typed, EVENTAPI_SECRET_KEY=SECRET)
    assert result.exit_code == 3, result.stderr
    assert "is an archive, which is read-only" in result.stderr
    assert answer_of(data, "log", "verify", place)["ok"]


def test_an_archive_is_copied_back_and_restored(data: Path, place: str, tmp_path: Path) -> None:
    output_of(data, "log", "archive", place)
    back = tmp_path / "back" / "events.jsonl"
    assert answer_of(data, "log", "copy", place, str(back))["events"] == 12
    assert log_of(back.parent) == log_of(data)
    code, err = refusal_of(data, "log", "restore", place)
    assert code == 2
    assert "log copy" in err
    new = tmp_path / "new"
    restoring = ("log", "restore", str(back), "--vault", str(data / "vault.sqlite"))
    output_of(new, *restoring)
    assert output_of(new, "users", "list") == output_of(data, "users", "list")


def test_a_log_is_not_copied_into_an_archive(data: Path, place: str) -> None:
    output_of(data, "log", "archive", place)
    code, err = refusal_of(data, "log", "copy", place)
    assert code == 2
    assert "log archive" in err


def test_rebuild_reads_an_archive_and_leaves_the_snapshots(data: Path, place: str) -> None:
    output_of(data, "log", "archive", place)
    output_of(data, "snapshot")
    own = answer_of(data, "rebuild")
    found = answer_of(data, "rebuild", "--log", place)
    assert found["snapshot"] is None
    assert (found["digest"], found["checksum"]) == (own["digest"], own["checksum"])
    assert list((data / "snapshots").glob("*.snapshot"))


def test_an_archive_of_another_log_is_refused_and_unchanged(
    data: Path, place: str, tmp_path: Path
) -> None:
    output_of(data, "log", "archive", place)
    other = tmp_path / "other"
    items = [create_item(1, Content(f"other {number}")) for number in range(30)]
    _begin(other)
    written(other, *items)
    code, err = refusal_of(other, "log", "archive", place)
    assert code == 1
    assert "is of another log" in message_in(err)
    assert output_of(data, "log", "show", "--log", place) == output_of(data, "log", "show")


def _begin(folder: Path) -> None:
    result = invoke(
        folder,
        *("users", "create", "eve", "eve@example.org", "--password-stdin"),
        typed="long enough for all\n",
    )
    assert result.exit_code == 0, result.output


def test_an_archive_that_is_newer_than_the_log_is_refused(
    data: Path, place: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy" / "events.jsonl"
    output_of(data, "log", "copy", str(copy))
    written(data, create_item(1, Content("later")))
    output_of(data, "log", "archive", place)
    code, err = refusal_of(data, "log", "archive", place, "--log", str(copy))
    assert code == 1
    assert "has 13 events, the log only 12" in message_in(err)


def test_a_log_with_another_key_continues_its_archive(data: Path, place: str) -> None:
    output_of(data, "log", "archive", place)
    output_of(data, "log", "restore", "--new-key")
    again = answer_of(data, "log", "archive", place)
    assert again["new"] == 1
    assert answer_of(data, "log", "verify", place)["ok"]
    key = output_of(data, "log", "checkpoint", "--key").strip()
    assert answer_of(data, "log", "verify", place, "--key", key)["ok"]


def test_nothing_is_archived_while_signing_is_suspended(
    data: Path, place: str, tmp_path: Path
) -> None:
    output_of(data, "log", "checkpoint")
    (data / "events.jsonl.key").unlink()
    code, err = refusal_of(data, "log", "archive", place)
    assert code == 1
    assert "nothing is archived without a new checkpoint" in message_in(err)
    code, err = refusal_of(data, "log", "show", "--log", place)
    assert code == 3
    assert "there is no" in message_in(err)
    if not place.startswith("s3:"):
        assert not Path(place).exists()


def test_verify_checks_the_signature_of_an_archive(data: Path, place: str) -> None:
    output_of(data, "log", "archive", place)
    key = output_of(data, "log", "checkpoint", "--key").strip()
    assert answer_of(data, "log", "verify", place, "--key", key, "--seals")["ok"]
    other = Signer.from_seed(bytes(32), "eventapi/").verifier.vkey
    assert invoke(data, "log", "verify", place, "--key", other).exit_code == 1
    output_of(data, "log", "restore", "--new-key")
    newer = output_of(data, "log", "checkpoint", "--key").strip()
    assert invoke(data, "log", "verify", place, "--key", newer).exit_code == 1


def test_an_erased_user_is_erased_from_the_archive_too(data: Path, place: str) -> None:
    output_of(data, "log", "archive", place)
    before = output_of(data, "log", "show", "--open", "--log", place)
    assert "ann@example.org" in before
    output_of(data, "users", "erase", "ann", "--yes")
    for command in (
        ("log", "show", "--open"),
        ("log", "diff", "--from", "1", "--open"),
        ("data", "export", "--resource", "items"),
        ("users", "list"),
    ):
        shown = output_of(data, *command, "--log", place)
        assert "ann@example.org" not in shown
        assert "item 0" not in shown
        assert "item 1" in shown or command[0] == "users"


def test_evidence_is_collected_from_an_archive(data: Path, place: str, tmp_path: Path) -> None:
    output_of(data, "log", "archive", place)
    out = tmp_path / "pack.zip"
    output_of(data, "log", "evidence", str(out), "--subject", "items/3", "--log", place)
    assert out.stat().st_size > 1000


def test_values_are_not_opened_where_that_cannot_be_recorded(
    data: Path, place: str, tmp_path: Path
) -> None:
    output_of(data, "log", "archive", place)
    selected = ("--subject", "items/3", "--open", "--log", place)
    code, err = refusal_of(data, "log", "evidence", str(tmp_path / "pack.zip"), *selected)
    assert code == 3
    assert "is an archive, which is read-only" in message_in(err)


def test_a_bucket_needs_the_extra(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    for command in (("log", "archive", "s3://bucket/x"), ("log", "show", "--log", "s3://bucket/x")):
        code, err = refusal_of(data, *command)
        assert code == 3
        assert "eventapi-server[s3]" in err


def test_a_bad_place_is_refused(data: Path, tmp_path: Path) -> None:
    secret = "s3://KEY:hunter2@bucket/logs"
    for command in (("log", "archive", secret), ("log", "show", "--log", secret)):
        result = invoke(data, *command)
        assert result.exit_code == 2
        assert "s3://BUCKET/PREFIX" in result.stderr
        assert "hunter2" not in result.output
    code, err = refusal_of(data, "log", "archive", str(data))
    assert code == 2
    assert "other files" in err
    code, err = refusal_of(data, "log", "archive", "postgresql://u:p@h/db")
    assert code == 2
    code, err = refusal_of(data, "log", "archive", str(data / "events.jsonl"))
    assert code == 2
    code, err = refusal_of(data, "log", "show", "--log", str(tmp_path / "none"))
    assert code == 3
    assert "there is no log" in message_in(err)


def test_the_figures_are_printed_as_fields(data: Path, place: str) -> None:
    shown = output_of(data, "log", "archive", place)
    assert [line.split()[0] for line in shown.splitlines()] == [
        "path",
        "events",
        "new",
        "bytes",
        "objects",
        "root",
    ]
    assert json.loads(output_of(data, "log", "verify", place, "--json"))["lines"] == 12


def test_closed_segments_give_the_same_archive(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output_of(data, "log", "archive", str(tmp_path / "one"))
    close_most(data, monkeypatch)
    assert answer_of(data, "log", "archive", str(tmp_path / "two"))["events"] == 12
    one, two = (
        {file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()}
        for place in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


def test_a_database_is_archived_and_its_archive_copied_back(
    data: Path, moved: str, place: str, tmp_path: Path
) -> None:
    found = answer_of(data, "log", "archive", place, "--log", moved)
    assert (found["events"], found["new"]) == (12, 12)
    again = answer_of(data, "log", "archive", place, "--log", moved)
    assert again["objects"] == 0
    output_of(data, "log", "copy", place, str(tmp_path / "back.jsonl"))
    assert (tmp_path / "back.jsonl").read_bytes() == log_of(data)


def test_an_archive_is_archived_elsewhere(data: Path, place: str, tmp_path: Path) -> None:
    output_of(data, "log", "archive", place)
    other = str(tmp_path / "other")
    assert answer_of(data, "log", "archive", other, "--log", place)["new"] == 12
    key = output_of(data, "log", "checkpoint", "--key").strip()
    assert answer_of(data, "log", "verify", other, "--key", key)["ok"]
