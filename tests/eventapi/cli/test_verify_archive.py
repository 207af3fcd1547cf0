"""``eventapi log verify`` lists all damage of an archive, and reads name the object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.transparency.tiles import decode_bundle
from tests.eventapi.cli.running import invoke, message_in, output_of, refusal_of, written

LINES = 601


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an archive of three tiles beside it."""
    folder = tmp_path_factory.mktemp("original") / "data"
    items = [create_item(1, Content(f"item {number}")) for number in range(LINES - 1)]
    written(folder, RegisterUser(profile("ann")), *items[: LINES // 2])
    output_of(folder, "log", "archive", str(folder.parent / "archive"))
    written(folder, *items[LINES // 2 :])
    output_of(folder, "log", "archive", str(folder.parent / "archive"))
    return folder


@pytest.fixture
def archive(original: Path) -> Any:
    """The archive, whose objects are put back after the test."""
    place = original.parent / "archive"
    files = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    yield place
    for file, content in files.items():
        file.write_bytes(content)


def verified(data: Path, archive: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = invoke(data, "log", "verify", str(archive), "--json", *options)
    assert not result.stderr, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, report


def change(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def test_a_whole_archive_verifies(original: Path, archive: Path) -> None:
    for options in ((), ("--seals",), ("--prefix-of", str(original / "events.jsonl"))):
        code, report = verified(original, archive, *options)
        assert (code, report["ok"], report["findings"]) == (0, True, [])
        assert report["lines"] == LINES
    shown = output_of(original, "log", "verify", str(archive))
    assert f"{archive} is whole: 601 events" in shown


def test_all_damage_is_listed_with_positions_and_objects(original: Path, archive: Path) -> None:
    lines, _ = decode_bundle((archive / "tile/entries/000").read_bytes())
    change(archive / "tile/entries/000", 2 + len(lines[0]) + 2 + 200)
    change(archive / "tile/0/001", 40)
    (archive / "tile/entries/002.p/89").unlink()
    code, report = verified(original, archive)
    assert code == 1
    found = {(one["kind"], one["position"], one["detail"]) for one in report["findings"]}
    kinds = {kind for kind, _, _ in found}
    assert {"damaged", "tile", "missing"} <= kinds
    assert any(place == 2 and "tile/entries/000" in detail for kind, place, detail in found)
    assert any(place == 258 and "tile/0/001" in detail for kind, place, detail in found)
    assert any(place == 513 and "tile/entries/002.p/89" in detail for kind, place, detail in found)
    assert report["good_up_to"] == 1
    assert f"log archive {archive} --rewrite" in report["next"]
    assert "restore" not in report["next"]


def test_damage_of_hashes_has_a_message_of_its_own(original: Path, archive: Path) -> None:
    change(archive / "tile/0/001", 40)
    (archive / "tile/0/000").unlink()
    code, report = verified(original, archive)
    assert code == 1
    assert {one["kind"] for one in report["findings"]} == {"tile"}
    assert report["verdict"].startswith("Only hashes of")
    assert report["good_up_to"] == LINES
    assert "--rewrite" in report["next"]
    output_of(original, "log", "archive", str(archive), "--rewrite")
    assert verified(original, archive)[0] == 0


def test_a_damaged_checkpoint_is_found(original: Path, archive: Path) -> None:
    key = output_of(original, "log", "checkpoint", "--key").strip()
    change(archive / "checkpoint", 10)
    result = invoke(original, "log", "verify", str(archive), "--key", key)
    assert result.exit_code == 1
    assert "is not signed by" in result.stderr
    (archive / "checkpoint").write_bytes(b"rubbish")
    code, err = refusal_of(original, "log", "verify", str(archive))
    assert code == 1
    assert "checkpoint" in message_in(err)


def test_another_checkpoint_is_compared(original: Path, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "checkpoint"
    other.write_text(output_of(original, "log", "checkpoint"))
    assert verified(original, archive, "--checkpoint", str(other))[0] == 0
    lines = other.read_text().split("\n")
    other.write_text("\n".join([lines[0], "600", *lines[2:]]))
    code, report = verified(original, archive, "--checkpoint", str(other))
    assert (code, [one["kind"] for one in report["findings"]]) == (1, ["checkpoint"])


@pytest.mark.parametrize("command", [["log", "show"], ["state", "digest"], ["users", "list"]])
def test_a_read_names_the_damaged_object(original: Path, archive: Path, command: list[str]) -> None:
    change(archive / "tile/entries/001", 500)
    result = invoke(original, *command, "--log", str(archive))
    assert result.exit_code == 3
    message = message_in(result.stderr)
    assert message.startswith(f"the archive {archive} is damaged at position 257: tile/entries/001")
    assert f"log archive {archive} --rewrite" in result.stderr


@pytest.mark.parametrize("command", ["show --log", "verify", "checkpoint --log", "copy to --log"])
def test_an_archive_without_a_checkpoint_is_refused(
    original: Path, archive: Path, command: str
) -> None:
    (archive / "checkpoint").unlink()
    code, err = refusal_of(original, "log", *command.split(), str(archive))
    assert code == 3
    assert "it has no checkpoint" in message_in(err)
