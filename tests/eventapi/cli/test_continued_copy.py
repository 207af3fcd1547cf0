"""``eventapi log copy`` trusts what an earlier run has verified only where that is safe."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from eventapi.bootstrap.paths import verified_path
from eventapi.testing.items import Content, create_item
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    log_of,
    message_in,
    output_of,
    refusal_of,
    written,
)

TAKEN = 12
"""The position of the first copy."""


def _remove(record: Path) -> None:
    record.unlink()


def _damage(record: Path) -> None:
    record.write_bytes(b"rubbish")


def _edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(record: Path) -> None:
        part = json.loads(record.read_bytes())
        change(part)
        record.write_bytes(json.dumps(part).encode())

    return edit


@_edit
def _of_another_tree(part: dict[str, Any]) -> None:
    part["subtrees"][0][1] = part["subtrees"][1][1]


@_edit
def _with_another_height(part: dict[str, Any]) -> None:
    """The root of these lines stays, but not those of longer logs."""
    assert [height for height, _ in part["subtrees"]] == [3, 2]
    part["subtrees"][1][0] = 0


@_edit
def _with_another_length(part: dict[str, Any]) -> None:
    """The first byte of the second digest is the last one of the first: the root stays."""
    first, second = (b64decode(digest) for _, digest in part["subtrees"])
    part["subtrees"][0][1] = b64encode(first + second[:1]).decode()
    part["subtrees"][1][1] = b64encode(second[1:]).decode()


@_edit
def _without_a_member(part: dict[str, Any]) -> None:
    del part["opened"]


@pytest.mark.parametrize(
    "harm",
    [
        _remove,
        _damage,
        _of_another_tree,
        _with_another_height,
        _with_another_length,
        _without_a_member,
    ],
)
def test_without_a_record_of_the_last_copy_everything_is_verified(
    data: Path, backup: Path, harm: Callable[[Path], None]
) -> None:
    record = verified_path(backup / "events.jsonl")
    before = record.read_bytes()
    harm(record)
    assert answer_of(data, "log", "copy", str(backup))["checked"] == TAKEN
    # This run has opened no seals.
    assert record.read_bytes() == before.replace(b'"opened":true', b'"opened":false')


def test_new_lines_of_the_log_are_checked_before_anything_is_signed(
    data: Path, backup: Path
) -> None:
    written(data, create_item(1, Content("new")))
    log = data / "events.jsonl"
    content = bytearray(log.read_bytes())
    content[-200] ^= 1
    log.write_bytes(content)
    before = (data / "events.jsonl.checkpoint").read_bytes()
    code, error = refusal_of(data, "log", "copy", str(backup))
    assert (code, f"position {TAKEN + 1}" in error) == (3, True)
    assert (data / "events.jsonl.checkpoint").read_bytes() == before


def test_a_key_that_did_not_sign_the_copy_signs_only_what_is_verified_now(
    data: Path, backup: Path
) -> None:
    for name in ("key", "signed", "checkpoint"):
        (data / f"events.jsonl.{name}").unlink()
    assert answer_of(data, "log", "copy", str(backup))["checked"] == TAKEN
    assert answer_of(data, "log", "copy", str(backup))["checked"] == 0


def test_a_new_key_does_not_continue_a_checkpoint_of_another_key(data: Path, backup: Path) -> None:
    """Also if the new key has signed as many events."""
    for name in ("key", "signed", "checkpoint"):
        (data / f"events.jsonl.{name}").unlink()
    output_of(data, "log", "checkpoint")
    assert answer_of(data, "log", "copy", str(backup))["checked"] == TAKEN


def test_a_checkpoint_with_a_wrong_signature_does_not_count(data: Path, backup: Path) -> None:
    beside = backup / "events.jsonl.checkpoint"
    text, _, box = beside.read_text().rstrip("\n").rpartition(" ")
    signature = bytearray(b64decode(box))
    signature[-1] ^= 1
    beside.write_text(f"{text} {b64encode(signature).decode()}\n")
    assert answer_of(data, "log", "copy", str(backup))["checked"] == TAKEN


def test_an_older_copy_beside_newer_proofs_is_verified(data: Path, backup: Path) -> None:
    """The lines that were verified are not those that are appended now."""
    lines = log_of(backup).splitlines(keepends=True)
    (backup / "events.jsonl.mark").unlink()
    (backup / "events.jsonl").write_bytes(b"".join(lines[:-3]))
    copied = answer_of(data, "log", "copy", str(backup))
    assert (copied["new"], copied["checked"]) == (3, TAKEN)
    assert log_of(backup) == log_of(data)


def test_a_record_that_does_not_fit_the_copy_is_not_counted_as_verified(
    data: Path, backup: Path
) -> None:
    """Everything was verified, and the answer states that."""

    @_edit
    def end_elsewhere(part: dict[str, Any]) -> None:
        part["end"] -= 1

    end_elsewhere(verified_path(backup / "events.jsonl"))
    written(data, create_item(1, Content("new")))
    copied = answer_of(data, "log", "copy", str(backup))
    assert (copied["new"], copied["checked"]) == (1, TAKEN + 1)


def _replace_key(vault: Path) -> None:
    """Put a key in its place that opens nothing."""
    with closing(sqlite3.connect(vault)) as keys, keys:
        keys.execute("UPDATE keys SET key = randomblob(32) WHERE subject = 'users/2'")


def test_a_wrong_key_is_not_copied_to_a_new_file(data: Path, backup: Path, tmp_path: Path) -> None:
    """Although an earlier run opened all seals with the right one."""
    _replace_key(data / "vault.sqlite")
    fresh = tmp_path / "fresh"
    assert invoke(data, "log", "copy", str(backup), "--vault", str(fresh)).exit_code == 1
    assert not fresh.exists()


def test_lines_whose_seals_were_not_opened_are_verified_again_for_the_keys(
    data: Path, tmp_path: Path
) -> None:
    copy = ("log", "copy", str(tmp_path / "copied.jsonl"))
    keys = ("--vault", str(tmp_path / "keys"))
    assert answer_of(data, *copy)["checked"] == TAKEN
    assert answer_of(data, *copy, *keys)["checked"] == TAKEN
    assert answer_of(data, *copy, *keys)["checked"] == 0
    written(data, create_item(1, Content("new")))
    assert answer_of(data, *copy)["checked"] == 1
    _replace_key(data / "vault.sqlite")
    assert invoke(data, *copy, *keys).exit_code == 1


def test_a_directory_in_the_place_of_the_record_is_reported(data: Path, backup: Path) -> None:
    record = verified_path(backup / "events.jsonl")
    record.unlink()
    record.mkdir()
    code, error = refusal_of(data, "log", "copy", str(backup))
    assert (code, message_in(error)) == (3, f"{record} is a directory, but must be a file")


def test_a_copy_of_a_rewritten_log_is_verified_as_a_whole(data: Path, backup: Path) -> None:
    """The copy is not that of the log any more, although it was once."""
    (data / "events.jsonl.mark").unlink()
    lines = log_of(data).splitlines(keepends=True)
    (data / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    assert refusal_of(data, "log", "copy", str(backup))[0] == 1


def test_a_copy_with_bytes_behind_its_end_is_recovered(data: Path, backup: Path) -> None:
    with (backup / "events.jsonl").open("ab") as file:
        file.write(b"torn")
    written(data, create_item(1, Content("new")))
    assert answer_of(data, "log", "copy", str(backup))["checked"] == 1
    assert log_of(backup) == log_of(data)


def test_new_lines_that_are_not_intact_are_reported(
    data: Path, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the copy has other bytes than were written."""
    written(data, create_item(1, Content("new")))
    copy_lines = _corrupting(backup / "events.jsonl")
    monkeypatch.setattr("eventapi.cli.copy._copy_lines", copy_lines)
    code, error = refusal_of(data, "log", "copy", str(backup))
    assert (code, f"damaged at position {TAKEN + 1}" in error) == (1, True)


def test_a_copy_without_a_checkpoint_is_verified_up_to_its_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While signing is suspended, no root shows that a line is missing."""
    output_of(data, "log", "checkpoint")
    (data / "events.jsonl.signed").unlink()
    copied = tmp_path / "copied.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr("eventapi.cli.copy._copy_lines", _corrupting(copied))
        code, error = refusal_of(data, "log", "copy", str(copied))
    assert (code, f"damaged at position {TAKEN}" in error) == (1, True)
    copied.unlink()
    copied.with_name(f"{copied.name}.mark").unlink()
    for _ in range(2):
        found = answer_of(data, "log", "copy", str(copied))
        assert (found["root"], found["checked"]) == (None, TAKEN)


def _corrupting(file: Path) -> Callable[..., object]:
    from eventapi.cli import copy  # noqa: PLC0415 - the original function

    original = copy._copy_lines

    async def copy_lines(*given: object) -> int:
        new = await original(*given)  # type: ignore[arg-type]  # as given
        content = bytearray(file.read_bytes())
        content[-200] ^= 1
        file.write_bytes(content)
        return new

    return copy_lines
