"""Counting the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.fault_injection.torn.cases import CASES, Cases
from tests.fault_injection.torn.history import History, Verdict
from tests.fault_injection.torn.judge import judged, judged_as_file
from tests.fault_injection.torn.others import mark_cases, snapshot_cases

COLUMNS = ("cases", "whole", "torn", "damaged", "wrong", "dropped")
"""``dropped``: published lines that were not kept, and nothing was said."""


Row = Callable[[], Iterable[tuple[Verdict, Verdict, int]]]
"""Right answer, given answer and how many lines were published, case by case."""


def tallied(verdicts: Iterable[tuple[Verdict, Verdict, int]]) -> Counter[str]:
    """Counts of right answer, given answer, and how many lines were published."""
    counts: Counter[str] = Counter()
    for right, given, marked in verdicts:
        counts["cases"] += 1
        counts[given.kind] += 1
        counts["wrong"] += right != given
        counts["dropped"] += given.kind != "damaged" and given.kept < marked
    return counts


def of_log(history: History, cases: Cases, stride: int) -> Iterator[tuple[Verdict, Verdict, int]]:
    """Everything that is done to a log, in memory."""
    for content, marked in cases(history, stride):
        yield history.right_answer(content, marked), judged(history, content, marked), marked


def of_files(
    directory: Path, history: History, cases: Cases, stride: int
) -> Iterator[tuple[Verdict, Verdict, int]]:
    """The same with files, opened as a server opens them."""
    directory.mkdir()
    for content, marked in cases(history, stride):
        given = judged_as_file(directory / "events.jsonl", history, content, marked)
        yield history.right_answer(content, marked), given, marked


def rows(history: History, directory: Path, stride: int) -> Mapping[str, Row]:
    """What is counted, for each thing that is done."""
    count = len(history.lines)
    found: dict[str, Row] = {}
    for number, (name, cases) in enumerate(CASES.items()):
        room = directory / str(number)
        found[name] = partial(of_log, history, cases, stride)
        found[f"{name}, as a file"] = partial(of_files, room, history, cases, stride * 797)
    found["the mark"] = lambda: (
        (right, given, count) for right, given in mark_cases(directory / "mark", history, stride)
    )
    found["a snapshot"] = lambda: (
        (right, given, 0) for right, given in snapshot_cases(directory / "snapshots", stride)
    )
    return found
