"""No two checkpoints contradict each other, whoever signs, and whatever becomes of the log."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventapi.checkpoints import Checkpoints
from events.errors import ConfigurationError, DivergedLog, Invalid
from events.merkle import is_consistent, leaf_hash, root_of
from events.notes import Note, Signer, TreeHead
from projections.tree import Tree
from tests.projections.test_tree import LongLog

WITNESS = Signer.from_seed(bytes(range(32)), "witness/")


def checkpoints(key: Path | None, size: int, log: LongLog | None = None) -> Checkpoints:
    return Checkpoints(Tree(log or LongLog(size)), key)


def signed(key: Path, size: int) -> Note:
    return asyncio.run(checkpoints(key, size).current())


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.jsonl.key"


def test_the_key_is_made_once_and_kept_to_oneself(key: Path) -> None:
    note = signed(key, 3)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert checkpoints(key, 0).verifier.has_signed(note)
    assert {path.name for path in key.parent.iterdir()} == {
        "events.jsonl.key",
        "events.jsonl.checkpoint",
    }


def test_a_log_that_grows_is_signed_again_and_one_that_stands_still_is_not(key: Path) -> None:
    first = signed(key, 3)
    assert signed(key, 3) == first
    second = TreeHead.of(signed(key, 700))
    assert second.root == root_of([leaf_hash(b"%d" % number) for number in range(700)])
    proof = asyncio.run(checkpoints(key, 700).consistency(3)).hashes
    assert is_consistent(3, 700, TreeHead.of(first).root, second.root, proof)


def test_a_log_that_was_put_back_is_not_signed_any_more(key: Path) -> None:
    """As after a restore from a backup that is older than what was signed."""
    before = signed(key, 500)
    with pytest.raises(DivergedLog, match="500 events was signed, but the log has 400"):
        signed(key, 400)
    assert signed(key, 500) == before


def test_a_log_that_went_another_way_is_not_signed_any_more(key: Path) -> None:
    signed(key, 500)
    log = LongLog(600)
    log._lines[499] = b"another"
    with pytest.raises(DivergedLog, match="whose first 500 events"):
        asyncio.run(checkpoints(key, 600, log).current())


@pytest.mark.parametrize("content", ["nonsense", str(WITNESS.sign("a note, and no checkpoint\n"))])
def test_a_checkpoint_that_cannot_be_read_is_not_passed_over(key: Path, content: str) -> None:
    signed(key, 5)
    key.with_name("events.jsonl.checkpoint").write_text(content)
    with pytest.raises(DivergedLog, match="cannot be read"):
        signed(key, 5)


def test_a_new_key_must_continue_what_the_old_one_signed(key: Path) -> None:
    old = signed(key, 5)
    key.unlink()
    new = signed(key, 5)
    assert TreeHead.of(new).origin != TreeHead.of(old).origin
    key.unlink()
    with pytest.raises(DivergedLog):
        signed(key, 4)


@pytest.mark.parametrize("content", ["", "nonsense", "PRIVATE+KEY+a+00000000+AAAA", "é"])
def test_a_key_that_is_none_is_told_with_its_path(key: Path, content: str) -> None:
    key.parent.mkdir()
    key.write_text(content)
    with pytest.raises(ConfigurationError, match=r"events\.jsonl\.key"):
        signed(key, 5)


def test_many_that_sign_at_once_agree(key: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        notes = list(threads.map(lambda size: signed(key, 1_000 + 0 * size), range(16)))
    assert len(set(map(str, notes))) == 1


def test_who_is_behind_does_not_take_back_what_was_signed(key: Path) -> None:
    """Another process signed a longer log between the look and the signature."""
    log = LongLog(10)
    slow = checkpoints(key, 10, log)
    replace = slow._replace

    def late(last: Note | None, note: Note) -> bool:
        if TreeHead.of(note).size == 10:
            signed(key, 20)
            log._lines += [b"%d" % number for number in range(10, 20)]
            log.head = LongLog(20).head
        return replace(last, note)

    slow._replace = late  # type: ignore[method-assign]
    assert asyncio.run(slow.current()) == signed(key, 20)


def test_what_witnesses_say_is_kept_until_the_log_grows(key: Path) -> None:
    note = signed(key, 5)
    line = WITNESS.sign(note.text).signatures[0]
    cosigned = asyncio.run(checkpoints(key, 5).cosign(str(Note(note.text, [line]))))
    assert cosigned.signatures == [*note.signatures, line]
    assert signed(key, 5) == cosigned
    assert asyncio.run(checkpoints(key, 5).inclusion(3)).checkpoint == cosigned
    assert len(signed(key, 6).signatures) == 1
    for content in (str(cosigned), "nonsense"):
        with pytest.raises(Invalid):
            asyncio.run(checkpoints(key, 6).cosign(content))


def test_without_a_file_all_is_in_memory() -> None:
    both = checkpoints(None, 5)
    assert asyncio.run(both.current()) == asyncio.run(both.current())
