"""``eventapi log evidence``: a zip that proves itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eventapi.commands.users import EraseUser
from eventapi.testing.items import Content, create_item
from tests.eventapi.cli.running import invoke, log_of, message_in, output_of, refusal_of, written
from tests.eventapi.cli.trees import tree
from tests.eventapi.evidence.packs import checked, faults_in, files_in, rows_of


def pack_of(data: Path, *arguments: str) -> dict[str, bytes]:
    """The files of a pack that the command writes to standard output."""
    result = invoke(data, "log", "evidence", *arguments, "-")
    assert (result.exit_code, result.stderr) == (0, "")
    return files_in(result.stdout_bytes)


def positions_in(files: dict[str, bytes]) -> list[int]:
    return [int(json.loads(line)["id"]) for line in rows_of(files["lines.jsonl"])]


def time_of(data: Path, position: int) -> str:
    return str(json.loads(log_of(data).splitlines()[position - 1])["time"])


def test_the_evidence_about_an_item_has_its_lines(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence.zip"

    assert output_of(data, "log", "evidence", "--subject", "items/3", str(out)) == ""

    files = files_in(out.read_bytes())
    assert rows_of(files["lines.jsonl"]) == [log_of(data).splitlines()[4]]
    assert "items/3" in files["README.txt"].decode()
    assert "opened.jsonl" not in files
    key = output_of(data, "log", "checkpoint", "--key").strip()
    assert faults_in(files, key) == []


def test_the_evidence_about_a_user_has_what_the_export_has(data: Path) -> None:
    files = pack_of(data, "--user", "ann")

    assert positions_in(files) == [1, 3, 5, 7, 9, 11]
    assert faults_in(files) == []
    assert pack_of(data, "--user", "users/1")["lines.jsonl"] == files["lines.jsonl"]


@pytest.mark.parametrize(
    ("since", "until"), [("5", "4"), ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")]
)
def test_an_end_before_the_beginning_is_refused(data: Path, since: str, until: str) -> None:
    result = invoke(
        data, "log", "evidence", "--user", "ann", "--since", since, "--until", until, "-"
    )

    assert result.exit_code == 2
    assert "Invalid value for '--until': must not be before --since" in result.stderr


def test_the_pack_checks_itself_in_a_folder_of_its_own(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence.zip"
    output_of(data, "log", "evidence", "--user", "ann", str(out))
    folder = tmp_path / "elsewhere"
    shutil.unpack_archive(out, folder)

    def verify(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", "verify.py", *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    key = output_of(data, "log", "checkpoint", "--key").strip()
    for arguments in ((), (str(out),), ("--key", key), ("--key", key, str(folder))):
        code, printed = verify(*arguments)
        assert (code, "OK    6 lines are in the log" in printed) == (0, True), printed
    for arguments in (("--no",), ("a", "b"), ("--key", "x"), ("none.zip",)):
        assert verify(*arguments)[0] == 2
    lines = folder / "lines.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'"items/3"', b'"items/2"'))
    code, printed = verify()
    assert (code, "WRONG lines.jsonl, line 3: " in printed) == (1, True), printed


@pytest.mark.parametrize("stdout", ["closed pipe", "full disk"])
def test_the_check_keeps_its_exit_code_without_a_reader(
    data: Path, tmp_path: Path, stdout: str
) -> None:
    """As in `verify.py | head -1`."""
    out = tmp_path / "evidence.zip"
    output_of(data, "log", "evidence", "--user", "ann", str(out))
    folder = tmp_path / "elsewhere"
    shutil.unpack_archive(out, folder)

    def verify() -> tuple[int, str]:
        writing = os.open("/dev/full", os.O_WRONLY)
        if stdout == "closed pipe":
            os.close(writing)
            reading, writing = os.pipe()
            os.close(reading)
        command = [sys.executable, "-I", str(folder / "verify.py")]
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writing)
        return done.returncode, done.stderr

    assert verify() == (0, "")
    (folder / "lines.jsonl").write_bytes(b"")
    assert verify() == (1, "")


def test_since_and_until_include_their_ends(data: Path) -> None:
    def found(*arguments: str) -> list[int]:
        return positions_in(pack_of(data, "--user", "ann", *arguments))

    assert found("--since", "5", "--until", "9") == [5, 7, 9]
    assert found("--since", time_of(data, 5), "--until", time_of(data, 9)) == [5, 7, 9]
    assert found("--until", "999999") == found("--since", "0001-01-01T00:00:00Z")
    assert found("--since", "6") == [7, 9, 11]


def test_nothing_is_written_without_an_event(data: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "evidence.zip", tree(data)

    for arguments, problem in {
        ("--subject", "items/99"): "there is no event of 'items/99'",
        ("--subject", ""): "there is no event of ''",
        ("--subject", "users/1", "--since", "2"): (
            "there is no event of 'users/1' in this part of the log"
        ),
        ("--subject", "users/1", "--since", "2999-01-01T00:00:00Z"): (
            "there is no event of 'users/1' in this part of the log"
        ),
        ("--user", "nobody-here"): "there is no user 'nobody-here'",
        ("--user", "users/99"): "there is no user 'users/99'",
    }.items():
        code, error = refusal_of(data, "log", "evidence", *arguments, str(out))
        assert (code, message_in(error)) == (1, problem)

    assert list(tmp_path.glob("*evidence*")) == []
    assert tree(data) == before


def test_nothing_is_opened_while_signing_is_suspended(data: Path, tmp_path: Path) -> None:
    output_of(data, "log", "checkpoint")
    (data / "events.jsonl.signed").unlink()
    before = log_of(data)

    code, error = refusal_of(
        data, "log", "evidence", "--user", "ann", "--open", str(tmp_path / "evidence.zip")
    )

    assert (code, "Nothing is signed until an operator decides" in error) == (1, True)
    assert log_of(data) == before


def test_misuse_is_refused(data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "evidence.zip")

    def refused(*arguments: str) -> int:
        return refusal_of(data, "log", "evidence", *arguments)[0]

    assert refused(out) == 2
    assert refused("--subject", "items/1") == 2
    assert refused("--subject", "items/1", "--user", "ann", out) == 2
    assert refused("--subject", "items/1", "--since", "soon", out) == 2
    assert refused("--subject", "items/1", str(data / "events.jsonl")) == 2
    assert refused("--subject", "items/1", str(tmp_path)) == 2
    assert list(tmp_path.glob("evidence*")) == []


def test_a_file_that_exists_is_left_alone(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "evidence.zip"
    out.write_text("mine")

    code, error = refusal_of(data, "log", "evidence", "--user", "ann", str(out))

    assert (code, message_in(error)) == (2, f"{out} exists already")
    assert out.read_text() == "mine"


def test_a_copy_of_the_log_alone_is_sufficient_for_a_subject(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "events.jsonl").write_bytes(log_of(data))

    files = pack_of(copy, "--subject", "items/3")

    assert faults_in(files) == []
    assert invoke(copy, "log", "evidence", "--user", "ann", "-").exit_code == 3


def test_a_log_that_contradicts_its_checkpoint_gives_no_evidence(
    data: Path, tmp_path: Path
) -> None:
    output_of(data, "log", "checkpoint")
    (data / "events.jsonl").write_bytes(b"".join(log_of(data).splitlines(keepends=True)[:7]))
    (data / "events.jsonl.mark").unlink()

    code, error = refusal_of(data, "log", "evidence", "--user", "ann", str(tmp_path / "out.zip"))

    assert (code, "contradicts its last checkpoint" in error) == (1, True)
    assert list(tmp_path.glob("*out.zip*")) == []


def test_opened_values_are_there_and_secrets_are_withheld(data: Path) -> None:
    files = pack_of(data, "--user", "ann", "--open")

    rows = [json.loads(row) for row in rows_of(files["opened.jsonl"])]
    assert [row["position"] for row in rows] == positions_in(files)
    assert rows[0]["shown"]["username"] == "ann"
    assert "password_hash" in rows[0]["withheld"]
    assert rows[1]["clear"]["title"] == "item 0"
    assert b"hash of ann" not in files["opened.jsonl"]
    assert faults_in(files) == []


def test_values_of_an_erased_user_cannot_be_opened_and_the_pack_says_so(data: Path) -> None:
    written(data, create_item(2, Content("kept")), EraseUser("ann", "operator/test"))

    files = pack_of(data, "--user", "users/1", "--open")

    assert positions_in(files) == [1, 3, 5, 7, 9, 11, 14]
    rows = [json.loads(row) for row in rows_of(files["opened.jsonl"])]
    assert {row["unreadable"] for row in rows} == {"users/1"}
    check = checked(files)
    assert check.faults == []
    assert check.remarks == {"unreadable, because no key opens them": [1, 2, 3, 4, 5, 6]}
    assert "an erasure destroys" in files["README.txt"].decode()


def test_a_long_collection_shows_its_progress(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventapi.telemetry.progress.LINE_SECONDS", 0.0)

    shown = invoke(data, "log", "evidence", "--user", "ann", "-").stderr

    assert "eventapi: collecting evidence: 6 of 6 (100 %)" in shown


def test_opening_values_is_recorded_for_each_user(data: Path) -> None:
    before = log_of(data).count(b"\n")

    pack_of(data, "--subject", "items/3")
    assert log_of(data).count(b"\n") == before
    files = pack_of(data, "--user", "ann", "--open", "--until", "5")

    (line,) = (json.loads(line) for line in log_of(data).splitlines()[before:])
    assert (line["type"], line["subject"]) == ("audit.opened", "users/1")
    assert line["actor"].startswith("operator/")
    assert line["data"] == {"query": {"user": 1, "until": time_of(data, 5)}, "count": 3}
    assert faults_in(files) == []
