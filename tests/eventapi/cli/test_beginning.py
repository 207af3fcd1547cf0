"""Which commands may create a log, and the traces of a lost log that prevent it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.eventapi.cli.running import invoke, message_in, run, running, written
from tests.eventapi.cli.trees import tree

Loss = Callable[[Path], object]

READING = [
    ["log", "show"],
    ["log", "show", "--open"],
    ["log", "tail"],
    ["log", "verify"],
    ["log", "verify", "--seals"],
    ["log", "export"],
    ["log", "export", "--format", "db-json"],
    ["log", "prove", "1"],
    ["log", "checkpoint"],
    ["state", "show"],
    ["state", "digest"],
    ["users", "list"],
    ["rebuild"],
    ["snapshot"],
]
CHANGING = [
    ["users", "grant", "ann", "auditor"],
    ["users", "revoke", "ann", "auditor"],
    ["users", "disable", "ann"],
    ["users", "enable", "ann"],
    ["users", "erase", "--yes", "ann"],
]
CREATING = ["users", "create", "cid", "cid@example.org", "--password-stdin"]
IMPORTING = ["log", "import", "-"]
SERVING = ["serve", "--port", "0"]
PASSWORD = "correct horse"

pytestmark = pytest.mark.usefixtures("cheap_hashes")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log, its keys, a checkpoint and a snapshot."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), create_item(1, Content("an item")))
    for command in (["log", "checkpoint"], ["snapshot"]):
        assert invoke(folder, *command).exit_code == 0
    return folder


def standard_input(command: Sequence[str]) -> str:
    """The standard input of a command."""
    return PASSWORD if command == CREATING else json.dumps({"users": {}, "items": {}})


def run_command(data: Path, command: Sequence[str]) -> tuple[int, str]:
    """Run a command as a process; return its exit code and stderr."""
    result = run(data.parent, *command, "--data", data.name)
    assert "Traceback" not in result.err
    return result.code, result.err


def remove(*names: str) -> Loss:
    """Remove these files."""

    def lose(data: Path) -> None:
        for name in names:
            path = data / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return lose


@pytest.mark.parametrize("command", [*READING, *CHANGING], ids=" ".join)
@pytest.mark.parametrize("place", ["absent", "empty"])
def test_commands_that_may_not_create_a_log_create_nothing(
    tmp_path: Path, command: Sequence[str], place: str
) -> None:
    data = tmp_path / "wrong"
    if place == "empty":
        data.mkdir()
    before = tree(tmp_path)
    result = invoke(data, *command)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"eventapi: there is no log at {data / 'events.jsonl'}: ")
    assert "--data DIR" in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", [CREATING, IMPORTING], ids=" ".join)
def test_users_create_and_log_import_create_a_log(tmp_path: Path, command: Sequence[str]) -> None:
    result = invoke(tmp_path / "new", *command, typed=standard_input(command))
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "new" / "events.jsonl").exists()


def empty_log(data: Path) -> None:
    """Empty the log."""
    (data / "events.jsonl").write_bytes(b"")


def empty_log_without_mark(data: Path) -> None:
    """Empty the log and remove the mark."""
    remove("events.jsonl.mark")(data)
    empty_log(data)


LOSSES: dict[str, Loss] = {
    "the log": remove("events.jsonl"),
    "the log and its mark": remove("events.jsonl", "events.jsonl.mark"),
    "the content of the log": empty_log,
    "the content of the log, and its mark": empty_log_without_mark,
    "all but the mark": remove(
        "events.jsonl",
        "vault.sqlite",
        "snapshots",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the vault": remove(
        "events.jsonl",
        "events.jsonl.mark",
        "snapshots",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the snapshots": remove(
        "events.jsonl",
        "events.jsonl.mark",
        "vault.sqlite",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the key and the checkpoint": remove(
        "events.jsonl", "events.jsonl.mark", "vault.sqlite", "snapshots"
    ),
    "all but the checkpoint": remove(
        "events.jsonl", "events.jsonl.mark", "vault.sqlite", "snapshots", "events.jsonl.key"
    ),
}


def refusal(data: Path, command: Sequence[str]) -> str:
    """Run a command that must fail; return its one message."""
    result = invoke(data, *command, typed=standard_input(command))
    assert (result.exit_code, result.stdout) == (3, "")
    assert message_in(result.stderr)
    return result.stderr


@pytest.mark.parametrize(
    ("loss", "command"),
    [
        *((loss, SERVING) for loss in LOSSES),
        ("the log", CREATING),
        ("the log", READING[0]),
        ("the log", CHANGING[2]),
        ("the log and its mark", IMPORTING),
    ],
)
def test_no_log_is_created_beside_the_traces_of_a_lost_one(
    data: Path, loss: str, command: Sequence[str]
) -> None:
    LOSSES[loss](data)
    before = tree(data)
    error = refusal(data, command)
    assert "but there was one" in error
    assert "log restore" in error
    assert "Nothing was changed" in error
    assert tree(data) == before


def test_the_message_lists_the_evidence(data: Path) -> None:
    remove("events.jsonl")(data)
    error = refusal(data, SERVING)
    assert "events.jsonl.mark (2 events were acknowledged)" in error
    assert "events.jsonl.key" in error
    assert "events.jsonl.checkpoint (of 2 events)" in error
    assert "vault.sqlite (keys of 1 user)" in error
    assert "snapshots (the newest of 2 events)" in error


def test_control_without_the_check_a_new_log_replaces_a_lost_one(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove("events.jsonl", "events.jsonl.mark")(data)
    assert refusal(data, CREATING)
    monkeypatch.setattr("eventapi.bootstrap.storage.check_start", lambda *_, **__: None)
    result = invoke(data, *CREATING, typed=PASSWORD)
    assert result.exit_code == 0
    assert (data / "events.jsonl").exists()


def test_a_restore_works_after_a_refused_start(data: Path, tmp_path: Path) -> None:
    backup, keys = tmp_path / "backup", tmp_path / "keys" / "vault.sqlite"
    assert invoke(data, "log", "copy", f"{backup}/", "--vault", str(keys)).exit_code == 0
    remove("events.jsonl")(data)
    assert refusal(data, SERVING)
    result = invoke(data, "log", "restore", f"{backup}/", "--vault", str(keys))
    assert result.exit_code == 0, result.stderr


def foreign_vault(data: Path) -> None:
    """Replace the vault with a file of another kind."""
    (data / "vault.sqlite").write_bytes(b"not a database, but long enough to be one" * 100)


def empty_vault(data: Path) -> None:
    """Replace the vault with an empty file, which SQLite accepts as a new database."""
    (data / "vault.sqlite").write_bytes(b"")


def foreign_log(data: Path) -> None:
    """Replace the log with a file of another kind, and remove the mark."""
    remove("events.jsonl.mark")(data)
    (data / "events.jsonl").write_bytes(b"a letter\n")


def foreign_file(data: Path) -> None:
    """Replace the log with a file that is no log, beside which there is no vault."""
    foreign_log(data)
    remove("vault.sqlite")(data)


def dangling_log(data: Path) -> None:
    """Replace the log with a dangling symbolic link."""
    remove("events.jsonl")(data)
    (data / "events.jsonl").symlink_to("nowhere")


def directory_for(name: str) -> Loss:
    """Replace a file with a directory."""

    def lose(data: Path) -> None:
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()

    return lose


@pytest.mark.parametrize(
    ("lose", "words", "command"),
    [
        (remove("vault.sqlite"), "there is no vault at", SERVING),
        (remove("vault.sqlite"), "there is no vault at", CHANGING[2]),
        (empty_vault, "is not a vault", CHANGING[2]),
        (foreign_vault, "is not a vault", CHANGING[2]),
        (foreign_log, "is not a log", CHANGING[2]),
        (foreign_file, "is not a log", SERVING),
        (foreign_file, "is not a log", CHANGING[2]),
        (dangling_log, "symbolic link", SERVING),
        (dangling_log, "symbolic link", CHANGING[2]),
        (directory_for("events.jsonl"), "is not a regular file", SERVING),
        (directory_for("events.jsonl"), "is not a regular file", CHANGING[2]),
    ],
)
def test_a_start_beside_lost_or_foreign_files_changes_nothing(
    data: Path, lose: Loss, words: str, command: Sequence[str]
) -> None:
    lose(data)
    before = tree(data)
    assert words in refusal(data, command)
    assert tree(data) == before


@pytest.mark.long
@pytest.mark.parametrize("lose", [empty_vault, foreign_log])
def test_a_server_that_fails_late_changes_nothing_but_its_metrics(data: Path, lose: Loss) -> None:
    """Metrics are opened before the log; they hold no data worth protecting."""
    lose(data)
    before = tree(data)
    code, error = run_command(data, SERVING)
    assert code == 3
    assert message_in(error)
    after = {name: entry for name, entry in tree(data).items() if not name.startswith("metrics")}
    assert after.pop(".") is not None
    assert after == {name: entry for name, entry in before.items() if name != "."}


def short_secret(data: Path) -> None:
    """Write a secret key that is too short."""
    (data / "secret.key").write_text("short\n")


def dangling_secret(data: Path) -> None:
    """Put a dangling symbolic link in the place of the secret key."""
    (data / "secret.key").symlink_to("nowhere")


@pytest.mark.long
@pytest.mark.parametrize("lose", [short_secret, directory_for("secret.key"), dangling_secret])
def test_an_unusable_secret_key_is_refused_before_a_log_is_created(
    tmp_path: Path, lose: Loss
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lose(data)
    before = tree(data)
    code, error = run_command(data, SERVING)
    assert code == 3
    assert message_in(error)
    assert "data/secret.key" in error
    assert tree(data) == before


@pytest.mark.parametrize("command", [SERVING, READING[0], CHANGING[2], CREATING], ids=" ".join)
def test_a_file_in_the_place_of_the_data_directory_is_reported(
    tmp_path: Path, command: Sequence[str]
) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"a letter")
    assert f"{data.name} is not a directory" in refusal(data, command)
    assert data.read_bytes() == b"a letter"


@pytest.mark.parametrize("command", [SERVING, READING[0], CREATING], ids=" ".join)
def test_a_data_directory_that_is_a_dangling_link_is_reported(
    tmp_path: Path, command: Sequence[str]
) -> None:
    data = tmp_path / "data"
    data.symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    error = refusal(data, command)
    assert f"{data.name} is a symbolic link to a directory that is not there" in error
    assert tree(tmp_path) == before


@pytest.mark.parametrize("linked", ["directory", "log"])
def test_data_directory_and_log_may_be_symbolic_links(
    data: Path, tmp_path: Path, linked: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    place = data if linked == "directory" else data / "events.jsonl"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert invoke(data, "users", "disable", "ann").exit_code == 0
    assert len(invoke(data, "log", "export").stdout_bytes.splitlines()) == 3
    assert place.is_symlink()


def test_a_lost_secret_key_is_replaced_without_warning_if_no_session_ends(data: Path) -> None:
    """`tests/eventapi/http/test_secret_key.py` has the warning where sessions end."""
    with running(data.parent, *SERVING, "--data", data.name) as server:
        server.line()
        assert "secret.key" not in server.stop().err
    assert (data / "secret.key").exists()


def test_a_new_log_gives_no_warning_about_its_secret_key(tmp_path: Path) -> None:
    with running(tmp_path, *SERVING, "--data", "new") as server:
        server.line()
        assert "secret.key" not in server.stop().err


def test_the_server_checks_the_log_before_it_opens_anything(
    monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    """The check precedes the server's own log and every other file."""
    remove("events.jsonl")(data)
    calls: list[str] = []
    monkeypatch.setattr("eventapi.telemetry.server_log.configure", lambda _: calls.append("logs"))
    assert invoke(data, *SERVING).exit_code == 3
    assert calls == []
