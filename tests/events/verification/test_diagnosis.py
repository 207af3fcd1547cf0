"""The modes of the verifier: what the next line must continue after a line of each kind."""

from __future__ import annotations

from eventapi.testing.items import ITEMS
from events.record import START
from events.sealing import Keyring
from events.verification.diagnosis import Expecting, Lost, Seals, Unsure, judge_line
from tests.events.log_helpers import some_lines

LINES, _ = some_lines(8)
NO_SEALS = Seals(Keyring(), None, ITEMS)


def test_an_intact_line_is_expected_next() -> None:
    mode, findings = judge_line(Expecting(START), LINES[0], 0, NO_SEALS)
    assert isinstance(mode, Expecting)
    assert (mode.position, findings) == (1, [])


def test_after_a_damaged_line_its_stated_and_its_due_position_are_candidates() -> None:
    damaged = LINES[0].replace(b'"id":"1"', b'"id":"7"')
    mode, (finding,) = judge_line(Expecting(START), damaged, 0, NO_SEALS)
    assert isinstance(mode, Unsure)
    assert {one.position for one in mode.candidates} == {1, 7}
    assert (mode.position, mode.good, finding.kind) == (1, START, "gap")


def test_a_line_that_continues_a_candidate_is_accepted() -> None:
    damaged = LINES[0].replace(b'"id":"1"', b'"id":"7"')
    unsure, _ = judge_line(Expecting(START), damaged, 0, NO_SEALS)
    mode, findings = judge_line(unsure, LINES[1], len(damaged) + 1, NO_SEALS)
    assert isinstance(mode, Expecting)
    assert (mode.position, findings) == (2, [])


def test_a_line_that_continues_no_candidate_makes_new_candidates() -> None:
    damaged = LINES[0].replace(b'"id":"1"', b'"id":"7"')
    unsure, _ = judge_line(Expecting(START), damaged, 0, NO_SEALS)
    mode, (finding,) = judge_line(unsure, LINES[4], len(damaged) + 1, NO_SEALS)
    assert isinstance(mode, Unsure)
    assert (mode.position, finding.kind, finding.position) == (2, "gap", 2)


def test_the_verifier_is_lost_after_an_unreadable_line_and_accepts_the_next_readable_one() -> None:
    lost, (finding,) = judge_line(Expecting(START), b"garbage", 0, NO_SEALS)
    assert lost == Lost(START, 1)
    assert (finding.kind, finding.position) == ("damaged", 1)
    mode, findings = judge_line(lost, LINES[7], 8, NO_SEALS)
    assert isinstance(mode, Expecting)
    assert (mode.position, findings) == (8, [])
