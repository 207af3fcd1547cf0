"""Modes and owners of created files, and the loss of files under a server."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from stat import S_IMODE

import httpx
import pytest

from events.transparency.signed_note import Note, Signer
from tests.eventapi.cli.running import (
    NOBODY,
    REPOSITORY,
    address_of,
    as_nobody,
    invoke,
    message_in,
    run,
    running,
)

ANN = {"username": "ann", "email": "ann@example.org", "password": "correct horse"}
BEN = {"username": "ben", "email": "ben@example.org", "password": "correct horse"}


def create_every_file(folder: Path) -> None:
    """Make a server and commands create every kind of file, and check the files."""
    data, keys = folder / "data", str(folder / "keys" / "keys.sqlite")
    lines = {"EVENTAPI_LOG_FILE": str(folder / "lines" / "server.log")}
    arguments = ("serve", "--port", "0", "--data", "data", "--workers", "2")
    with running(folder, *arguments, **lines) as server:
        url = address_of(server)
        assert httpx.post(f"{url}/auth/register", json=ANN).status_code == 200
        assert httpx.get(f"{url}/log/checkpoint").status_code == 200
        assert server.stop().code == 0
    with (data / "events.jsonl").open("ab") as file:
        file.write(b'{"specversion"')
    for command in (
        ["users", "disable", "ann"],
        ["snapshot"],
        ["log", "copy", f"{folder / 'backup'}/", "--vault", keys],
        ["log", "export", "--output", str(folder / "export.jsonl")],
    ):
        assert invoke(data, *command).exit_code == 0, command
    restoring = ["log", "restore", f"{folder / 'backup'}/", "--vault", keys]
    assert invoke(folder / "new", *restoring).exit_code == 0
    cosigned = cosign(invoke(data, "log", "checkpoint").stdout)
    assert invoke(data, "log", "checkpoint", "--cosigned", "-", typed=cosigned).exit_code == 0
    assert invoke(data, "users", "erase", "--yes", "ann").exit_code == 0
    assert invoke(data, "log", "restore", "--new-key").exit_code == 0
    cosigned = cosign(invoke(data, "log", "checkpoint").stdout)
    assert invoke(data, "log", "checkpoint", "--cosigned", "-", typed=cosigned).exit_code == 0
    check_modes_and_owners(folder)
    check_guide(data)


def cosign(checkpoint: str) -> str:
    """A checkpoint with the signature of a witness."""
    witness = Signer.from_seed(bytes(32), "witness.example/")
    note = Note.parse(checkpoint)
    return str(Note(note.text, [*note.signatures, *witness.sign(note.text).signatures]))


PUBLIC = {"lines": 0o750, "lines/server.log": 0o640}
"""Files that other users may read: server log lines without personal data."""

MADE = {
    *("events.jsonl", "events.jsonl.mark", "events.jsonl.lock", "events.jsonl.key"),
    *("events.jsonl.checkpoint", "vault.sqlite", "secret.key", "limits.table", "metrics"),
    *("snapshots", "quarantine", "lock", "keys.sqlite", "server.log"),
    *("clock", "events.jsonl.reserve", "events.jsonl.signed", "export.jsonl"),
}
"""Files that must exist, or the test missed a part of the server's life."""


def check_modes_and_owners(folder: Path) -> None:
    """Check the mode of every file, and that its owner is that of the top directory."""
    above = folder.stat()
    wrong, made = {}, set()
    for path in folder.rglob("*"):
        found, name = path.stat(), str(path.relative_to(folder))
        made.add(path.name)
        mode = PUBLIC.get(name, 0o700 if path.is_dir() else 0o600)
        if (S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (
            mode,
            above.st_uid,
            above.st_gid,
        ):
            wrong[name] = (oct(S_IMODE(found.st_mode)), found.st_uid)
    assert wrong == {}
    assert made >= MADE


GUIDE = REPOSITORY / "docs" / "operating.md"
GROWN = "events.jsonl.segments"
"""Only made for a log of more than 1 GiB."""
NOT_MADE_HERE = {
    "database-*.mark",
    "database-*.checkpoint",
    "*.tmp",
    "vault.sqlite-journal",
    "events.jsonl.verified",
    GROWN,
}
"""Files of a server over a database, of one that was killed, of a copy, and of a large log."""


def documented_files() -> set[str]:
    """The files in the table of the guide."""
    section = GUIDE.read_text().partition("## Lost files")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert all(len(row) == 3 and row[1] and row[2].strip(" |") for row in rows)
    return {row[0].strip("| `") for row in rows}


def check_guide(data: Path) -> None:
    """Check that the guide has a row for every file that is created, and no others."""
    made = {path.name for path in data.iterdir()}
    of = {name: row for name in made for row in documented_files() if is_of(name, row)}
    assert made - of.keys() == set()
    assert documented_files() - set(of.values()) == NOT_MADE_HERE
    to_copy = {name for name in files_to_copy() - {GROWN} if not name.endswith(".tmp")}
    assert to_copy == documented_files() - NOT_MADE_HERE - {"events.jsonl.*.KEY"}


def is_of(name: str, row: str) -> bool:
    """Whether a row of the guide is about a file; KEY is the name of a key."""
    return fnmatchcase(name, row.replace("*.KEY", "*.????????????????"))


def files_to_copy() -> set[str]:
    """The files of a data directory of which the guide says whether to copy them."""
    table = GUIDE.read_text().partition("\n### The files of the data directory\n\n")[2]
    table = table.partition("\n\n")[0]
    return {
        name for line in table.splitlines() for name in re.findall("`(.*?)`", line.split("|")[1])
    }


@pytest.mark.long
def test_every_file_of_a_server_has_its_mode_and_its_owner(
    tmp_path: Path,
) -> None:
    """With umask 0, so that modes are explicit; as root also the owners are checked."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    before = os.umask(0)
    try:
        create_every_file(tmp_path)
    finally:
        os.umask(before)


@pytest.mark.root
def test_a_file_owned_by_root_is_reported_with_the_chown_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.parent.chmod(0o755)
    data = tmp_path / "data"
    assert invoke(data, "users", "create", "ann", "ann@example.org", typed=_TWICE).exit_code == 0
    os.chown(data / "events.jsonl", 0, 0)
    assert invoke(data, "users", "list").exit_code == 0
    monkeypatch.chdir(tmp_path)
    commands = ("users", "list"), ("users", "disable", "ann")

    def read_and_write() -> object:
        results = [invoke(Path("data"), *command) for command in commands]
        return [(result.exit_code, result.stderr) for result in results]

    for code, error in as_nobody(read_and_write):
        assert code == 3
        assert "chown --reference=data data/events.jsonl" in error


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "command", "message"),
    [
        (
            "events.jsonl.mark",
            ["users", "list"],
            "events.jsonl cannot be read: Permission denied (data",
        ),
        ("events.jsonl.mark", ["log", "verify"], "data/events.jsonl.mark: Permission denied"),
        ("events.jsonl.key", ["log", "checkpoint"], "events.jsonl.key cannot be read: Permission"),
        (
            "events.jsonl.key",
            ["log", "restore", "--new-key"],
            "events.jsonl.key cannot be read: Per",
        ),
        (
            "events.jsonl.checkpoint",
            ["log", "prove", "1"],
            "used: data/events.jsonl.checkpoint: Perm",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, command: list[str], message: str
) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    tmp_path.parent.chmod(0o755)
    data = tmp_path / "data"
    assert invoke(data, "users", "create", "ann", "ann@example.org", typed=_TWICE).exit_code == 0
    assert invoke(data, "log", "checkpoint").exit_code == 0
    invoke(data, *command)  # Imports the modules, which another user may not read.
    (data / name).chmod(0)
    monkeypatch.chdir(tmp_path)

    def work() -> object:
        result = invoke(Path("data"), *command)
        return [result.exit_code, message_in(result.stderr)]

    code, problem = as_nobody(work)
    assert (code, message in problem) == (3, True), problem


_TWICE = "correct horse\ncorrect horse\n"


# Files lost under a running server


def _remove(path: Path) -> None:
    path.unlink()


def _replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "lose"),
    [
        ("events.jsonl", _replace),
        ("vault.sqlite", _remove),
    ],
)
def test_a_server_that_lost_a_file_stops_writing_and_exits(
    tmp_path: Path, name: str, lose: Callable[[Path], None]
) -> None:
    with running(tmp_path, "serve", "--port", "0", "--data", "data") as server:
        url = address_of(server)
        assert httpx.post(f"{url}/auth/register", json=ANN).status_code == 200
        lose(tmp_path / "data" / name)
        refused = httpx.post(f"{url}/auth/register", json=BEN)
        assert refused.status_code == 503
        ended = server.stop(signal.SIGCONT)
    assert ended.code == os.EX_IOERR
    assert f"data/{name} was" in ended.err
    assert "Writes have stopped" in ended.err


@pytest.mark.long
def test_a_server_of_two_workers_exits_when_its_log_is_gone(tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--data", "data", "--workers", "2")
    with running(tmp_path, *arguments) as server:
        url = address_of(server)
        assert httpx.post(f"{url}/auth/register", json=ANN).status_code == 200
        (tmp_path / "data" / "events.jsonl").unlink()
        assert httpx.post(f"{url}/auth/register", json=BEN).status_code == 503
        ended = server.stop(signal.SIGCONT)
    assert ended.code == 3
    assert "but there was one" in ended.err
    assert not (tmp_path / "data" / "events.jsonl").exists()


@pytest.mark.long
def test_a_server_continues_after_the_loss_of_files_that_can_be_recreated(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", "0", "--data", "data") as server:
        url = address_of(server)
        assert httpx.post(f"{url}/auth/register", json=ANN).status_code == 200
        data = tmp_path / "data"
        (data / "limits.table").unlink()
        (data / "secret.key").unlink()
        shutil.rmtree(data / "metrics")
        assert httpx.post(f"{url}/auth/register", json=BEN).status_code == 200
        assert httpx.get(f"{url}/metrics").status_code == 404
        ended = server.stop()
    assert (ended.code, "Traceback" in ended.err) == (0, False)
    assert run(tmp_path, "log", "verify").code == 0
