"""Commands read what is new or asked for, and not the whole log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from eventapi.bootstrap.paths import verified_path
from eventapi.testing.items import Content, create_item
from events.log.file.lines import PublishedLines
from events.record import Record
from events.verification.checks import check_lines
from tests.eventapi.cli.running import answer_of, invoke, log_of, output_of, refusal_of, written

Spy = Callable[[], set[int]]
"""Returns the positions that were read since the last call."""

TAKEN = 12
"""The position of the snapshot and of the first copy."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """The positions of the lines that were read of any log, and of the copy by its verification."""
    found: set[int] = set()
    read = PublishedLines.read

    async def spy(
        self: PublishedLines, after: int = 0, upto: int | None = None
    ) -> AsyncIterator[list[bytes]]:
        position = after
        async for lines in read(self, after, upto):
            found.update(range(position + 1, position + len(lines) + 1))
            position += len(lines)
            yield lines

    def spy_on_check(joined: bytes, last: Record, *rest: object) -> object:
        found.update(range(last.position + 1, last.position + joined.count(b"\n") + 2))
        return check_lines(joined, last, *rest)  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(PublishedLines, "read", spy)
    monkeypatch.setattr("events.verification.scan.check_lines", spy_on_check)

    def taken() -> set[int]:
        positions = set(found)
        found.clear()
        return positions

    return taken


@pytest.fixture
def grown(data: Path) -> Path:
    """A log with a snapshot, and an event after it."""
    output_of(data, "snapshot")
    written(data, create_item(1, Content("new")))
    return data


def flip_first_line(log: Path) -> None:
    """Flip a bit of the first line: its length stays."""
    content = bytearray(log.read_bytes())
    content[300] ^= 1
    log.write_bytes(content)


TAIL = {TAKEN, TAKEN + 1}
"""The last line of the snapshot, and the one after it."""

FROM_THE_SNAPSHOT = [
    ("state", "digest"),
    ("state", "show"),
    ("state", "digest", "--at", str(TAKEN)),
    ("users", "list"),
    ("users", "disable", "ann"),
    ("users", "grant", "ann", "auditor"),
    ("webhooks", "list"),
    ("data", "export", "--resource", "items"),
    ("resources", "list"),
]


@pytest.mark.parametrize("command", FROM_THE_SNAPSHOT)
def test_a_command_reads_only_what_follows_the_snapshot(
    grown: Path, read: Spy, command: tuple[str, ...]
) -> None:
    assert invoke(grown, *command).exit_code == 0
    assert read() <= TAIL


@pytest.mark.parametrize("command", [*FROM_THE_SNAPSHOT, ("snapshot",), ("rebuild",)])
def test_control_without_a_snapshot_all_lines_are_read(
    data: Path, read: Spy, command: tuple[str, ...]
) -> None:
    assert invoke(data, *command).exit_code == 0
    assert read() >= set(range(1, TAKEN + 1))


@pytest.mark.parametrize(
    "command",
    [
        ("snapshot",),
        ("rebuild",),
        ("log", "checkpoint"),
        ("log", "evidence", "--subject", "items/1", "-"),
        ("users", "export", "ann"),
    ],
)
def test_what_is_stored_signed_or_proved_comes_from_a_log_that_was_checked(
    grown: Path, read: Spy, command: tuple[str, ...]
) -> None:
    assert invoke(grown, *command).exit_code == 0
    assert read() >= set(range(1, TAKEN + 2))
    flip_first_line(grown / "events.jsonl")
    before = {path.name for path in (grown / "snapshots").glob("*.snapshot")}
    assert invoke(grown, *command).exit_code != 0
    assert {path.name for path in (grown / "snapshots").glob("*.snapshot")} <= before


def test_a_state_from_the_snapshot_is_that_of_the_whole_log(grown: Path) -> None:
    answers = [answer_of(grown, "state", "show", "--at", str(at)) for at in (5, TAKEN, TAKEN + 1)]
    users = output_of(grown, "users", "list", "--json")
    for path in (grown / "snapshots").glob("*.snapshot"):
        path.unlink()
    again = [answer_of(grown, "state", "show", "--at", str(at)) for at in (5, TAKEN, TAKEN + 1)]
    assert (answers, users) == (again, output_of(grown, "users", "list", "--json"))


def test_a_command_writes_beside_damage_that_a_server_would_find_later(grown: Path) -> None:
    flip_first_line(grown / "events.jsonl")
    assert invoke(grown, "users", "disable", "ann").exit_code == 0
    assert log_of(grown).count(b"\n") == TAKEN + 2


@pytest.mark.parametrize("command", [("users", "disable", "ann"), ("state", "digest")])
def test_with_verify_before_a_command_checks_the_whole_log(
    grown: Path, command: tuple[str, ...]
) -> None:
    flip_first_line(grown / "events.jsonl")
    before = log_of(grown)
    refused = invoke(grown, *command, EVENTAPI_VERIFY="before")
    assert (refused.exit_code, "position 1" in refused.stderr) == (3, True)
    assert log_of(grown) == before


def test_a_reading_command_leaves_a_damaged_snapshot(grown: Path) -> None:
    path = grown / "snapshots" / f"{TAKEN}.snapshot"
    path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    assert invoke(grown, "state", "digest").exit_code == 0
    assert path.read_bytes() == before


def test_a_copy_with_nothing_new_reads_one_line(data: Path, backup: Path, read: Spy) -> None:
    copied = answer_of(data, "log", "copy", str(backup))
    assert (copied["events"], copied["new"], copied["checked"]) == (TAKEN, 0, 0)
    assert read() == {TAKEN}


def test_a_copy_reads_and_verifies_only_what_is_new(
    data: Path, backup: Path, tmp_path: Path, read: Spy
) -> None:
    written(data, create_item(1, Content("new")))
    output_of(data, "snapshot")
    read()
    keys = str(tmp_path / "keys")
    copied = answer_of(data, "log", "copy", str(backup), "--vault", keys)
    assert (copied["new"], copied["checked"], copied["keys"]) == (1, 1, 2)
    assert read() == TAIL
    assert log_of(backup) == log_of(data)
    assert output_of(backup, "log", "verify").startswith(str(backup / "events.jsonl"))
    fresh = answer_of(data, "log", "copy", str(tmp_path / "fresh") + "/")
    assert (fresh["root"], fresh["checked"]) == (copied["root"], TAKEN + 1)


def test_control_with_check_a_copy_reads_everything(data: Path, backup: Path, read: Spy) -> None:
    copied = answer_of(data, "log", "copy", str(backup), "--check")
    assert (copied["new"], copied["checked"]) == (0, TAKEN)
    assert read() == set(range(1, TAKEN + 1))


def _remove(record: Path) -> None:
    record.unlink()


def _damage(record: Path) -> None:
    record.write_bytes(b"rubbish")


def _of_another_tree(record: Path) -> None:
    content = record.read_bytes()
    at = content.index(b'"subtrees":[[3,"') + len('"subtrees":[[3,"')
    record.write_bytes(
        content[:at] + (b"B" if content[at : at + 1] == b"A" else b"A") + content[at + 1 :]
    )


@pytest.mark.parametrize("harm", [_remove, _damage, _of_another_tree])
def test_without_a_record_of_the_last_copy_everything_is_verified(
    data: Path, backup: Path, harm: Callable[[Path], None]
) -> None:
    record = verified_path(backup / "events.jsonl")
    before = record.read_bytes()
    harm(record)
    assert answer_of(data, "log", "copy", str(backup))["checked"] == TAKEN
    assert record.read_bytes() == before


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
