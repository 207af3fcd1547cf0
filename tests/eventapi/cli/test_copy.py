"""``eventapi log copy`` between files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import ITEMS, Content, create_item
from events.transparency.signed_note import Note, TreeHead
from events.vault.sqlite import SqliteVault
from events.verification.verify import verify
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    keys_of,
    log_of,
    message_in,
    refusal_of,
    written,
)


def test_a_copy_is_the_log_byte_for_byte_with_its_checkpoint(data: Path, tmp_path: Path) -> None:
    copied = answer_of(data, "log", "copy", str(tmp_path / "a.jsonl"))
    assert (tmp_path / "a.jsonl").read_bytes() == log_of(data)
    head = TreeHead.parse(Note.parse((tmp_path / "a.jsonl.checkpoint").read_text()))
    assert verify(tmp_path / "a.jsonl", vocabulary=ITEMS, checkpoint=head).ok
    assert (copied["events"], copied["new"], copied["root"]) == (12, 12, head.root.hex())


def test_a_second_copy_writes_only_what_is_new(data: Path, backup: Path) -> None:
    written(data, create_item(1, Content("one more")))
    copied = answer_of(data, "log", "copy", str(backup))
    assert (copied["events"], copied["new"]) == (13, 1)
    assert log_of(backup) == log_of(data)
    assert answer_of(data, "log", "copy", str(backup))["new"] == 0


@pytest.mark.parametrize("left", [0, 1, 700, 2_000])
def test_a_copy_that_was_interrupted_is_finished(data: Path, tmp_path: Path, left: int) -> None:
    (tmp_path / "a.jsonl").write_bytes(log_of(data)[:left])
    answer_of(data, "log", "copy", str(tmp_path / "a.jsonl"))
    assert (tmp_path / "a.jsonl").read_bytes() == log_of(data)


def test_a_copy_of_a_copy_has_the_same_checkpoint(data: Path, backup: Path, tmp_path: Path) -> None:
    written(data, create_item(1, Content("one more")))
    copied = answer_of(data, "log", "copy", str(backup), str(tmp_path / "other") + "/")
    assert copied["events"] == 12
    for name in ("events.jsonl", "events.jsonl.checkpoint"):
        assert (tmp_path / "other" / name).read_bytes() == (backup / name).read_bytes()


@pytest.mark.long
def test_copies_beside_writers_are_prefixes_of_the_log(data: Path, tmp_path: Path) -> None:
    done = threading.Event()

    def write() -> None:
        for number in range(60):
            written(data, create_item(1, Content(f"beside {number}")))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    sizes = []
    while not done.is_set():
        sizes.append(answer_of(data, "log", "copy", str(tmp_path / "a.jsonl"))["events"])
        copy = (tmp_path / "a.jsonl").read_bytes()
        assert log_of(data).startswith(copy)
    writer.join()
    assert sizes == sorted(sizes)
    assert answer_of(data, "log", "copy", str(tmp_path / "a.jsonl"))["events"] == 72


def test_key_copies_lose_the_keys_of_erased_users(data: Path, backup: Path, tmp_path: Path) -> None:
    own, kept = data / "vault.sqlite", tmp_path / "keys"
    key = keys_of(own)["users/2"]
    assert keys_of(kept) == keys_of(own)
    assert key in kept.read_bytes()
    written(data, EraseUser("ben", "users/2"))
    assert answer_of(data, "log", "copy", str(backup), "--vault", str(kept))["keys"] == 1
    assert keys_of(kept) == keys_of(own)
    assert key not in kept.read_bytes()


def put(path: Path, keys: dict[str, bytes]) -> None:
    async def write() -> None:
        vault = SqliteVault(path)
        await vault.put(keys)
        await vault.close()

    asyncio.run(write())


def _lose(vault: Path) -> None:
    vault.unlink()


def _empty(vault: Path) -> None:
    """As an earlier version did when it started without its vault."""
    vault.unlink()
    put(vault, {})


def _lose_one(vault: Path) -> None:
    with closing(sqlite3.connect(vault)) as keys, keys:
        keys.execute("DELETE FROM keys WHERE subject = 'users/2'")


@pytest.mark.parametrize(("harm", "code"), [(_lose, 3), (_empty, 1), (_lose_one, 1)])
def test_keys_lost_by_the_vault_stay_in_the_copy(
    data: Path, backup: Path, tmp_path: Path, harm: Callable[[Path], None], code: int
) -> None:
    """The copy exists for this case."""
    before = keys_of(tmp_path / "keys")
    harm(data / "vault.sqlite")
    assert (
        refusal_of(data, "log", "copy", str(backup), "--vault", str(tmp_path / "keys"))[0] == code
    )
    assert keys_of(tmp_path / "keys") == before


def test_keys_of_another_log_are_not_replaced(data: Path, backup: Path, tmp_path: Path) -> None:
    before = keys_of(tmp_path / "keys")
    written(tmp_path / "other", RegisterUser(profile("eve")))
    options = (str(tmp_path / "a.jsonl"), "--vault", str(tmp_path / "keys"))
    code, error = refusal_of(tmp_path / "other", "log", "copy", *options)
    assert (code, "belong to another log" in error) == (1, True)
    assert keys_of(tmp_path / "keys") == before


def test_a_copy_without_a_vault_cannot_supply_keys(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    before = keys_of(tmp_path / "keys")
    options = (str(backup), str(tmp_path / "a.jsonl"), "--vault", str(tmp_path / "keys"))
    code, error = refusal_of(data, "log", "copy", *options)
    assert (code, message_in(error)) == (3, f"there is no vault at {backup / 'vault.sqlite'}")
    assert keys_of(tmp_path / "keys") == before
    assert not (backup / "vault.sqlite").exists()


def test_the_key_of_a_failed_registration_is_not_copied(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    put(data / "vault.sqlite", {"users/3": b"of no user".ljust(32)})
    assert (
        answer_of(data, "log", "copy", str(backup), "--vault", str(tmp_path / "keys"))["keys"] == 2
    )
    written(data, RegisterUser(profile("cid")))
    assert (
        answer_of(data, "log", "copy", str(backup), "--vault", str(tmp_path / "keys"))["keys"] == 3
    )
    assert keys_of(tmp_path / "keys") == keys_of(data / "vault.sqlite")


def test_a_malformed_checkpoint_beside_a_copy_is_reported(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    (backup / "events.jsonl.checkpoint").write_bytes(b"\xff no checkpoint")
    code, error = refusal_of(data, "log", "copy", str(backup), str(tmp_path / "other.jsonl"))
    assert (code, "cannot be used" in error) == (3, True)
    code, error = refusal_of(tmp_path / "new", "log", "restore", str(backup))
    assert (code, "cannot be used" in error) == (3, True)


def test_a_malformed_signing_key_is_reported(data: Path, backup: Path, tmp_path: Path) -> None:
    (data / "events.jsonl").rename(tmp_path / "lost")
    (data / "events.jsonl.key").write_text("rubbish")
    code, error = refusal_of(data, "log", "restore", str(backup))
    assert (code, "cannot be read" in error) == (3, True)


def test_copy_refuses_the_log_itself_and_another_log(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")))
    before = log_of(other)
    code, error = refusal_of(data, "log", "copy", str(data / "events.jsonl"))
    assert (code, message_in(error)) == (2, f"{data / 'events.jsonl'} is the log itself")
    code, error = refusal_of(data, "log", "copy", str(other))
    expected = "the copy is of another log: its event 1 is another one"
    assert (code, message_in(error)) == (1, expected)
    assert log_of(other) == before
    assert refusal_of(data, "log", "copy", "a", "b", "c")[0] == 2
    assert refusal_of(data, "log", "copy", "postgresql://localhost/x")[0] != 0


@pytest.mark.parametrize("content", [b"dear diary\n", b"\0" * 9, b'{"specversion":"1.0"}\n'])
def test_a_foreign_file_is_not_changed(data: Path, tmp_path: Path, content: bytes) -> None:
    """Commands neither copy to it nor truncate it."""
    file = tmp_path / "diary"
    file.write_bytes(content)
    before = set(tmp_path.iterdir())
    for arguments in (["copy", str(file)], ["copy", str(file), str(tmp_path / "copy.jsonl")]):
        code, error = refusal_of(data, "log", *arguments)
        assert (code, "is not a log" in error) == (3, True)
    for arguments in (["log", "show"], ["state", "digest"], ["rebuild"], ["users", "list"]):
        result = invoke(data, *arguments, "--log", str(file))
        assert (result.exit_code, "is not a log" in result.stderr) == (3, True)
    assert file.read_bytes() == content
    assert set(tmp_path.iterdir()) == before


def test_copy_refuses_a_pipe_as_target(data: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = set(tmp_path.iterdir())
    code, error = refusal_of(data, "log", "copy", str(tmp_path / "pipe"))
    assert (code, "is not a regular file" in error) == (3, True)
    assert set(tmp_path.iterdir()) == before


def test_a_copy_longer_than_the_log_is_not_changed(data: Path, backup: Path) -> None:
    """An older log was restored by hand: nothing is signed, and nothing is copied."""
    older = "eventapi: the copy has 12 events, the log only 5\n"
    unsigned = "that covers 12 events, and the log has 5."
    answer_of(data, "log", "copy", str(backup))
    shorter = log_of(data).splitlines(keepends=True)[:5]
    (data / "events.jsonl.mark").unlink()
    (data / "events.jsonl").write_bytes(b"".join(shorter))
    before = log_of(backup)
    code, error = refusal_of(data, "log", "copy", str(backup))
    assert (code, unsigned in error, older in error) == (1, True, True)
    assert log_of(backup) == before


def test_copy_reports_damage_in_an_earlier_copy(data: Path, backup: Path) -> None:
    content = bytearray(log_of(backup))
    content[300] ^= 1
    (backup / "events.jsonl").write_bytes(content)
    code, error = refusal_of(data, "log", "copy", str(backup), "--check")
    assert (code, error.startswith("eventapi: the copy is not whole: damaged at position 1")) == (
        1,
        True,
    )
