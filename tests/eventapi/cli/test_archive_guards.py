"""``eventapi log archive`` replaces a checkpoint only by one that continues it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.eventapi.cli.running import answer_of, invoke, message_in, output_of, refusal_of


@pytest.fixture
def archive(data: Path) -> Path:
    """An archive of the log."""
    place = data.parent / "archive"
    output_of(data, "log", "archive", str(place))
    return place


def test_a_log_without_a_key_does_not_replace_the_checkpoint(data: Path, archive: Path) -> None:
    before = (archive / "checkpoint").read_bytes()
    copied = data.parent / "copied" / "events.jsonl"
    copied.parent.mkdir()
    shutil.copy(data / "events.jsonl", copied)
    for options in ((), ("--rewrite",)):
        code, err = refusal_of(data, "log", "archive", str(archive), "--log", str(copied), *options)
        assert code == 1
        assert "has no signing key" in message_in(err)
        assert (archive / "checkpoint").read_bytes() == before
        assert not copied.with_name("events.jsonl.key").exists()


def test_another_key_does_not_replace_the_checkpoint_of_the_same_lines(
    data: Path, archive: Path
) -> None:
    before = (archive / "checkpoint").read_bytes()
    copied = data.parent / "copied" / "events.jsonl"
    copied.parent.mkdir()
    shutil.copy(data / "events.jsonl", copied)
    output_of(data, "log", "checkpoint", "--log", str(copied))
    assert copied.with_name("events.jsonl.key").exists()
    answer = answer_of(data, "log", "archive", str(archive), "--log", str(copied))
    assert answer["objects"] == 0
    assert (archive / "checkpoint").read_bytes() == before


def test_an_archive_that_lost_its_checkpoint_is_only_rewritten(data: Path, archive: Path) -> None:
    before = (archive / "checkpoint").read_bytes()
    (archive / "checkpoint").unlink()
    code, err = refusal_of(data, "log", "archive", str(archive))
    assert code == 1
    assert "has no checkpoint" in message_in(err)
    assert f"log archive {archive} --rewrite" in err
    assert not (archive / "checkpoint").exists()
    output_of(data, "log", "archive", str(archive), "--rewrite")
    assert (archive / "checkpoint").read_bytes() == before


@pytest.mark.parametrize("content", [b"rubbish", b"\xff\xfe"])
def test_a_damaged_checkpoint_is_rewritten(data: Path, archive: Path, content: bytes) -> None:
    before = (archive / "checkpoint").read_bytes()
    (archive / "checkpoint").write_bytes(content)
    code, err = refusal_of(data, "log", "archive", str(archive))
    assert code == 3
    assert "--rewrite" in err
    result = invoke(data, "log", "archive", str(archive), "--rewrite")
    assert result.exit_code == 0
    assert "checkpoint" in result.stderr
    assert (archive / "checkpoint").read_bytes() == before


def _forge(checkpoint: Path) -> None:
    """Change the signature, but not the name of its key."""
    text = checkpoint.read_text()
    at = text.rindex(" ") + 20
    checkpoint.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])


def test_a_checkpoint_that_the_key_at_hand_did_not_sign_is_refused(
    data: Path, archive: Path
) -> None:
    before = (archive / "checkpoint").read_bytes()
    _forge(archive / "checkpoint")
    for code, command in (
        (3, ("log", "show", "--log", str(archive))),
        (3, ("state", "digest", "--log", str(archive))),
        (1, ("log", "verify", str(archive))),
    ):
        found, err = refusal_of(data, *command)
        assert found == code, command
        assert "its key did not sign it" in message_in(err)
    # Without the key, only `log verify --key` can notice.
    output_of(data.parent / "elsewhere", "log", "show", "--log", str(archive))
    output_of(data, "log", "archive", str(archive), "--rewrite")
    assert (archive / "checkpoint").read_bytes() == before
