"""The page in a pack finds one flipped bit of the zip, as the program does."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.evidence.writer import PACK
from tests.eventapi.evidence import test_page
from tests.eventapi.evidence.packs import random_flips, tiny_pack
from tests.eventapi.evidence.test_container import ZIP, bits_around_files, flipped, large_form
from tests.eventapi.evidence.test_page import Case, needs_node, pages

pytestmark = [pytest.mark.long, needs_node]

SEED = 31


def missed(bits: list[int]) -> list[str]:
    """The bits of a pack that the page does not find."""
    cases = {f"bit {bit}": Case(flipped(tiny_pack(), bit), "bad") for bit in bits}
    assert pages({"": Case(tiny_pack(), "good")})[""].verdict == "good"
    return [name for name, found in pages(cases).items() if found.verdict != "bad"]


def test_each_of_1000_flips_anywhere_is_found() -> None:
    assert missed([one.bit for one in random_flips({ZIP: tiny_pack()}, 1_000, SEED)]) == []


def test_a_flipped_bit_around_the_files_is_found() -> None:
    assert missed(bits_around_files(tiny_pack())[::7]) == []


def test_control_without_the_checks_of_the_zip_flips_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (PACK / "verify.html").read_text()
    assert page.count("await checkZip(") == 1
    (tmp_path / "verify.html").write_text(page.replace("await checkZip(", "void ("))
    monkeypatch.setattr(test_page, "PACK", tmp_path)

    bits = bits_around_files(tiny_pack())[::70]

    assert len(missed(bits)) > len(bits) / 4


def test_a_zip_of_the_form_of_large_files_cannot_be_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is too large for a browser, which is no fault of the pack."""
    assert pages({"": Case(large_form(monkeypatch), "unsure")})[""].verdict == "unsure"
