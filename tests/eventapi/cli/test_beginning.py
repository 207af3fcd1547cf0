"""Which commands may begin a log, and the evidence that a lost log leaves behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from eventapi.commands.items import CreateItem
from eventapi.commands.users import RegisterUser
from eventapi.security import passwords
from eventapi.testing.given import profile
from events.vocabulary.items import Content
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


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passwords cost is not what is tested here."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords.Passwords.__init__, "__defaults__", (cheap, 1, 8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a log, its keys, a checkpoint and a snapshot."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), CreateItem(1, Content("an item")))
    for command in (["log", "checkpoint"], ["snapshot"]):
        assert invoke(folder, *command).exit_code == 0
    return folder


def typed(command: Sequence[str]) -> str:
    """What a command reads from standard input."""
    return PASSWORD if command == CREATING else json.dumps({"users": {}, "items": {}})


def ended(data: Path, command: Sequence[str]) -> tuple[int, str]:
    """The exit code and the one message that a command prints to stderr."""
    result = run(data.parent, *command, "--data", data.name)
    assert "Traceback" not in result.err
    return result.code, result.err


def without(*names: str) -> Loss:
    """The loss of these files."""

    def lose(data: Path) -> None:
        for name in names:
            path = data / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return lose


@pytest.mark.parametrize("command", [*READING, *CHANGING], ids=" ".join)
@pytest.mark.parametrize("place", ["absent", "empty"])
def test_a_command_that_may_not_begin_a_log_creates_nothing(
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
def test_a_command_that_may_begin_a_log_begins_one(tmp_path: Path, command: Sequence[str]) -> None:
    result = invoke(tmp_path / "new", *command, typed=typed(command))
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "new" / "events.jsonl").exists()


def emptied(data: Path) -> None:
    """The loss of what the log had in it."""
    (data / "events.jsonl").write_bytes(b"")


def emptied_without_a_mark(data: Path) -> None:
    """The same, and of the mark."""
    without("events.jsonl.mark")(data)
    emptied(data)


LOSSES: dict[str, Loss] = {
    "the log": without("events.jsonl"),
    "the log and its mark": without("events.jsonl", "events.jsonl.mark"),
    "the content of the log": emptied,
    "the content of the log, and its mark": emptied_without_a_mark,
    "all but the mark": without(
        "events.jsonl",
        "vault.sqlite",
        "snapshots",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the vault": without(
        "events.jsonl",
        "events.jsonl.mark",
        "snapshots",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the snapshots": without(
        "events.jsonl",
        "events.jsonl.mark",
        "vault.sqlite",
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    ),
    "all but the key and the checkpoint": without(
        "events.jsonl", "events.jsonl.mark", "vault.sqlite", "snapshots"
    ),
    "all but the checkpoint": without(
        "events.jsonl", "events.jsonl.mark", "vault.sqlite", "snapshots", "events.jsonl.key"
    ),
}


def refused(data: Path, command: Sequence[str]) -> str:
    """The one message of a command that could not run."""
    result = invoke(data, *command, typed=typed(command))
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
def test_a_lost_log_is_never_begun_anew_beside_what_is_left_of_it(
    data: Path, loss: str, command: Sequence[str]
) -> None:
    LOSSES[loss](data)
    before = tree(data)
    said = refused(data, command)
    assert "but there was one" in said
    assert "log restore" in said
    assert "Nothing was changed" in said
    assert tree(data) == before


def test_the_message_lists_the_evidence(data: Path) -> None:
    without("events.jsonl")(data)
    said = refused(data, SERVING)
    assert "events.jsonl.mark (2 events were acknowledged)" in said
    assert "events.jsonl.key" in said
    assert "events.jsonl.checkpoint (of 2 events)" in said
    assert "vault.sqlite (keys of 1 user)" in said
    assert "snapshots (the newest of 2 events)" in said


def test_control_without_the_check_a_lost_log_is_begun_anew(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("events.jsonl", "events.jsonl.mark")(data)
    assert refused(data, CREATING)
    monkeypatch.setattr("eventapi.bootstrap.storage.check_start", lambda *_, **__: None)
    result = invoke(data, *CREATING, typed=PASSWORD)
    assert result.exit_code == 0
    assert (data / "events.jsonl").exists()


def test_a_refused_start_leaves_the_place_free_for_a_restore(data: Path, tmp_path: Path) -> None:
    backup, keys = tmp_path / "backup", tmp_path / "keys" / "vault.sqlite"
    assert invoke(data, "log", "copy", f"{backup}/", "--vault", str(keys)).exit_code == 0
    without("events.jsonl")(data)
    assert refused(data, SERVING)
    result = invoke(data, "log", "restore", f"{backup}/", "--vault", str(keys))
    assert result.exit_code == 0, result.stderr


def foreign_vault(data: Path) -> None:
    """A file in the place of the vault that is none."""
    (data / "vault.sqlite").write_bytes(b"not a database, but long enough to be one" * 100)


def empty_vault(data: Path) -> None:
    """An empty file in the place of the vault, which SQLite takes for a new database."""
    (data / "vault.sqlite").write_bytes(b"")


def foreign_log(data: Path) -> None:
    """A file in the place of the log that is none, and no mark."""
    without("events.jsonl.mark")(data)
    (data / "events.jsonl").write_bytes(b"a letter\n")


def dangling_log(data: Path) -> None:
    """A symbolic link in the place of the log, which leads nowhere."""
    without("events.jsonl")(data)
    (data / "events.jsonl").symlink_to("nowhere")


def directory_for(name: str) -> Loss:
    """A directory in the place of a file."""

    def lose(data: Path) -> None:
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()

    return lose


@pytest.mark.parametrize(
    ("lose", "words", "command"),
    [
        (without("vault.sqlite"), "there is no vault at", SERVING),
        (without("vault.sqlite"), "there is no vault at", CHANGING[2]),
        (empty_vault, "is no vault", CHANGING[2]),
        (foreign_vault, "is no vault", CHANGING[2]),
        (foreign_log, "is not a log", CHANGING[2]),
        (dangling_log, "symbolic link", SERVING),
        (dangling_log, "symbolic link", CHANGING[2]),
        (directory_for("events.jsonl"), "is no regular file", SERVING),
        (directory_for("events.jsonl"), "is no regular file", CHANGING[2]),
    ],
)
def test_a_start_beside_lost_or_foreign_files_changes_nothing(
    data: Path, lose: Loss, words: str, command: Sequence[str]
) -> None:
    lose(data)
    before = tree(data)
    assert words in refused(data, command)
    assert tree(data) == before


@pytest.mark.parametrize("lose", [empty_vault, foreign_log])
def test_a_server_that_finds_out_late_changes_nothing_but_its_metrics(
    data: Path, lose: Loss
) -> None:
    """The numbers of a server are counted before it opens the log; they are worth nothing."""
    lose(data)
    before = tree(data)
    code, said = ended(data, SERVING)
    assert code == 3
    assert message_in(said)
    after = {name: entry for name, entry in tree(data).items() if not name.startswith("metrics")}
    assert after.pop(".") is not None
    assert after == {name: entry for name, entry in before.items() if name != "."}


def short_secret(data: Path) -> None:
    """A secret key that is too short to be one."""
    (data / "secret.key").write_text("short\n")


def dangling_secret(data: Path) -> None:
    """A symbolic link in the place of the secret key, which leads nowhere."""
    (data / "secret.key").symlink_to("nowhere")


@pytest.mark.parametrize("lose", [short_secret, directory_for("secret.key"), dangling_secret])
def test_a_secret_key_that_cannot_be_used_is_refused_before_a_log_is_begun(
    tmp_path: Path, lose: Loss
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    lose(data)
    before = tree(data)
    code, said = ended(data, SERVING)
    assert code == 3
    assert message_in(said)
    assert "data/secret.key" in said
    assert tree(data) == before


@pytest.mark.parametrize("command", [SERVING, READING[0], CHANGING[2], CREATING], ids=" ".join)
def test_a_data_directory_that_is_a_file_is_named(tmp_path: Path, command: Sequence[str]) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"a letter")
    assert f"{data.name} is not a directory" in refused(data, command)
    assert data.read_bytes() == b"a letter"


@pytest.mark.parametrize("command", [SERVING, READING[0], CREATING], ids=" ".join)
def test_a_data_directory_that_is_a_link_to_nothing_is_named(
    tmp_path: Path, command: Sequence[str]
) -> None:
    data = tmp_path / "data"
    data.symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    said = refused(data, command)
    assert f"{data.name} is a symbolic link to a directory that is not there" in said
    assert tree(tmp_path) == before


@pytest.mark.parametrize("linked", ["directory", "log"])
def test_a_data_directory_and_a_log_behind_a_symbolic_link_work(
    data: Path, tmp_path: Path, linked: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    place = data if linked == "directory" else data / "events.jsonl"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert invoke(data, "users", "disable", "ann").exit_code == 0
    assert len(invoke(data, "log", "export").stdout_bytes.splitlines()) == 3
    assert place.is_symlink()


def test_a_lost_secret_key_is_replaced_in_silence_where_no_session_ends(data: Path) -> None:
    """`tests/eventapi/http/test_secret_key.py` has the warning where sessions end."""
    with running(data.parent, *SERVING, "--data", data.name) as server:
        server.line()
        assert "secret.key" not in server.stop().err
    assert (data / "secret.key").exists()


def test_no_secret_key_is_missed_where_a_log_begins(tmp_path: Path) -> None:
    with running(tmp_path, *SERVING, "--data", "new") as server:
        server.line()
        assert "secret.key" not in server.stop().err


def test_the_server_begins_by_one_check(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """It comes before the log file is opened and before anything else is made."""
    without("events.jsonl")(data)
    calls: list[str] = []
    monkeypatch.setattr("eventapi.telemetry.server_log.configure", lambda _: calls.append("logs"))
    assert invoke(data, *SERVING).exit_code == 3
    assert calls == []
