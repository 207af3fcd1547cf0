"""No two checkpoints contradict each other, whatever happens to log and files."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from events.errors import ConfigurationError, Invalid, NotFound, SigningSuspended
from events.transparency.checkpoints import Checkpoints
from events.transparency.merkle import root_of
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing import file as signing_file
from events.transparency.signing import register
from events.transparency.signing.file import FileSigning
from events.transparency.signing.memory import MemorySigning
from events.transparency.tree import Tree
from tests.events.transparency.proof_checks import is_consistent
from tests.events.transparency.test_tree import LONGEST, LongLog

WITNESS = Signer.from_seed(bytes(range(32)), "witness/")


def checkpoints(folder: Path, size: int, log: LongLog | None = None) -> Checkpoints:
    return Checkpoints(Tree(log or LongLog(size)), FileSigning(folder / "events.jsonl"))


def sign(folder: Path, size: int) -> Note:
    return asyncio.run(checkpoints(folder, size).current())


def assert_suspended(folder: Path, size: int, reason: str) -> None:
    with pytest.raises(SigningSuspended, match=reason):
        sign(folder, size)


def log_with_change(size: int, at: int) -> LongLog:
    """A log with a different line at index ``at``."""
    log = LongLog(size)
    log.replace(at, b"another")
    return log


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def file(folder: Path, suffix: str) -> Path:
    return folder / f"events.jsonl.{suffix}"


def test_the_key_is_made_once_with_a_register_and_is_private(folder: Path) -> None:
    note = sign(folder, 3)
    assert asyncio.run(checkpoints(folder, 0).verifier()).verify(note)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "events.jsonl.key": 0o600,
        "events.jsonl.signed": 0o600,
        "events.jsonl.checkpoint": file(folder, "checkpoint").stat().st_mode & 0o777,
    }


def test_only_a_log_that_has_grown_is_signed_again(folder: Path) -> None:
    first = sign(folder, 3)
    assert sign(folder, 3) == first
    second = TreeHead.parse(sign(folder, 700))
    assert second.root == root_of(LONGEST[:700])
    proof = asyncio.run(checkpoints(folder, 700).consistency(3)).hashes
    assert is_consistent(3, 700, TreeHead.parse(first).root, second.root, proof)


def test_a_log_that_was_restored_to_an_older_state_is_not_signed(folder: Path) -> None:
    before = sign(folder, 500)
    assert_suspended(folder, 400, "that covers 500 events, and the log has 400")
    assert sign(folder, 500) == before


def test_a_log_that_was_rewritten_is_not_signed(folder: Path) -> None:
    sign(folder, 500)
    with pytest.raises(SigningSuspended, match="its first 500 events are not"):
        asyncio.run(checkpoints(folder, 600, log_with_change(600, 499)).current())


# Each file lost, replaced or restored


@pytest.mark.parametrize("content", [None, "nonsense", str(WITNESS.sign("a note\n"))])
def test_a_lost_or_damaged_checkpoint_is_made_again(folder: Path, content: str | None) -> None:
    before = sign(folder, 5)
    file(folder, "checkpoint").unlink()
    if content is not None:
        file(folder, "checkpoint").write_text(content)
    assert_suspended(folder, 4, "that covers 5 events")
    assert sign(folder, 5) == before


def test_an_older_checkpoint_that_is_put_back_is_ignored(folder: Path) -> None:
    sign(folder, 3)
    shutil.copy(file(folder, "checkpoint"), folder / "old")
    sign(folder, 9)
    shutil.copy(folder / "old", file(folder, "checkpoint"))
    assert_suspended(folder, 5, "that covers 9 events")


def test_a_newer_checkpoint_that_the_log_does_not_continue_suspends_signing(folder: Path) -> None:
    """Another machine signed it with the same key."""
    sign(folder, 3)
    signer = Signer.parse(file(folder, "key").read_text())
    newer = signer.sign(str(TreeHead(signer.verifier.name, 9, bytes(32))))
    file(folder, "checkpoint").write_text(str(newer))
    assert_suspended(folder, 5, "was copied or restored to this place")


def test_a_newer_checkpoint_of_another_machine_suspends_signing_until_confirmed(
    folder: Path,
) -> None:
    sign(folder, 3)
    signer = Signer.parse(file(folder, "key").read_text())
    root = root_of(LONGEST[:5])
    newer = signer.sign(str(TreeHead(signer.verifier.name, 5, root)))
    file(folder, "checkpoint").write_text(str(newer))
    assert_suspended(folder, 9, "was copied or restored to this place")
    asyncio.run(checkpoints(folder, 9).confirm(newer))
    assert TreeHead.parse(sign(folder, 9)).size == 9


def test_a_lost_key_is_not_replaced_silently(folder: Path) -> None:
    before = sign(folder, 5)
    key = file(folder, "key").read_bytes()
    file(folder, "key").unlink()
    assert_suspended(folder, 5, "key eventapi/[0-9a-f]{16} is missing")
    assert file(folder, "checkpoint").read_text() == str(before)
    file(folder, "key").write_bytes(key)
    assert sign(folder, 5) == before


def test_a_lost_register_suspends_signing(folder: Path) -> None:
    before = sign(folder, 5)
    file(folder, "signed").unlink()
    assert_suspended(folder, 9, "was copied or restored to this place")
    asyncio.run(checkpoints(folder, 9).confirm(before))
    assert TreeHead.parse(sign(folder, 9)).size == 9


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b"\0" * 1536])
def test_a_damaged_register_suspends_signing(folder: Path, damage: bytes) -> None:
    sign(folder, 5)
    file(folder, "signed").write_bytes(damage)
    assert_suspended(folder, 9, "was copied or restored to this place")


def _copy_whole(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def _copy_register(folder: Path) -> None:
    shutil.copy(file(folder, "signed"), folder / "kept")
    file(folder, "signed").unlink()
    (folder / "kept").rename(file(folder, "signed"))


def _overwrite_with_older_files(folder: Path) -> None:
    """Overwrite the files with an older copy; they keep their inodes."""
    shutil.copytree(folder, folder.with_name("copy"))
    sign(folder, 7)
    shutil.copytree(folder.with_name("copy"), folder, dirs_exist_ok=True)


def _copy_key_alone(folder: Path) -> None:
    key = file(folder, "key").read_bytes()
    shutil.rmtree(folder)
    folder.mkdir()
    file(folder, "key").write_bytes(key)


@pytest.mark.parametrize(
    "copied", [_copy_whole, _copy_register, _copy_key_alone, _overwrite_with_older_files]
)
def test_copied_files_sign_nothing_until_the_newest_checkpoint_is_confirmed(
    folder: Path, copied: Callable[[Path], None]
) -> None:
    newest = sign(folder, 5)
    copied(folder)
    assert_suspended(folder, 9, "was copied or restored to this place")
    assert asyncio.run(checkpoints(folder, 9).confirm(newest)) == TreeHead.parse(newest)
    assert TreeHead.parse(sign(folder, 9)).size == 9


def test_a_directory_that_is_moved_or_changes_its_mode_continues_to_sign(folder: Path) -> None:
    sign(folder, 5)
    moved = folder.with_name("moved")
    folder.rename(moved)
    file(moved, "signed").chmod(0o640)
    assert TreeHead.parse(sign(moved, 9)).size == 9


def test_control_a_register_without_its_place_signs_in_a_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register, "file_identity", lambda _: "anywhere")
    sign(folder, 5)
    _copy_whole(folder)
    assert TreeHead.parse(sign(folder, 9)).size == 9


# Decisions of an operator


def test_only_a_checkpoint_that_the_log_continues_confirms_a_key(folder: Path) -> None:
    newest = sign(folder, 5)
    file(folder, "signed").unlink()
    with pytest.raises(SigningSuspended, match="that covers 5 events, and the log has 4"):
        asyncio.run(checkpoints(folder, 4).confirm(newest))
    with pytest.raises(SigningSuspended, match="its first 5 events are not"):
        asyncio.run(checkpoints(folder, 9, log_with_change(9, 2)).confirm(newest))
    assert_suspended(folder, 9, "was copied or restored to this place")


def test_only_a_checkpoint_signed_by_the_log_key_confirms_it(folder: Path) -> None:
    newest = sign(folder, 5)
    file(folder, "signed").unlink()
    forged = WITNESS.sign(newest.text)
    with pytest.raises(Invalid, match="not signed by the log's key"):
        asyncio.run(checkpoints(folder, 9).confirm(forged))
    assert_suspended(folder, 9, "was copied or restored to this place")


def test_confirming_an_older_checkpoint_does_not_hide_a_newer_known_one(folder: Path) -> None:
    older, newest = sign(folder, 3), sign(folder, 7)
    file(folder, "signed").unlink()
    assert asyncio.run(checkpoints(folder, 9).confirm(older)) == TreeHead.parse(newest)
    with pytest.raises(SigningSuspended):
        asyncio.run(checkpoints(folder, 9, log_with_change(9, 5)).current())


def test_a_new_key_renames_the_files_of_the_old_one(folder: Path) -> None:
    old = sign(folder, 5)
    old_files = {path.name: path.read_bytes() for path in folder.iterdir()}
    signer = Signer.from_seed(bytes(32), "eventapi/")
    new = asyncio.run(checkpoints(folder, 4, log_with_change(4, 1)).begin(signer))
    assert TreeHead.parse(new).origin == signer.verifier.name != TreeHead.parse(old).origin
    suffix = TreeHead.parse(old).origin.rpartition("/")[2]
    for name, content in old_files.items():
        assert (folder / f"{name}.{suffix}").read_bytes() == content


class Died(BaseException):
    """The process dies at this step."""


@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("lost", ["nothing", "checkpoint"])
def test_a_crash_while_beginning_a_new_key_leaves_no_store_that_looks_new(
    folder: Path, lost: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that looks new would make a key of its own, which no event names."""
    sign(folder, 5)
    file(folder, lost).unlink(missing_ok=True)
    done = 0

    def dying(work: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: object) -> None:
            nonlocal done
            work(*arguments)
            done += 1
            if done == step:
                raise Died

        return run

    signer = Signer.from_seed(bytes(32), "eventapi/")
    with monkeypatch.context() as patch, suppress(Died):
        for name in ("sync_directory", "create_register", "write_durably"):
            patch.setattr(signing_file, name, dying(getattr(signing_file, name)))
        asyncio.run(FileSigning(folder / "events.jsonl").begin(signer))
    assert asyncio.run(FileSigning(folder / "events.jsonl").read()).status != "new"


def test_a_crash_while_making_the_first_key_does_no_harm(folder: Path) -> None:
    folder.mkdir()
    register.create_register(file(folder, "signed"), WITNESS.verifier.vkey, None)
    assert TreeHead.parse(sign(folder, 5)).size == 5


@pytest.mark.parametrize("content", ["", "nonsense", "PRIVATE+KEY+a+00000000+AAAA", "é"])
def test_an_invalid_key_is_reported_with_its_path(folder: Path, content: str) -> None:
    folder.mkdir()
    file(folder, "key").write_text(content)
    with pytest.raises(ConfigurationError, match=r"events\.jsonl\.key"):
        sign(folder, 5)


# Concurrent signers


def test_concurrent_signers_agree(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        notes = list(threads.map(lambda _: sign(folder, 1_000), range(16)))
    assert len(set(map(str, notes))) == 1


def test_a_process_that_is_behind_does_not_replace_a_newer_checkpoint(folder: Path) -> None:
    """Another process signs a longer log between the read and the lock."""
    log = LongLog(10)

    class Slow(FileSigning):
        @asynccontextmanager
        async def exclusive(self) -> AsyncIterator[FileSigning]:
            with ThreadPoolExecutor() as threads:
                threads.submit(sign, folder, 20).result()
            log.extend(20)
            async with super().exclusive() as recorder:
                yield recorder

    slow = Checkpoints(Tree(log), Slow(folder / "events.jsonl"))
    assert asyncio.run(slow.current()) == sign(folder, 20)


# Witnesses


def cosign(note: Note) -> str:
    return str(Note(note.text, [*note.signatures, *WITNESS.sign(note.text).signatures]))


def test_signatures_of_witnesses_are_stored_while_the_log_grows(folder: Path) -> None:
    note = sign(folder, 5)
    sign(folder, 6)
    answer = asyncio.run(checkpoints(folder, 7).cosign(cosign(note)))
    assert str(answer) == cosign(note)
    sign(folder, 8)
    assert asyncio.run(checkpoints(folder, 8).newest_cosigned()) == answer


def test_the_current_checkpoint_carries_its_cosignatures(folder: Path) -> None:
    note = sign(folder, 5)
    cosigned = asyncio.run(checkpoints(folder, 5).cosign(cosign(note)))
    assert sign(folder, 5) == cosigned
    assert asyncio.run(checkpoints(folder, 5).inclusion(3)).checkpoint == cosigned
    assert len(sign(folder, 6).signatures) == 1


def test_an_older_cosigned_checkpoint_does_not_replace_a_newer_one(folder: Path) -> None:
    older, newer = sign(folder, 5), sign(folder, 6)
    kept = asyncio.run(checkpoints(folder, 6).cosign(cosign(newer)))
    assert asyncio.run(checkpoints(folder, 6).cosign(cosign(older))) == kept


def test_only_a_checkpoint_of_this_log_can_be_cosigned(folder: Path) -> None:
    note = sign(folder, 5)
    forged = Note(note.text, WITNESS.sign(note.text).signatures)
    signer = Signer.parse(file(folder, "key").read_text())
    other = signer.sign(str(TreeHead(signer.verifier.name, 4, bytes(32))))
    future = signer.sign(str(TreeHead(signer.verifier.name, 9, bytes(32))))
    for content in (str(forged), str(other), str(future), "nonsense"):
        with pytest.raises(Invalid):
            asyncio.run(checkpoints(folder, 6).cosign(content))
    with pytest.raises(NotFound):
        asyncio.run(checkpoints(folder, 6).newest_cosigned())


def test_the_memory_adapter_signs_once_per_size() -> None:
    signer = Checkpoints(Tree(LongLog(5)), MemorySigning())
    assert asyncio.run(signer.current()) == asyncio.run(signer.current())


def test_a_statement_is_signed_with_the_key_of_the_checkpoints(folder: Path) -> None:
    async def attested() -> None:
        signing = checkpoints(folder, 3)
        with pytest.raises(SigningSuspended):
            await signing.attest("{}")  # There is no key yet.
        await signing.current()
        signature = await signing.attest("{}")
        assert (await signing.verifier()).verify(Note("{}", [signature]))

    asyncio.run(attested())


def test_no_statement_is_signed_while_no_checkpoint_is(folder: Path) -> None:
    sign(folder, 500)

    with pytest.raises(SigningSuspended, match="that covers 500 events"):
        asyncio.run(checkpoints(folder, 400).attest("{}"))


def test_a_statement_cannot_be_a_checkpoint(folder: Path) -> None:
    text = sign(folder, 3).text

    with pytest.raises(AssertionError):
        asyncio.run(checkpoints(folder, 3).attest(text))
