"""Files removed or replaced while in use: no further write is acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from events.database.connection import Database
from events.errors import LogFenced, VaultUnavailable
from events.io.files import FileIdentity
from events.log.sql.log import SqlLog
from events.vault.sqlite import SqliteVault
from tests.events.log_helpers import append, open_file_log, read_all

KEY = {"users/1": b"k" * 32}


def remove(path: Path) -> None:
    """Delete the file."""
    path.unlink()


def move(path: Path) -> None:
    """Give the file another name, as a careless rotation does."""
    path.rename(path.with_name("moved"))


def replace(path: Path) -> None:
    """Put a copy in place of the file, as a restore does."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


LOSSES = [remove, move, replace]


@pytest.mark.parametrize("suffix", ["", ".mark", ".lock"])
@pytest.mark.parametrize("lose", LOSSES)
async def test_a_log_refuses_writes_after_one_of_its_files_is_displaced(
    tmp_path: Path, suffix: str, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "events.jsonl"
    lost = tmp_path / f"events.jsonl{suffix}"
    async with open_file_log(path) as log:
        lines = await append(log, 2)
        lose(lost)
        for _ in range(2):
            with pytest.raises(LogFenced) as refused:
                await append(log)
        assert log.position == 2
        assert await read_all(log, 0, 1) == lines[:1] or suffix == ""
    assert str(lost) in str(refused.value)
    assert "start the server again" in refused.value.message.next


async def test_a_removed_lock_file_does_not_let_two_processes_write(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        await append(log)
        (tmp_path / "events.jsonl.lock").unlink()
        async with open_file_log(path) as other, other.exclusive(1):
            with pytest.raises(LogFenced):
                await append(log)


async def test_control_without_the_check_an_acknowledged_event_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        await append(log, 2)
        path.unlink()
        monkeypatch.setattr(FileIdentity, "loss", lambda _: None)
        await append(log)
        assert log.position == 3
    assert not path.exists()


async def test_a_log_opened_without_its_commit_index_and_lock_has_every_event(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        lines = await append(log, 3)
    for suffix in (".mark", ".lock"):
        (tmp_path / f"events.jsonl{suffix}").unlink()
    async with open_file_log(path) as again:
        lines += await append(again)
        assert await read_all(again) == lines


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_displaced_vault_refuses_to_store_and_to_destroy_keys(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = tmp_path / "vault.sqlite"
    vault = SqliteVault(path)
    await vault.put(KEY)
    lose(path)
    with pytest.raises(LogFenced) as refused:
        await vault.put({"users/2": b"k" * 32})
    assert "start the server again" in refused.value.message.next
    with pytest.raises(VaultUnavailable):
        await vault.destroy(KEY)
    assert await vault.all() == KEY
    await vault.close()


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_log_in_a_database_refuses_writes_after_its_commit_index_is_removed(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(kind).new_database()
    index = tmp_path / "database.mark"
    database = await Database.open(url)
    log = await SqlLog.open(database, index)
    lines = await append(log, 2)
    index.unlink()
    with pytest.raises(LogFenced, match=r"database.mark was removed"):
        await append(log)
    await log.close()
    again = await SqlLog.open(database, index)
    assert await read_all(again) == lines
    assert await append(again)
    await again.close()
    await database.close()
