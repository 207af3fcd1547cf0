"""``eventapi log restore``: which checkpoints count afterwards, and adding keys."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from eventapi.cli import vaults
from eventapi.commands.resources import Create
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.transparency.signed_note import Note, Signer, TreeHead, Verifier
from events.vault.tombstones import VaultContents, merge
from events.vocabulary.signing_keys import LogResumed
from tests.eventapi.cli.running import answer_of, invoke, output_of, refusal_of, written


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), *items(4))
    return folder


def items(count: int, title: str = "a title") -> list[Create]:
    return [create_item(1, Content(f"{title} {number}")) for number in range(count)]


def checkpoint(data: Path) -> Note:
    return Note.parse(output_of(data, "log", "checkpoint"))


def restore(data: Path, *arguments: str) -> dict[str, object]:
    return answer_of(data, "log", "restore", *arguments)


@pytest.fixture
def monday(data: Path, tmp_path: Path) -> Path:
    """A copy of Monday's log and keys, made as in the guide."""
    output_of(data, "log", "copy", f"{tmp_path / 'monday'}/", "--vault", str(tmp_path / "keys"))
    return tmp_path / "monday"


@pytest.fixture
def tuesday(data: Path, monday: Path, tmp_path: Path) -> Path:
    """The newest published checkpoint, which covers more events than the copy."""
    written(data, *items(3, "on Tuesday"))
    newest = tmp_path / "newest"
    newest.write_text(str(checkpoint(data)))
    return newest


@pytest.fixture
def empty(data: Path, monday: Path, tuesday: Path, tmp_path: Path) -> Path:
    """A new machine with the signing key and Monday's log restored."""
    machine = tmp_path / "machine"
    machine.mkdir()
    shutil.copy2(data / "events.jsonl.key", machine)
    answer = restore(machine, str(monday), "--vault", str(tmp_path / "keys"))
    assert str(answer["signing"]).startswith("suspended: ")
    return machine


def test_an_older_copy_on_an_empty_machine_signs_nothing_with_the_old_key(empty: Path) -> None:
    written(empty, *items(5, "another Tuesday"))
    code, error = refusal_of(empty, "log", "checkpoint")
    assert code == 1
    assert (
        "Nothing is signed until an operator decides (docs/operating.md, Restore). Writes continue."
        in error
    )
    assert "eventapi log restore --checkpoint" in error


def test_an_older_copy_does_not_continue_the_newest_checkpoint(empty: Path, tuesday: Path) -> None:
    code, error = refusal_of(empty, "log", "restore", "--checkpoint", str(tuesday))
    assert (code, "that covers 8 events, and the log has 5" in error) == (1, True)
    written(empty, *items(5, "another Tuesday"))
    code, error = refusal_of(empty, "log", "restore", "--checkpoint", str(tuesday))
    assert (code, "its first 8 events are not the ones that were signed" in error) == (1, True)
    assert refusal_of(empty, "log", "checkpoint")[0] == 1


def test_a_new_key_is_an_event_that_names_the_last_head_of_the_old_key(
    empty: Path, tuesday: Path
) -> None:
    old = TreeHead.parse(Note.parse(tuesday.read_text()))
    answer = restore(empty, "--new-key", "--checkpoint", str(tuesday))
    note = checkpoint(empty)
    vkey = str(answer["signing"]).removeprefix("new key ")
    assert Verifier.parse(vkey).verify(note)
    assert TreeHead.parse(note).origin != old.origin
    line = json.loads(output_of(empty, "log", "tail", "-n", "1"))
    assert (line["type"], line["subject"]) == (LogResumed.type, "log/checkpoints")
    assert (line["data"]["key"], line["data"]["previous"]) == (vkey, old.origin)
    assert line["data"]["size"] == 8
    assert invoke(empty, "log", "verify").exit_code == 0


def test_a_copy_that_continues_the_newest_checkpoint_signs_again(
    data: Path, tmp_path: Path
) -> None:
    output_of(data, "log", "copy", f"{tmp_path / 'copy'}/", "--vault", str(tmp_path / "keys"))
    newest = tmp_path / "newest"
    newest.write_text(str(checkpoint(data)))
    machine = tmp_path / "machine"
    machine.mkdir()
    shutil.copy2(data / "events.jsonl.key", machine)
    options = ("--vault", str(tmp_path / "keys"), "--checkpoint", str(newest))
    answer = restore(machine, str(tmp_path / "copy"), *options)
    assert answer["signing"] == "goes on behind the checkpoint of 5 events"
    written(machine, *items(2))
    assert TreeHead.parse(checkpoint(machine)).size == 7


def test_a_machine_that_another_one_replaced_does_not_sign_again(
    data: Path, tmp_path: Path
) -> None:
    """Its own register is intact, but the other machine signed with the same key."""
    newest, keys = tmp_path / "newest", ("--vault", str(tmp_path / "keys"))
    output_of(data, "log", "copy", f"{tmp_path / 'first'}/", *keys)
    newest.write_text(str(checkpoint(data)))
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy2(data / "events.jsonl.key", other)
    restore(other, str(tmp_path / "first"), *keys, "--checkpoint", str(newest))
    written(other, *items(2))
    output_of(other, "log", "copy", f"{tmp_path / 'second'}/", *keys)
    written(other, *items(2))
    newest.write_text(str(checkpoint(other)))
    for name in ("events.jsonl", "events.jsonl.mark"):
        (data / name).unlink()
    answer = restore(data, str(tmp_path / "second"), *keys)
    assert str(answer["signing"]).startswith("suspended: ")
    written(data, *items(5))
    assert refusal_of(data, "log", "restore", "--checkpoint", str(newest))[0] == 1
    assert refusal_of(data, "log", "checkpoint")[0] == 1


def test_without_its_key_a_log_signs_nothing_until_key_and_checkpoint_are_back(
    data: Path, monday: Path, tmp_path: Path
) -> None:
    machine = tmp_path / "machine"
    options = ("--vault", str(tmp_path / "keys"))
    assert "is missing" in str(restore(machine, str(monday), *options)["signing"])
    assert "is missing" in refusal_of(machine, "log", "checkpoint")[1]
    shutil.copy2(data / "events.jsonl.key", machine)
    newest = str(monday / "events.jsonl.checkpoint")
    assert "was copied or restored" in refusal_of(machine, "log", "checkpoint")[1]
    restore(machine, "--checkpoint", newest)
    assert TreeHead.parse(checkpoint(machine)).size == 5


def test_a_checkpoint_of_another_key_is_refused(empty: Path, tmp_path: Path) -> None:
    stranger = Signer.from_seed(bytes(range(32)), "eventapi/")
    forged = tmp_path / "forged"
    forged.write_text(str(stranger.sign(str(TreeHead(stranger.verifier.name, 0, bytes(32))))))
    code, error = refusal_of(empty, "log", "restore", "--checkpoint", str(forged))
    assert (code, "is not signed by" in error) == (1, True)


def test_a_new_key_never_names_a_checkpoint_of_another_key(empty: Path, tmp_path: Path) -> None:
    """Without the key, only its name can be compared."""
    (empty / "events.jsonl.key").unlink()
    stranger = Signer.from_seed(bytes(range(32)), "eventapi/")
    forged = tmp_path / "forged"
    forged.write_text(str(stranger.sign(str(TreeHead(stranger.verifier.name, 99, bytes(32))))))
    before = (empty / "events.jsonl").read_bytes()
    code, error = refusal_of(empty, "log", "restore", "--new-key", "--checkpoint", str(forged))
    assert (code, "is not signed by the log's key" in error) == (1, True)
    assert (empty / "events.jsonl").read_bytes() == before


def test_a_refused_restore_creates_no_directory(monday: Path, tmp_path: Path) -> None:
    code, error = refusal_of(tmp_path / "wrong", "log", "restore", str(monday))
    assert (code, "no key (users/1" in error) == (1, True)
    assert not (tmp_path / "wrong").exists()


def test_a_log_that_was_never_signed_needs_no_new_key(tmp_path: Path) -> None:
    written(tmp_path / "data", RegisterUser(profile("ann")))
    code, error = refusal_of(tmp_path / "data", "log", "restore", "--new-key")
    assert (code, "no checkpoint of this log has been signed yet" in error) == (1, True)


def test_restore_without_arguments_is_misuse(data: Path) -> None:
    assert refusal_of(data, "log", "restore")[0] == 2


def test_copy_keeps_the_checkpoint_of_another_key(data: Path, monday: Path) -> None:
    before = (monday / "events.jsonl.checkpoint").read_text()
    origin = TreeHead.parse(Note.parse(before)).origin
    restore(data, "--new-key")
    output_of(data, "log", "copy", f"{monday}/")
    kept = monday / f"events.jsonl.checkpoint.{origin.rpartition('/')[2]}"
    assert kept.read_text() == before
    assert TreeHead.parse(checkpoint(data)).origin != origin


def test_copy_works_while_signing_is_suspended(empty: Path, tmp_path: Path) -> None:
    result = invoke(empty, "log", "copy", f"{tmp_path / 'later'}/")
    assert result.exit_code == 0
    assert "the copy has no new checkpoint" in result.stderr
    assert (tmp_path / "later" / "events.jsonl").read_bytes() == (
        empty / "events.jsonl"
    ).read_bytes()


def test_verify_compares_the_log_with_the_checkpoint_beside_it(
    data: Path, tuesday: Path, tmp_path: Path
) -> None:
    assert invoke(data, "log", "verify").exit_code == 0
    other = tmp_path / "other"
    written(other, RegisterUser(profile("ann")), *items(7))
    shutil.copy(other / "events.jsonl", data / "events.jsonl")
    (data / "events.jsonl.mark").unlink()
    result = invoke(data, "log", "verify")
    assert result.exit_code == 1
    assert "the first 8 events are not those of the checkpoint" in result.stdout


def test_control_verify_without_a_checkpoint_accepts_a_rewritten_log(
    data: Path, tuesday: Path, tmp_path: Path
) -> None:
    written(tmp_path / "other", RegisterUser(profile("ann")), *items(7))
    shutil.copy(tmp_path / "other" / "events.jsonl", data / "events.jsonl")
    (data / "events.jsonl.mark").unlink()
    (data / "events.jsonl.checkpoint").unlink()
    assert invoke(data, "log", "verify").exit_code == 0


# Adding keys from a copy


def test_keys_of_another_log_do_not_replace_keys(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    written(other, RegisterUser(profile("ann")))
    before = (data / "vault.sqlite").read_bytes()
    code, error = refusal_of(data, "log", "restore", "--vault", str(other / "vault.sqlite"))
    assert (code, "another key for users/1" in error) == (1, True)
    assert (data / "vault.sqlite").read_bytes() == before
    assert invoke(data, "log", "verify", "--seals").exit_code == 0


def test_a_lost_vault_is_restored_from_its_copy(data: Path, monday: Path, tmp_path: Path) -> None:
    (data / "vault.sqlite").unlink()
    restore(data, "--vault", str(tmp_path / "keys"))
    assert invoke(data, "log", "verify", "--seals").exit_code == 0


def test_the_vault_of_another_log_is_replaced_as_the_refusal_says(
    data: Path, monday: Path, tmp_path: Path
) -> None:
    """The log is whole, so its advice must not be to move the log away."""
    other = tmp_path / "other"
    written(other, RegisterUser(profile("ann")))
    shutil.copy(other / "vault.sqlite", data / "vault.sqlite")
    for command in (["users", "list"], ["users", "disable", "ann"]):
        code, error = refusal_of(data, *command)
        assert (code, "the key of users/1 in the vault is that of another log" in error) == (
            3,
            True,
        )
        assert "move the vault away and type `eventapi log restore --vault KEYS`" in error
    assert invoke(data, "log", "verify").exit_code == 0
    (data / "vault.sqlite").rename(tmp_path / "moved")
    restore(data, "--vault", str(tmp_path / "keys"))
    assert invoke(data, "users", "disable", "ann").exit_code == 0


def test_the_command_in_the_refusal_restores_keys_that_an_older_vault_lacks(
    data: Path, monday: Path, tmp_path: Path
) -> None:
    shutil.copy(tmp_path / "keys", tmp_path / "older")
    written(data, RegisterUser(profile("ben")))
    output_of(data, "log", "copy", f"{monday}/", "--vault", str(tmp_path / "keys"))
    shutil.copy(tmp_path / "older", data / "vault.sqlite")
    result = invoke(data, "users", "disable", "ben")
    assert (result.exit_code, "`eventapi log restore --vault KEYS`" in result.stderr) == (3, True)
    restore(data, "--vault", str(tmp_path / "keys"))
    assert invoke(data, "users", "disable", "ben").exit_code == 0


def test_keys_without_a_log_create_no_vault(monday: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    code, error = refusal_of(wrong, "log", "restore", "--vault", str(tmp_path / "keys"))
    assert (code, "there is no log at" in error) == (3, True)
    assert list(wrong.iterdir()) == []


def test_keys_are_restored_under_the_lock_of_the_log(
    data: Path, monday: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the command could restore a key while a server destroys it."""
    merges = []

    def merging(own: VaultContents, copy: VaultContents) -> VaultContents:
        with (data / "events.jsonl.lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        merges.append(copy)
        return merge(own, copy)

    monkeypatch.setattr(vaults, "merge", merging)
    restore(data, "--vault", str(tmp_path / "keys"))
    assert len(merges) == 1
