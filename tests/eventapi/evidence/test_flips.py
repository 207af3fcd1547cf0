"""One flipped bit anywhere in a pack is named with its file and line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest

from eventapi.evidence.selection import Selection
from eventapi.testing.sample_log import write
from tests.eventapi.evidence.packs import (
    CHECKER,
    Flip,
    World,
    faults_in,
    files_in,
    random_flips,
    small_history,
    with_witness,
)

SEED = 22


@cache
def sample_pack() -> dict[str, bytes]:
    """A pack that has every file that a pack can have."""
    world = World(write(small_history()))
    return asyncio.run(with_witness(world, 7, Selection(user="ann", open=True)))


@pytest.fixture(autouse=True)
def signatures_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember each verification of a signature, which takes most of the time of a check."""
    monkeypatch.setattr(CHECKER, "is_signed", cache(CHECKER.is_signed))


def missed(flips: list[Flip], files: dict[str, bytes]) -> Iterator[str]:
    """The flips that are not reported with exactly their file, and their line."""
    for flip in flips:
        found = faults_in(flip.apply(files))
        names, lines = {one.file for one in found}, {one.line for one in found}
        if names != {flip.file} or flip.line_in(files) not in lines:
            yield f"{flip}: {found[:3]}"


def test_every_flip_is_named_with_its_file_and_line() -> None:
    files = sample_pack()
    assert len(files) == 12
    assert faults_in(files) == []

    assert list(missed(random_flips(files, 240, SEED), files)) == []


@pytest.mark.long
def test_each_of_2000_flips_is_named_with_its_file_and_line() -> None:
    files = sample_pack()

    assert list(missed(random_flips(files, 2_000, SEED + 1), files)) == []


def test_every_bit_of_the_small_files_is_covered() -> None:
    files = sample_pack()
    small = [name for name in ("log-key.txt", "checkpoint.txt") if len(files[name]) < 500]
    flips = [Flip(name, bit) for name in small for bit in range(0, 8 * len(files[name]), 7)]

    assert list(missed(flips, files)) == []


def test_control_without_the_manifest_a_flip_in_the_readme_stays_unseen() -> None:
    files = sample_pack()
    flip = Flip("README.txt", 80)
    flipped = flip.apply(files)
    check = CHECKER.Check(flipped)
    check.check_file = lambda *_: None

    assert check.run().faults == []
    assert {one.file for one in faults_in(flipped)} == {"README.txt"}


@pytest.mark.parametrize("name", sorted(set(CHECKER.NEEDED) | {"manifest.json", "opened.jsonl"}))
def test_a_missing_file_is_named(name: str) -> None:
    files = {other: content for other, content in sample_pack().items() if other != name}

    assert name in {one.file for one in faults_in(files)}


def test_an_added_file_is_noticed() -> None:
    check = CHECKER.Check({**sample_pack(), "more.txt": b"more"}).run()

    assert check.faults == []
    assert "more.txt is not part of the pack" in check.notes


def test_whole_lines_that_are_taken_out_are_noticed() -> None:
    """Also if the rest would prove itself: the manifest is signed."""
    files = dict(sample_pack())
    lines = files["lines.jsonl"].split(b"\n")
    files["lines.jsonl"] = b"\n".join(lines[:-2] + lines[-1:])

    assert "lines.jsonl" in {one.file for one in faults_in(files)}


def test_a_pack_of_another_key_is_noticed_by_a_reader_who_knows_the_key() -> None:
    other = asyncio.run(World(write(small_history())).pack(Selection(user="ann")))
    files, key = sample_pack(), files_in(other)["log-key.txt"].decode()

    found = faults_in(files, key)

    assert {one.file for one in found} >= {"log-key.txt", "checkpoint.txt", "manifest.json"}


@pytest.mark.long
def test_a_checker_with_a_flipped_bit_names_itself(tmp_path: Path) -> None:
    """It cannot always: some bits of a program decide nothing, and some the whole answer."""
    files, random = sample_pack(), Random(SEED)
    named = 0
    bits = [random.randrange(8 * len(files["verify.py"])) for _ in range(60)]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for bit in bits:
        flipped = Flip("verify.py", bit).apply(files)["verify.py"]
        (tmp_path / "verify.py").write_bytes(flipped)
        done = subprocess.run(
            [sys.executable, "-I", "verify.py"], cwd=tmp_path, capture_output=True, check=False
        )
        named += done.returncode != 0 and b"verify.py" in done.stdout + done.stderr
    assert named >= len(bits) - 1
