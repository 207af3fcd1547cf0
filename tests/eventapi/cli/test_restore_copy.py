"""``eventapi log restore``: only a proven copy is put in the place of the log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eventapi.cli import install_copy as install_module
from eventapi.cli.verify import verify_file
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.transparency.signed_note import Note, Signer, TreeHead
from events.verification.report import Report
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    keys_of,
    log_of,
    refusal_of,
    written,
)


def digest_of(data: Path) -> str:
    return invoke(data, "state", "digest").stdout


def restore_backup(tmp_path: Path, backup: Path, *arguments: str) -> Path:
    answer_of(
        tmp_path / "new",
        "log",
        "restore",
        str(backup),
        "--vault",
        str(tmp_path / "keys"),
        *arguments,
    )
    return tmp_path / "new"


def test_a_restored_log_equals_the_copied_one_and_accepts_events(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    vkey = invoke(data, "log", "checkpoint", "--key").stdout.strip()
    new = restore_backup(tmp_path, backup, "--key", vkey)
    assert log_of(new) == log_of(data)
    assert digest_of(new) == digest_of(data)
    assert invoke(new, "rebuild", "--json").exit_code == 0
    assert keys_of(new / "vault.sqlite") == keys_of(data / "vault.sqlite")
    written(new, create_item(2, Content("one more")))
    assert invoke(new, "log", "verify", "--seals").exit_code == 0


def test_a_restore_in_the_old_directory_checks_its_own_key(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    (data / "events.jsonl").rename(tmp_path / "lost")
    answer = answer_of(data, "log", "restore", str(backup))
    assert str(answer["signed_by"]).startswith("eventapi/")
    assert answer["proven"] == 12
    assert invoke(data, "log", "checkpoint").exit_code == 0


def test_a_restore_without_a_key_warns_that_the_signature_was_not_checked(
    backup: Path, tmp_path: Path
) -> None:
    keys = ("--vault", str(tmp_path / "keys"))
    result = invoke(tmp_path / "new", "log", "restore", str(backup), *keys)
    assert "was not checked" in result.stderr


def _flip(backup: Path) -> None:
    content = bytearray(log_of(backup))
    content[log_of(backup).index(b"\n") + 100] ^= 1  # In the second line.
    (backup / "events.jsonl").write_bytes(content)


def _shorten(backup: Path) -> None:
    lines = log_of(backup).splitlines(keepends=True)
    (backup / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    (backup / "events.jsonl.mark").unlink()


def _tear(backup: Path) -> None:
    (backup / "events.jsonl").write_bytes(log_of(backup)[:-9])
    (backup / "events.jsonl.mark").unlink()


def _rewrite(backup: Path) -> None:
    """Replace the copy with another valid log."""
    shutil.rmtree(backup.parent / "forged", ignore_errors=True)
    ben, ann = RegisterUser(profile("ben")), RegisterUser(profile("ann"))
    written(backup.parent / "forged", ben, ann, *[create_item(1, Content("x"))] * 10)
    shutil.copy(backup.parent / "forged" / "events.jsonl", backup / "events.jsonl")
    (backup / "events.jsonl.mark").unlink()


def _unsign(backup: Path) -> None:
    head = TreeHead.parse(Note.parse((backup / "events.jsonl.checkpoint").read_text()))
    other = Signer.from_seed(bytes(32), "eventapi/")
    forged = other.sign(str(TreeHead(other.verifier.name, head.size, head.root)))
    (backup / "events.jsonl.checkpoint").write_text(str(forged))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip, "is DAMAGED: good up to event 1"),
        (_shorten, "contradicts the checkpoint of 12 events"),
        (_tear, "is an INCOMPLETE copy: good up to event 11"),
        (_rewrite, "nothing was restored: "),
        (_unsign, "is not signed by"),
        (lambda backup: (backup / "events.jsonl.checkpoint").unlink(), "there is no checkpoint"),
        (lambda backup: (backup.parent / "keys").unlink(), "does not exist"),
    ],
    ids=["flipped", "shortened", "torn", "rewritten", "unsigned", "no checkpoint", "no keys"],
)
def test_a_copy_that_is_not_proven_is_not_restored(
    data: Path, backup: Path, tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    vkey = invoke(data, "log", "checkpoint", "--key").stdout.strip()
    harm(backup)
    keys = ("--vault", str(tmp_path / "keys"))
    code, why = refusal_of(tmp_path / "new", "log", "restore", str(backup), "--key", vkey, *keys)
    assert code != 0
    assert message in why
    assert not list((tmp_path / "new").glob("*"))


def test_a_copy_with_missing_keys_is_not_restored(backup: Path, tmp_path: Path) -> None:
    code, error = refusal_of(tmp_path / "new", "log", "restore", str(backup))
    assert (code, "2 users have no key (users/1, users/2)" in error) == (1, True)
    assert not (tmp_path / "new" / "events.jsonl").exists()


def test_restore_refuses_a_pipe_and_a_directory_without_a_log(backup: Path, tmp_path: Path) -> None:
    """Reading a pipe without a writer would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    signed = str(backup / "events.jsonl.checkpoint")
    for place in ("pipe", "empty"):
        options = (str(tmp_path / place), "--checkpoint", signed)
        code, error = refusal_of(tmp_path / "new", "log", "restore", *options)
        assert (code, error.startswith("eventapi: there is no log at ")) == (3, True)
    assert not (tmp_path / "new").exists()


def test_restore_never_replaces_a_log(data: Path, backup: Path, tmp_path: Path) -> None:
    before = log_of(data)
    code, error = refusal_of(data, "log", "restore", str(backup))
    assert (code, "move the log away" in error) == (3, True)
    assert log_of(data) == before


def test_restore_leaves_a_link_to_a_file_system_that_is_not_mounted(
    backup: Path, tmp_path: Path
) -> None:
    """The log may be where the link points, so nothing may be written beside it either."""
    data = tmp_path / "linked"
    data.mkdir()
    (data / "events.jsonl").symlink_to(tmp_path / "not mounted" / "events.jsonl")
    code, error = refusal_of(data, "log", "restore", str(backup), "--vault", str(tmp_path / "keys"))
    assert (code, "there is already a log at" in error) == (3, True), error
    assert [path.name for path in data.iterdir()] == ["events.jsonl"]


def test_restore_refuses_a_copy_without_all_acknowledged_events(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    written(data, create_item(1, Content("acknowledged")))
    (data / "events.jsonl").rename(tmp_path / "lost")
    code, error = refusal_of(data, "log", "restore", str(backup))
    assert (code, "13 events were acknowledged here" in error) == (1, True)
    assert not (data / "events.jsonl").exists()
    (data / "events.jsonl.mark").unlink()
    assert answer_of(data, "log", "restore", str(backup))["events"] == 12


def test_an_older_key_copy_does_not_restore_keys_of_erased_users(
    data: Path, backup: Path, tmp_path: Path
) -> None:
    key = keys_of(tmp_path / "keys")["users/2"]
    written(data, EraseUser("ben", "users/2"))
    answer_of(data, "log", "copy", str(backup))  # Without --vault: the key copy stays as it was.
    new = restore_backup(tmp_path, backup)
    assert "users/2" not in keys_of(new / "vault.sqlite")
    assert key not in (new / "vault.sqlite").read_bytes()


def test_control_a_restore_without_checks_installs_a_damaged_copy(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe(*arguments: object) -> Report:
        report = verify_file(*arguments)  # type: ignore[arg-type]
        return Report(report.lines, report.bytes, report.head, marked=False, findings=[])

    _flip(backup)
    monkeypatch.setattr(install_module, "verify_file", believe)
    with pytest.raises(AssertionError):
        restore_backup(tmp_path, backup)  # Fails only when the installed log is folded.
    assert log_of(tmp_path / "new") == log_of(backup)
