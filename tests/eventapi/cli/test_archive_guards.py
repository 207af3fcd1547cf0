"""``eventapi log archive`` replaces a checkpoint only by one that continues it."""

from __future__ import annotations

import errno
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.log.file.reader import JsonlReader
from tests.eventapi.cli.running import answer_of, invoke, message_in, output_of, refusal_of, written


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


def test_a_log_that_was_set_back_and_went_another_way_is_refused(
    data: Path, tmp_path: Path
) -> None:
    """The key is the same, and recorded the checkpoint of the archive."""
    place = str(tmp_path / "archive")
    earlier = {file: file.read_bytes() for file in data.glob("events.jsonl*")}
    written(data, create_item(1, Content("one")))
    output_of(data, "log", "archive", place)
    for file, content in earlier.items():
        file.write_bytes(content)
    written(data, create_item(1, Content("another")), create_item(1, Content("more")))
    code, err = refusal_of(data, "log", "archive", place)
    assert code == 1
    assert "is of another log" in message_in(err)


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


@pytest.mark.parametrize("options", [(), ("--rewrite",)])
def test_an_empty_log_is_archived(tmp_path: Path, options: tuple[str, ...]) -> None:
    data, place = tmp_path / "empty", str(tmp_path / "archive")
    written(data)
    assert answer_of(data, "log", "archive", place, *options)["events"] == 0
    assert answer_of(data, "log", "verify", place)["ok"]
    assert not output_of(data, "log", "show", "--log", place)


def test_an_archive_is_read_without_a_vault(data: Path, archive: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    found = answer_of(elsewhere, "rebuild", "--log", str(archive))
    assert found["digest"] == answer_of(data, "rebuild")["digest"]
    assert "ann" not in output_of(elsewhere, "users", "list", "--log", str(archive))
    assert not elsewhere.exists()


def test_keys_of_another_log_are_named_as_a_cause(
    data: Path, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    written(other, RegisterUser(profile("eve")))
    result = invoke(other, "users", "list", "--log", str(archive))
    assert result.exit_code == 3
    assert "is as it was archived, but cannot be used" in message_in(result.stderr)
    assert "--data DIR" in result.stderr


@pytest.mark.parametrize("command", ["checkpoint --key", "evidence pack.zip --subject items/1"])
def test_without_the_key_of_the_archive_no_new_key_is_advised(
    data: Path, archive: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(tmp_path / "elsewhere", "log", *command.split(), "--log", str(archive))
    assert result.exit_code == 1
    assert "is not in the data directory" in message_in(result.stderr)
    assert "--new-key" not in result.stderr


def test_an_empty_place_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    code, err = refusal_of(data, "log", "archive", "")
    assert code == 2
    assert "TO is empty" in err
    assert list(Path().iterdir()) == []


def test_a_directory_that_cannot_be_read_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    code, err = refusal_of(data, "log", "archive", str(tmp_path))
    assert code == 3
    assert f"the archive {tmp_path} cannot be used" in message_in(err)


@pytest.mark.parametrize("address", ["localhost:9000", "https://", "ftp://host"])
def test_an_address_of_storage_must_be_complete(
    data: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    code, err = refusal_of(data, "log", "archive", "s3://bucket/x")
    assert code == 3
    assert "AWS_ENDPOINT_URL must begin with http" in err


@pytest.mark.parametrize("place", ["s3://bucket/../x", "s3://bucket/a//b", "s3://bucket/./x"])
def test_an_address_with_relative_or_empty_parts_is_refused(data: Path, place: str) -> None:
    code, err = refusal_of(data, "log", "archive", place)
    assert code == 2
    assert "s3://BUCKET/PREFIX" in err


def test_a_further_run_reads_only_new_lines_of_an_archive_that_it_trusts(
    data: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, starts = JsonlReader.read, list[int]()

    def note_start(
        log: JsonlReader, after: int = 0, upto: int | None = None
    ) -> AsyncIterator[list[bytes]]:
        starts.append(after)
        return read(log, after, upto)

    monkeypatch.setattr(JsonlReader, "read", note_start)
    output_of(data, "log", "archive", str(archive))
    assert min(starts) == 11  # The last line is compared, and later ones are read.
    _forge(archive / "checkpoint")
    starts.clear()
    output_of(data, "log", "archive", str(archive))
    assert min(starts) == 0
    assert answer_of(data, "log", "verify", str(archive))["ok"]
