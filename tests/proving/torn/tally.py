"""Counting the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.proving.torn.cases import CASES, Cases
from tests.proving.torn.history import History, Verdict
from tests.proving.torn.judge import judged, judged_as_file
from tests.proving.torn.others import mark_cases, snapshot_cases

COLUMNS = ("cases", "whole", "torn", "damaged", "wrong", "dropped")
"""``dropped``: published lines that were not kept, and nothing was said."""


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


def table(history: History, directory: Path, stride: int) -> Iterator[tuple[str, Counter[str]]]:
    """A row for each thing that is done."""
    for name, cases in CASES.items():
        yield name, tallied(of_log(history, cases, stride))
    for number, (name, cases) in enumerate(CASES.items()):
        files = of_files(directory / str(number), history, cases, stride * 797)
        yield f"{name}, as a file", tallied(files)
    count = len(history.lines)
    marks = mark_cases(directory / "mark", history, stride)
    yield "the mark", tallied((right, given, count) for right, given in marks)
    snapshots = snapshot_cases(directory / "snapshots", stride)
    yield "a snapshot", tallied((right, given, 0) for right, given in snapshots)
