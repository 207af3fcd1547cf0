"""Files that are removed or replaced while they are in use: nothing more is acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from events.database.connection import Database
from events.errors import LogFenced, VaultUnavailable
from events.io.files import FileIdentity
from events.log.sql.log import SqlLog
from events.vault.sqlite import SqliteVault
from tests.events.log_helpers import append, in_event_loop, open_file_log, read_all

KEY = {"users/1": b"k" * 32}


def removed(path: Path) -> None:
    """The file is gone for good."""
    path.unlink()


def moved(path: Path) -> None:
    """The file has another name, as after a careless rotation."""
    path.rename(path.with_name("moved"))


def replaced(path: Path) -> None:
    """A copy of the file has its name, as after a restore."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


LOSSES = [removed, moved, replaced]


@pytest.mark.parametrize("suffix", ["", ".mark", ".lock"])
@pytest.mark.parametrize("lose", LOSSES)
@in_event_loop
async def test_a_log_that_lost_one_of_its_files_is_not_written_to(
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


@in_event_loop
async def test_two_processes_with_two_locks_are_not_both_let_in(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        await append(log)
        (tmp_path / "events.jsonl.lock").unlink()
        async with open_file_log(path) as other, other.exclusive(1):
            with pytest.raises(LogFenced):
                await append(log)


@in_event_loop
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


@in_event_loop
async def test_an_opening_after_a_loss_of_mark_and_lock_finds_every_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    async with open_file_log(path) as log:
        lines = await append(log, 3)
    for suffix in (".mark", ".lock"):
        (tmp_path / f"events.jsonl{suffix}").unlink()
    async with open_file_log(path) as again:
        lines += await append(again)
        assert await read_all(again) == lines


@pytest.mark.parametrize("lose", LOSSES)
@in_event_loop
async def test_no_key_is_put_into_a_vault_that_lost_its_name(
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
@in_event_loop
async def test_a_log_in_a_database_that_lost_its_mark_is_not_written_to(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue(kind).new_database()
    mark = tmp_path / "database.mark"
    database = await Database.open(url)
    log = await SqlLog.open(database, mark)
    lines = await append(log, 2)
    mark.unlink()
    with pytest.raises(LogFenced, match=r"database.mark was removed"):
        await append(log)
    await log.close()
    again = await SqlLog.open(database, mark)
    assert await read_all(again) == lines
    assert await append(again)
    await again.close()
    await database.close()
