"""``eventapi log show``, ``tail``, ``verify`` and ``export``."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from eventapi.commands.second_factors import EnableTotp, StartTotp
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item, import_item, update_item
from tests.eventapi.cli.running import (
    PATIENCE,
    PROGRAM,
    clean_environment,
    invoke,
    message_in,
    run,
    running,
    written,
)

ANN, BEN = RegisterUser(profile("ann")), RegisterUser(profile("ben"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with five events: two users, two items, one change."""
    folder = tmp_path / "data"
    items = create_item(1, Content("a secret title")), create_item(2, Content("another"))
    written(folder, ANN, BEN, *items, update_item(1, 1, title="a new title"))
    return folder


def log_of(data: Path) -> bytes:
    return (data / "events.jsonl").read_bytes()


def positions(data: Path, *options: str) -> list[str]:
    """The positions that `log show` prints; the same with ``--json`` and without."""
    raw = invoke(data, "log", "show", "--json", *options)
    readable = invoke(data, "log", "show", *options)
    assert (raw.exit_code, readable.exit_code) == (0, 0)
    shown = [json.loads(line)["id"] for line in raw.stdout_bytes.splitlines()]
    assert [line.split()[0] for line in readable.stdout.splitlines()] == shown
    return shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "12345"),
        (["--after", "3"], "45"),
        (["--after", "9"], ""),
        (["--limit", "2"], "12"),
        (["--after", "1", "--limit", "2"], "23"),
        (["--type", "item.created"], "34"),
        (["--type", "item.created", "--limit", "1"], "3"),
        (["--type", "item.created", "--after", "3"], "4"),
        (["--subject", "items/1"], "35"),
        (["--actor", "users/2"], "24"),
        (["--actor", "users/2", "--type", "item.created"], "4"),
        (["--type", "item.restored"], ""),
        (["--subject", "invoices/7"], ""),
        (["--subject", "sessions/abc"], ""),
        (["--actor", "operator/another person"], ""),
    ],
)
def test_show_prints_the_selected_events(data: Path, options: Sequence[str], expected: str) -> None:
    assert positions(data, *options) == list(expected)


@pytest.mark.parametrize(
    ("option", "text", "named"),
    [
        ("--type", "item.crated", "item.created, item.deleted"),
        ("--type", "nothing.such", "user.registered"),
        ("--type", "", "user.registered"),
        *(("--subject", text, "items/7") for text in ("nonsense", "", "items/x", "items/07")),
        *(("--actor", text, "users/1") for text in ("ann", "", "items/1", "users/0")),
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"], ["--after", "9"]])
def test_show_refuses_a_filter_that_no_event_can_pass(
    data: Path, option: str, text: str, named: str, more: Sequence[str]
) -> None:
    result = invoke(data, "log", "show", option, text, *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr
    assert named in result.stderr


def test_show_names_a_damaged_line_also_while_it_looks_for_a_type(data: Path) -> None:
    log = data / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"specversion"', b'"specversiom"', 1))
    result = invoke(data, "log", "show", "--type", "item.crated", "--after", "3")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "position 1" in result.stderr


def test_show_accepts_a_type_that_only_the_log_has(tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    file.write_text("invoice,text\n1,a\n")
    written(tmp_path, RegisterUser(profile("ann")))
    load = ("data", "import", str(file), "--resource", "lines", "--owner", "ann")
    assert invoke(tmp_path, *load, EVENTAPI_RESOURCES="tests.shop").exit_code == 0
    assert positions(tmp_path, "--type", "line.created") == ["3"]
    assert positions(tmp_path, "--type", "line.deleted") == []
    assert positions(tmp_path, "--type", "line.created", "--until", "2") == []


def test_raw_lines_are_the_bytes_of_the_log(data: Path) -> None:
    assert invoke(data, "log", "show", "--json").stdout_bytes == log_of(data)
    assert invoke(data, "log", "export").stdout_bytes == log_of(data)
    last = b"".join(log_of(data).splitlines(keepends=True)[-2:])
    assert invoke(data, "log", "tail", "-n", "2").stdout_bytes == last
    assert invoke(data, "log", "tail", "-n", "2", "--json").stdout_bytes == last
    assert invoke(data, "log", "tail").stdout_bytes == log_of(data)
    assert invoke(data, "log", "tail", "-n", "0").stdout_bytes == b""


def test_personal_values_are_shown_only_with_open(data: Path) -> None:
    """A password hash is never shown."""
    closed = invoke(data, "log", "show").stdout
    opened = invoke(data, "log", "show", "--open").stdout
    for value in ("a secret title", "ann@example.org"):
        assert value not in closed
        assert value in opened
    assert "hash of ann" not in opened


def test_secrets_of_a_second_factor_are_never_shown(data: Path) -> None:
    written(data, StartTotp(1, "TOTP-SECRET"), EnableTotp(1, "TOTP-SECRET", 7, ("RECOVERY",)))

    opened = invoke(data, "log", "show", "--open", "--type", "user.totp_started").stdout
    opened += invoke(data, "log", "show", "--open", "--type", "user.totp_enabled").stdout

    assert opened.count("…") == 2
    assert "TOTP-SECRET" not in opened
    assert "RECOVERY" not in opened


def test_values_without_a_key_are_not_shown(data: Path) -> None:
    (data / "vault.sqlite").unlink()
    result = invoke(data, "log", "show", "--open")
    assert result.exit_code == 0
    assert "secret" not in result.stdout


def test_control_characters_in_values_are_escaped(data: Path) -> None:
    content = Content("\x9b2J\u202e\u2028")
    written(data, import_item("ann", content, None, None, 0, actor="operator/root"))
    shown = invoke(data, "log", "show", "--open", "--after", "5").stdout
    assert shown.count("\n") == 1
    assert shown.rstrip("\n").isprintable()


def test_open_and_json_exclude_each_other(data: Path) -> None:
    assert invoke(data, "log", "show", "--open", "--json").exit_code == 2


@pytest.mark.parametrize("command", [["log", "show"], ["log", "verify"], ["state", "show"]])
@pytest.mark.parametrize("place", [".", "/"])
def test_a_directory_is_refused_as_a_log(
    tmp_path: Path, command: Sequence[str], place: str
) -> None:
    result = invoke(tmp_path, *command, "--log", place)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("eventapi: ")


@pytest.mark.parametrize(
    "command",
    [
        ["log", "show"],
        ["log", "tail"],
        ["log", "verify"],
        ["log", "export"],
        ["state", "show"],
        ["rebuild"],
        ["users", "list"],
    ],
)
def test_reading_commands_create_no_log(tmp_path: Path, command: Sequence[str]) -> None:
    result = invoke(tmp_path / "nowhere", *command)
    assert result.exit_code == 3
    assert result.stderr.startswith("eventapi: there is no log at ")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_without_a_mark_is_read_completely(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(log_of(data))
    result = invoke(tmp_path / "other", "--log", str(copy), "log", "show", "--json")
    assert result.stdout_bytes == log_of(data)


# log tail


def test_follow_prints_new_events_until_ctrl_c(data: Path) -> None:
    with running(data.parent, "log", "tail", "-n", "1", "--follow") as tail:
        assert tail.line() == log_of(data).splitlines(keepends=True)[-1]
        written(data, create_item(1, Content("later")))
        assert tail.line() == log_of(data).splitlines(keepends=True)[-1]
        ended = tail.stop(signal.SIGINT)
    assert ended.code == 130
    assert ended.err.strip() == ""


@pytest.mark.parametrize(
    "arguments",
    [["log", "show", "--json"], ["config"], ["--help"], ["log", "--help"]],
    ids=" ".join,
)
def test_a_closed_pipe_ends_the_command_silently(data: Path, arguments: Sequence[str]) -> None:
    """As with ``| head -1``: the exit code is that of a program that SIGPIPE ended."""
    written(data, *(create_item(1, Content("x" * 200, "y" * 5000)) for _ in range(40)))
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=data.parent,
        env=clean_environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (141, b"")


# log verify


def test_verify_accepts_a_whole_log(data: Path) -> None:
    result = invoke(data, "log", "verify")
    assert result.exit_code == 0
    assert "is whole: 5 events" in result.stdout
    answer = json.loads(invoke(data, "log", "verify", "--json").stdout)
    assert (answer["ok"], answer["lines"], answer["bytes"]) == (True, 5, len(log_of(data)))
    assert answer["findings"] == []


def test_verify_reports_damage_with_its_position_and_offset(data: Path) -> None:
    """The log is only read, so that a second run finds the same."""
    lines = log_of(data).splitlines(keepends=True)
    offset = len(lines[0] + lines[1])
    lines[2] = lines[2].replace(b'"items/1"', b'"items/2"')
    (data / "events.jsonl").write_bytes(b"".join(lines))
    result = invoke(data, "log", "verify")
    assert result.exit_code == 1
    assert f"damaged at position 3, byte offset {offset}: " in result.stdout
    answer = invoke(data, "log", "verify", str(data / "events.jsonl"), "--json")
    assert answer.exit_code == 1
    (finding,) = json.loads(answer.stdout)["findings"]
    assert (finding["position"], finding["offset"]) == (3, offset)
    assert log_of(data) == b"".join(lines)


def test_verify_opens_seals_with_the_keys_of_the_vault(data: Path) -> None:
    assert invoke(data, "log", "verify", "--seals").exit_code == 0
    written(data, EraseUser("ben", "users/2"))
    assert invoke(data, "log", "verify", "--seals").exit_code == 0


def _swap_keys(vault: sqlite3.Connection) -> None:
    vault.execute("UPDATE keys SET key = randomblob(32) WHERE subject = 'users/2'")


def _lose_key(vault: sqlite3.Connection) -> None:
    vault.execute("DELETE FROM keys WHERE subject = 'users/2'")


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (_swap_keys, "damaged at position 2, byte offset {}: the seal is broken"),
        (_lose_key, "key at position 2, byte offset {}: there is no key for users/2"),
    ],
    ids=["another key", "no key"],
)
def test_verify_finds_wrong_and_missing_keys(
    data: Path, harm: Callable[[sqlite3.Connection], None], finding: str
) -> None:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        harm(vault)
    assert invoke(data, "log", "verify").exit_code == 0
    result = invoke(data, "log", "verify", "--seals")
    assert result.exit_code == 1
    assert finding.format(log_of(data).index(b"\n") + 1) in result.stdout


def test_a_missing_vault_is_reported_and_not_created(data: Path) -> None:
    (data / "vault.sqlite").unlink()
    result = invoke(data, "log", "verify", "--seals")
    assert (result.exit_code, result.stdout) == (3, "")
    assert message_in(result.stderr) == f"there is no vault at {data / 'vault.sqlite'}"
    assert not (data / "vault.sqlite").exists()


def test_verify_of_a_missing_file_is_misuse(data: Path) -> None:
    assert invoke(data, "log", "verify", str(data / "no.jsonl")).exit_code == 2


def test_verify_refuses_pipes_and_devices(data: Path) -> None:
    """A pipe has no size, and an empty log would count as whole."""
    reader, writer = os.pipe()
    os.write(writer, b"no event\n")
    os.close(writer)
    for path in (f"/dev/fd/{reader}", "/dev/zero"):
        result = invoke(data, "log", "verify", path)
        assert (result.exit_code, result.stdout) == (3, "")
        assert "is not a regular file" in result.stderr
    os.close(reader)


def test_commands_report_the_position_of_damage(data: Path) -> None:
    (data / "events.jsonl").write_bytes(log_of(data).replace(b'"id":"2"', b'"id":"8"'))
    for command in (["rebuild"], ["state", "digest"], ["users", "list"]):
        result = invoke(data, *command)
        assert result.exit_code == 3
        assert "position 2, byte offset" in result.stderr
    (data / "events.jsonl").write_bytes(log_of(data).replace(b'{"specversion"', b'["specversion"'))
    result = invoke(data, "log", "show")
    assert result.exit_code == 3
    assert "position 1" in result.stderr


# log export


def test_an_export_gets_its_name_when_it_is_complete(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "export.jsonl"
    target.write_text("an older one")
    assert invoke(data, "log", "export", "--output", str(target)).exit_code == 0
    assert target.read_bytes() == log_of(data)
    assert target.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"data", "export.jsonl"}


def test_a_failed_export_keeps_the_older_file(data: Path, tmp_path: Path) -> None:
    (data / "events.jsonl").write_bytes(log_of(data)[:-10])
    target = tmp_path / "export.jsonl"
    target.write_text("an older one")
    assert invoke(data, "log", "export", "--output", str(target)).exit_code == 3
    assert target.read_text() == "an older one"
    assert {path.name for path in tmp_path.iterdir()} == {"data", "export.jsonl"}


@pytest.mark.parametrize(
    "name",
    [
        "events.jsonl",
        "events.jsonl.mark",
        "events.jsonl.lock",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
        "events.jsonl.signed",
        "events.jsonl.reserve",
        "vault.sqlite",
        "vault.sqlite-journal",
        "followers.sqlite",
        "followers.sqlite-journal",
        "secret.key",
        "clock",
        "limits.table",
    ],
)
def test_an_export_never_replaces_a_file_of_the_server(data: Path, name: str) -> None:
    path = data / name
    if not path.exists():
        path.write_bytes(b"what the server keeps")
    before = path.read_bytes()

    assert invoke(data, "log", "export", "--output", str(path)).exit_code == 2

    assert path.read_bytes() == before


def test_an_export_to_a_device_is_written_directly(data: Path, tmp_path: Path) -> None:
    ended = run(tmp_path, "log", "export", "--output", "/dev/stdout")
    assert ended.code == 0
    assert ended.out == log_of(data)
