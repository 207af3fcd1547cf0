"""What commands say when something is wrong: what it means, how bad it is, what to type next."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from click.testing import Result

from eventapi.bootstrap.storage import open_journal
from eventapi.cli import output
from eventapi.cli.verdict import verdict
from eventapi.cli.verify import format_finding
from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.telemetry.progress import LINE_SECONDS, progress_lines
from eventapi.testing.given import profile
from events.codec import link
from events.record import GENESIS
from events.verification.verify import Finding, LastGood, Report
from events.vocabulary.items import Content
from tests.eventapi.cli.running import PROGRAM, invoke, message_in, run, written

EVENTS = 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of 12 events: a user and 11 items."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), *[CreateItem(1, Content("an item"))] * 11)
    return folder


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def chained_anew(lines: list[bytes]) -> bytes:
    """The lines, each with the hash that continues the chain."""
    digest, written_anew = GENESIS, []
    for line in lines:
        body = line[: line.rindex(b',"hash":')]
        digest = link(digest, body)
        written_anew.append(body + b',"hash":"' + digest.hex().encode() + b'"}\n')
    return b"".join(written_anew)


def of_a_newer_version(data: Path) -> None:
    """A whole log with an event of a type that is not known here."""
    log = data / "events.jsonl"
    lines = lines_of(log)
    lines[6] = lines[6].replace(b'"type":"item.created"', b'"type":"item.painted"')
    log.write_bytes(chained_anew(lines))
    (data / "events.jsonl.mark").unlink()


def verified(data: Path, *arguments: str) -> Result:
    """The outcome of a check, which must say what is next unless all is well."""
    result = invoke(data, "log", "verify", *arguments)
    assert (result.exit_code == 0) == ("Next: " not in result.stdout), result.output
    return result


# log verify


def test_damage_in_the_middle_is_named_with_what_is_good_before_and_behind_it(data: Path) -> None:
    log = data / "events.jsonl"
    lines = lines_of(log)
    lines[4] = lines[4].replace(b'"items/4"', b'"items/9"')
    log.write_bytes(b"".join(lines))
    result = verified(data)
    assert result.exit_code == 1
    assert (
        f"{log} is DAMAGED: good up to event 4; the chain continues after the damage up to 12\n"
        in result.stdout
    )
    assert "Events up to 4 are as they were written" in result.stdout
    assert "`eventapi log restore COPY`" in result.stdout.splitlines()[-1]


def test_positions_and_offsets_can_be_copied_into_the_next_command() -> None:
    """A thousands separator would have to be taken out of them first."""
    finding = Finding("damaged", 1500, 1_234_567, "the hash is wrong")
    report = Report(6896, 9_000_000, LastGood(3410, "0" * 64), marked=True, findings=[finding])
    assert verdict("LOG", report).text == (
        "LOG is DAMAGED: good up to event 1499; the chain continues after the damage up to 3410"
    )
    assert format_finding(finding).startswith("damaged at position 1500, byte offset 1234567: ")


def test_damage_in_the_middle_of_a_program_s_answer_has_all_three_parts(data: Path) -> None:
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"items/4"', b'"items/9"'))
    told = json.loads(invoke(data, "log", "verify", "--json").stdout)
    assert told["ok"] is False
    assert told["good_up_to"] == 4
    assert "DAMAGED" in told["verdict"]
    assert "no server starts" in told["severity"]
    assert "eventapi log restore" in told["next"]


def test_a_log_that_lost_its_end_is_named_with_what_is_good(data: Path) -> None:
    log = data / "events.jsonl"
    log.write_bytes(b"".join(lines_of(log)[:9]))
    assert "is DAMAGED: good up to event 9, and the acknowledged events after it are gone" in (
        verified(data).stdout
    )


def test_a_copy_that_breaks_off_is_called_incomplete(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((data / "events.jsonl").read_bytes()[:-10])
    said = verified(data, str(copy)).stdout
    assert "is an INCOMPLETE copy: good up to event 11" in said
    assert "make the copy again" in said


def test_a_log_of_a_newer_version_is_not_called_damaged(data: Path) -> None:
    of_a_newer_version(data)
    result = verified(data)
    assert result.exit_code == 1
    assert "unknown-event at position 7" in result.stdout
    assert "was written by a newer version of eventapi: its 12 events are whole" in result.stdout
    assert "DAMAGED" not in result.stdout
    told = json.loads(invoke(data, "log", "verify", "--json").stdout)
    assert (told["ok"], told["good_up_to"]) == (False, EVENTS)


def test_a_command_over_a_log_of_a_newer_version_says_so(data: Path) -> None:
    of_a_newer_version(data)
    result = invoke(data, "users", "list")
    assert result.exit_code == 3
    assert "item.painted" in message_in(result.stderr)
    assert "Nothing is damaged, lost or changed" in result.stderr
    assert "install the version that wrote it" in result.stderr


def test_damage_in_a_log_of_a_newer_version_is_damage(data: Path) -> None:
    of_a_newer_version(data)
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"items/9"', b'"items/8"'))
    assert "is DAMAGED: good up to event 9" in verified(data).stdout


@pytest.mark.parametrize("harm", [b"", b"nonsense" * 512])
def test_a_damaged_mark_is_not_called_a_damaged_log(data: Path, harm: bytes) -> None:
    """And what the message says to type is what helps."""
    mark = data / "events.jsonl.mark"
    mark.write_bytes(harm)
    for command in (["users", "list"], ["users", "disable", "ann"], ["log", "tail"]):
        result = invoke(data, *command)
        assert result.exit_code == 3
        assert message_in(result.stderr) == f"Only the mark is damaged, not the log: {mark}"
        assert f"if it reports nothing but the mark: rm {mark}" in result.stderr
    said = verified(data).stdout
    assert f"Only the mark is damaged, not the log: all 12 events in {data}" in said
    assert f"Next: rm {mark}," in said
    assert "DAMAGED" not in said
    mark.unlink()
    assert invoke(data, "users", "disable", "ann").exit_code == 0
    assert verified(data).exit_code == 0


def test_a_mark_of_another_log_is_named(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")), *[CreateItem(1, Content("an item"))] * 11)
    (data / "events.jsonl").write_bytes((other / "events.jsonl").read_bytes())
    said = verified(data).stdout
    assert "the mark is of another log" in said
    assert "DAMAGED" not in said


@pytest.mark.parametrize("users", [1, 2])
def test_users_without_keys_are_counted_and_the_two_reasons_named(
    tmp_path: Path, users: int
) -> None:
    data = tmp_path / "data"
    written(data, *[RegisterUser(profile(name)) for name in ("ann", "ben", "cid")])
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        for number in range(1, users + 1):
            vault.execute(f"DELETE FROM keys WHERE subject = 'users/{number}'")
    one = "1 user has no key (users/1). Either this vault belongs to another log, or the user was"
    two = "2 users have no key (users/1, users/2). Either this vault belongs to another log, or the"
    expected = {1: one, 2: two}[users]
    assert expected in verified(data, "--seals").stdout
    result = invoke(data, "users", "disable", "cid")
    assert result.exit_code == 3
    assert message_in(result.stderr).startswith(expected)
    assert "`eventapi log restore --vault KEYS`" in result.stderr


def test_a_log_that_contradicts_its_checkpoint_is_not_called_damaged(
    data: Path, tmp_path: Path
) -> None:
    assert invoke(data, "log", "checkpoint").exit_code == 0
    shutil.copytree(data, tmp_path / "kept")
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")), *[CreateItem(1, Content("an item"))] * 11)
    for name in ("events.jsonl", "events.jsonl.mark"):
        shutil.copy(other / name, data / name)
    said = verified(data).stdout
    assert "contradicts the checkpoint of 12 events, though its 12 events are whole" in said
    assert "signs nothing until an operator decides" in said


def test_a_comparison_says_from_where_on_the_files_differ(data: Path, tmp_path: Path) -> None:
    """Neither of the two is called damaged: one of them was rewritten, and which is not known."""
    log, other = data / "events.jsonl", tmp_path / "other.jsonl"
    lines = lines_of(log)
    lines[8] = lines[8].replace(b'"items/8"', b'"items/7"')
    other.write_bytes(chained_anew(lines))
    result = verified(data, str(log), "--prefix-of", str(other))
    assert result.exit_code == 1
    assert "The files differ from event 9 on: one of them was rewritten.\n" in result.stdout
    assert "DAMAGED" not in result.stdout


# A start that found something


def test_a_missing_mark_is_reported_with_what_was_checked_and_kept(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "events.jsonl.mark").unlink()

    async def start() -> None:
        async with open_journal(Settings(data=str(data))):
            pass

    asyncio.run(start())
    assert "No mark was found. All 12 events in the file were checked and kept." in caplog.text
    assert "Nothing was lost, and writes go on." in caplog.text


# users erase


@pytest.mark.parametrize(("items", "counted"), [(0, "0 items"), (1, "1 item"), (2, "2 items")])
def test_an_erasure_is_asked_for_with_who_and_what_it_is(
    tmp_path: Path, items: int, counted: str
) -> None:
    users = [RegisterUser(profile(name)) for name in ("ann", "ben")]
    written(tmp_path, *users, *[CreateItem(2, Content("an item"))] * items)
    (ben,) = [
        user
        for user in json.loads(invoke(tmp_path, "users", "list", "--json").stdout)
        if user["username"] == "ben"
    ]
    result = invoke(tmp_path, "users", "erase", "BEN", typed="n\n")
    assert result.exit_code != 0
    assert result.stderr.startswith(
        f"Erase users/2 ben ({counted}, registered {ben['created_at'][:10]})? "
        "This cannot be undone. [y/N]: "
    )
    assert invoke(tmp_path, "users", "erase", "BEN", typed="y\n").exit_code == 0


def test_an_erasure_of_nobody_is_not_asked_for(data: Path) -> None:
    result = invoke(data, "users", "erase", "nobody", typed="y\n")
    assert result.exit_code == 1
    assert message_in(result.stderr) == "there is no user 'nobody'"


# Passwords


def test_a_password_is_not_asked_for_where_there_is_no_terminal(tmp_path: Path) -> None:
    alone = ["setsid", *PROGRAM]
    ended = run(tmp_path, "users", "create", "ann", "ann@example.com", command=alone)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message_in(ended.err) == "there is no terminal to type the password at"
    assert "--password-stdin" in ended.err
    assert not (tmp_path / "data").exists()


# Progress


def test_progress_is_a_line_every_five_seconds() -> None:
    """Given work of 13 seconds, a line comes after 5 and after 10, with the numbers."""
    seconds = 0.0
    said: list[str] = []
    progress = progress_lines("replaying the log", 500_001, said.append, now=lambda: seconds)
    for number in range(130):
        seconds = number / 10
        progress(500_001 * number // 130)
    assert LINE_SECONDS == 5
    assert said == [
        "replaying the log: 192,308 of 500,001 (38 %)",
        "replaying the log: 384,616 of 500,001 (76 %)",
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rebuild"], "eventapi: replaying the log: 12 of 12 (100 %)\n"),
        (["users", "list"], "eventapi: replaying the log: 12 of 12 (100 %)\n"),
        (["users", "disable", "ann"], "eventapi: replaying the log: 12 of 12 (100 %)\n"),
        (["snapshot"], "eventapi: replaying the log: 12 of 12 (100 %)\n"),
        (["log", "verify"], "eventapi: verifying the log: "),
        (["log", "copy", "{}/copy/"], "eventapi: copying the log: 12 of 12 (100 %)\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_long_work_without_a_terminal_prints_lines(
    data: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], line: str
) -> None:
    """Of each command that folds, copies or checks; here a line is due at once."""
    monkeypatch.setattr("eventapi.telemetry.progress.LINE_SECONDS", 0.0)
    result = invoke(data, *(one.format(data.parent) for one in arguments))
    assert result.exit_code == 0, result.stderr
    assert line in result.stderr


def test_short_work_prints_no_progress(data: Path) -> None:
    assert invoke(data, "rebuild").stderr == ""


def test_on_a_terminal_it_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = MagicMock()
    monkeypatch.setattr(output, "Progress", drawn)
    monkeypatch.setattr("sys.stderr", MagicMock(isatty=lambda: True))
    with output.progress_bar("replaying the log", 3) as progress:
        progress(3)
    drawn.return_value.__enter__.return_value.add_task.assert_called_once_with(
        "replaying the log", total=3
    )
