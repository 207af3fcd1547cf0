"""Compare and count the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.fault_injection.torn.cases import CASES, Cases
from tests.fault_injection.torn.history import History, Verdict
from tests.fault_injection.torn.judge import judge_content, judge_file
from tests.fault_injection.torn.other_files import mark_cases, snapshot_cases

COLUMNS = ("cases", "whole", "torn", "damaged", "wrong", "dropped")
"""``dropped``: published lines were cut without the file being called damaged."""


Row = Callable[[], Iterable[tuple[Verdict, Verdict, int]]]
"""Yields expected verdict, given verdict and number of published lines, case by case."""


def tally(verdicts: Iterable[tuple[Verdict, Verdict, int]]) -> Counter[str]:
    """Count the verdicts, the wrong ones, and dropped published lines."""
    counts: Counter[str] = Counter()
    for right, given, marked in verdicts:
        counts["cases"] += 1
        counts[given.kind] += 1
        counts["wrong"] += right != given
        counts["dropped"] += given.kind != "damaged" and given.kept < marked
    return counts


def log_verdicts(
    history: History, cases: Cases, stride: int
) -> Iterator[tuple[Verdict, Verdict, int]]:
    """Yield the verdicts on cases in memory."""
    for content, marked in cases(history, stride):
        yield (
            history.expected_verdict(content, marked),
            judge_content(history, content, marked),
            marked,
        )


def file_verdicts(
    directory: Path, history: History, cases: Cases, stride: int
) -> Iterator[tuple[Verdict, Verdict, int]]:
    """Yield the verdicts on cases in files, opened as a server opens them."""
    directory.mkdir()
    for content, marked in cases(history, stride):
        given = judge_file(directory / "events.jsonl", history, content, marked)
        yield history.expected_verdict(content, marked), given, marked


def rows(history: History, directory: Path, stride: int) -> Mapping[str, Row]:
    """The rows of the table, by the name of the damage."""
    count = len(history.lines)
    found: dict[str, Row] = {}
    for number, (name, cases) in enumerate(CASES.items()):
        room = directory / str(number)
        found[name] = partial(log_verdicts, history, cases, stride)
        found[f"{name}, as a file"] = partial(file_verdicts, room, history, cases, stride * 797)
    found["the mark"] = lambda: (
        (right, given, count) for right, given in mark_cases(directory / "mark", history, stride)
    )
    found["a snapshot"] = lambda: (
        (right, given, 0) for right, given in snapshot_cases(directory / "snapshots", stride)
    )
    return found
