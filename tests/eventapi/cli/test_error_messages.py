"""Error messages of commands: the problem, its severity and the next step."""

from __future__ import annotations

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
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.telemetry.progress import LINE_SECONDS, progress_lines
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.codec import link
from events.record import GENESIS
from events.verification.report import Finding, LastGood, Report
from tests.eventapi.cli.running import PROGRAM, invoke, message_in, run, written

EVENTS = 12


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of 12 events: a user and 11 items."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), *[create_item(1, Content("an item"))] * 11)
    return folder


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rechain(lines: list[bytes]) -> bytes:
    """Recompute the hash of every line."""
    digest, written_anew = GENESIS, []
    for line in lines:
        body = line[: line.rindex(b',"hash":')]
        digest = link(digest, body)
        written_anew.append(body + b',"hash":"' + digest.hex().encode() + b'"}\n')
    return b"".join(written_anew)


def add_unknown_event(data: Path) -> None:
    """Change the type of one event to an unknown one, and keep the chain valid."""
    log = data / "events.jsonl"
    lines = lines_of(log)
    lines[6] = lines[6].replace(b'"type":"item.created"', b'"type":"item.painted"')
    log.write_bytes(rechain(lines))
    (data / "events.jsonl.mark").unlink()


def verify_log(data: Path, *arguments: str) -> Result:
    """Run `log verify`; its output must name the next step unless the log is whole."""
    result = invoke(data, "log", "verify", *arguments)
    assert (result.exit_code == 0) == ("Next: " not in result.stdout), result.output
    return result


# log verify


def test_damage_is_reported_with_the_good_events_before_and_after_it(data: Path) -> None:
    log = data / "events.jsonl"
    lines = lines_of(log)
    lines[4] = lines[4].replace(b'"items/4"', b'"items/9"')
    log.write_bytes(b"".join(lines))
    result = verify_log(data)
    assert result.exit_code == 1
    assert (
        f"{log} is DAMAGED: good up to event 4; the chain continues after the damage up to 12\n"
        in result.stdout
    )
    assert "last good event" not in result.stdout, "the end of the chain is not to be trusted"
    assert "Events up to 4 are as they were written" in result.stdout
    assert "`eventapi log restore COPY`" in result.stdout.splitlines()[-1]


def test_positions_and_offsets_have_no_thousands_separator() -> None:
    """They can be copied into the next command."""
    finding = Finding("damaged", 1500, 1_234_567, "the hash is wrong")
    report = Report(6896, 9_000_000, LastGood(3410, "0" * 64), marked=True, findings=[finding])
    assert verdict("LOG", report).text == (
        "LOG is DAMAGED: good up to event 1499; the chain continues after the damage up to 3410"
    )
    assert format_finding(finding).startswith("damaged at position 1500, byte offset 1234567: ")


def test_damage_as_json_has_all_three_parts_of_the_message(data: Path) -> None:
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"items/4"', b'"items/9"'))
    answer = json.loads(invoke(data, "log", "verify", "--json").stdout)
    assert answer["ok"] is False
    assert answer["good_up_to"] == 4
    assert "DAMAGED" in answer["verdict"]
    assert "No server starts" in answer["severity"]
    assert "eventapi log restore" in answer["next"]


def test_a_log_that_lost_its_end_is_reported_with_its_good_events(data: Path) -> None:
    log = data / "events.jsonl"
    log.write_bytes(b"".join(lines_of(log)[:9]))
    assert "is DAMAGED: good up to event 9, and the acknowledged events after it are gone" in (
        verify_log(data).stdout
    )


def test_a_truncated_copy_is_reported_as_incomplete(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((data / "events.jsonl").read_bytes()[:-10])
    output = verify_log(data, str(copy)).stdout
    assert "is an INCOMPLETE copy: good up to event 11" in output
    assert "make the copy again" in output


def test_a_log_of_a_newer_version_is_not_reported_as_damaged(data: Path) -> None:
    add_unknown_event(data)
    result = verify_log(data)
    assert result.exit_code == 1
    assert "unknown-event at position 7" in result.stdout
    assert "was written by a newer version of eventapi: its 12 events are whole" in result.stdout
    assert "DAMAGED" not in result.stdout
    answer = json.loads(invoke(data, "log", "verify", "--json").stdout)
    assert (answer["ok"], answer["good_up_to"]) == (False, EVENTS)


def test_commands_report_a_log_of_a_newer_version(data: Path) -> None:
    add_unknown_event(data)
    result = invoke(data, "users", "list")
    assert result.exit_code == 3
    assert "item.painted" in message_in(result.stderr)
    assert "Nothing is damaged, lost or changed" in result.stderr
    assert "install the version that wrote it" in result.stderr


def test_damage_in_a_log_of_a_newer_version_is_reported(data: Path) -> None:
    add_unknown_event(data)
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"items/9"', b'"items/8"'))
    assert "is DAMAGED: good up to event 9" in verify_log(data).stdout


@pytest.mark.parametrize("harm", [b"", b"nonsense" * 512])
def test_a_damaged_mark_is_not_reported_as_a_damaged_log(data: Path, harm: bytes) -> None:
    """The command in the message solves the problem."""
    mark = data / "events.jsonl.mark"
    mark.write_bytes(harm)
    for command in (["users", "list"], ["users", "disable", "ann"], ["log", "tail"]):
        result = invoke(data, *command)
        assert result.exit_code == 3
        assert message_in(result.stderr) == f"Only the mark is damaged, not the log: {mark}"
        assert f"if it reports only the mark: rm {mark}" in result.stderr
    output = verify_log(data).stdout
    assert f"Only the mark is damaged, not the log: all 12 events in {data}" in output
    assert f"Next: rm {mark}," in output
    assert "DAMAGED" not in output
    mark.unlink()
    assert invoke(data, "users", "disable", "ann").exit_code == 0
    assert verify_log(data).exit_code == 0


def test_a_mark_of_another_log_is_reported(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")), *[create_item(1, Content("an item"))] * 11)
    (data / "events.jsonl").write_bytes((other / "events.jsonl").read_bytes())
    output = verify_log(data).stdout
    assert "the mark belongs to another log" in output
    assert "DAMAGED" not in output


@pytest.mark.parametrize("users", [1, 2])
def test_missing_keys_are_reported_with_their_number_and_both_reasons(
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
    assert expected in verify_log(data, "--seals").stdout
    result = invoke(data, "users", "disable", "cid")
    assert result.exit_code == 3
    assert message_in(result.stderr).startswith(expected)
    assert "`eventapi log restore --vault KEYS`" in result.stderr


def test_a_log_that_contradicts_its_checkpoint_is_not_reported_as_damaged(
    data: Path, tmp_path: Path
) -> None:
    assert invoke(data, "log", "checkpoint").exit_code == 0
    shutil.copytree(data, tmp_path / "kept")
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")), *[create_item(1, Content("an item"))] * 11)
    for name in ("events.jsonl", "events.jsonl.mark"):
        shutil.copy(other / name, data / name)
    output = verify_log(data).stdout
    assert "contradicts the checkpoint of 12 events, though its 12 events are whole" in output
    assert "signs nothing until an operator decides" in output


def test_prefix_of_reports_the_first_event_that_differs(data: Path, tmp_path: Path) -> None:
    """Neither file is reported as damaged, because either may have been rewritten."""
    log, other = data / "events.jsonl", tmp_path / "other.jsonl"
    lines = lines_of(log)
    lines[8] = lines[8].replace(b'"items/8"', b'"items/7"')
    other.write_bytes(rechain(lines))
    result = verify_log(data, str(log), "--prefix-of", str(other))
    assert result.exit_code == 1
    assert "The files differ from event 9 on: one of them was rewritten.\n" in result.stdout
    assert "DAMAGED" not in result.stdout


# Recovery


async def test_a_start_without_a_mark_reports_the_checked_events(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "events.jsonl.mark").unlink()
    async with open_journal(Settings(data=str(data))):
        pass
    assert "No mark was found. All 12 events in the file were checked and kept." in caplog.text
    assert "Nothing was lost, and writes continue." in caplog.text


# users erase


@pytest.mark.parametrize(("items", "counted"), [(0, "0 items"), (1, "1 item"), (2, "2 items")])
def test_erase_asks_with_the_name_and_the_number_of_items(
    tmp_path: Path, items: int, counted: str
) -> None:
    users = [RegisterUser(profile(name)) for name in ("ann", "ben")]
    written(tmp_path, *users, *[create_item(2, Content("an item"))] * items)
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


def test_erase_of_an_unknown_user_asks_nothing(data: Path) -> None:
    result = invoke(data, "users", "erase", "nobody", typed="y\n")
    assert result.exit_code == 1
    assert message_in(result.stderr) == "there is no user 'nobody'"


# Passwords


def test_create_without_a_terminal_asks_for_no_password(tmp_path: Path) -> None:
    alone = ["setsid", *PROGRAM]
    ended = run(tmp_path, "users", "create", "ann", "ann@example.com", command=alone)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message_in(ended.err) == "there is no terminal at which to type the password"
    assert "--password-stdin" in ended.err
    assert not (tmp_path / "data").exists()


# Progress


def test_progress_prints_a_line_every_five_seconds() -> None:
    """Work of 13 seconds prints a line after 5 and after 10 seconds."""
    seconds = 0.0
    lines: list[str] = []
    progress = progress_lines("replaying the log", 500_001, lines.append, now=lambda: seconds)
    for number in range(130):
        seconds = number / 10
        progress(500_001 * number // 130)
    assert LINE_SECONDS == 5
    assert lines == [
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
    """For each command that folds, copies or verifies; here a line is due at once."""
    monkeypatch.setattr("eventapi.telemetry.progress.LINE_SECONDS", 0.0)
    result = invoke(data, *(one.format(data.parent) for one in arguments))
    assert result.exit_code == 0, result.stderr
    assert line in result.stderr


def test_short_work_prints_no_progress(data: Path) -> None:
    assert invoke(data, "rebuild").stderr == ""


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = MagicMock()
    monkeypatch.setattr(output, "Progress", drawn)
    monkeypatch.setattr("sys.stderr", MagicMock(isatty=lambda: True))
    with output.progress_bar("replaying the log", 3) as progress:
        progress(3)
    drawn.return_value.__enter__.return_value.add_task.assert_called_once_with(
        "replaying the log", total=3
    )
