"""Planted bugs of the closing of segments; see `tests.fault_injection.simulation.planted`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

from events.io import files
from events.log.file import closed, closing
from events.log.file import log as jsonl
from events.log.file.commit_index import CommitPoint, read_commit_point
from events.log.file.log import JsonlLog
from events.log.file.recovery import recover_tail
from events.log.file.segments import SegmentedFile
from tests.fault_injection.simulation.bugs import Bug, instead, nothing


class _Unsynced:
    """The system calls without those that sync a file."""

    def __init__(self, calls: object) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name in {"fsync", "fdatasync"}:
            return lambda _: None
        return getattr(self._calls, name)


def _without_syncs(*modules: ModuleType) -> Bug:
    """Leave out the syncs of files that these modules call themselves."""

    @contextmanager
    def bug() -> Iterator[None]:
        with ExitStack() as stack:
            for module in modules:
                calls = _Unsynced(vars(module)["os"])
                stack.enter_context(mock.patch.object(module, "os", calls))
            yield

    return bug


def _sync_unless_cut(path: Any) -> None:
    """Sync a directory unless its log was cut."""
    if not (path / "events.jsonl.segments").exists():
        files.sync_directory(path)


def _cut_as_copied(log: JsonlLog, replacement: Any, _: int) -> None:
    """Leave out the lines that were appended since they were copied."""
    replacement.rename(log.path)


def _read_past_the_mark(mark: Any) -> CommitPoint:
    """Take whole lines for published ones."""
    published = read_commit_point(mark)
    file = SegmentedFile.open(mark.with_name(mark.name.removesuffix(".mark")))
    try:
        tail = recover_tail(file.stream(published.offset), published.offset, published.head)
    finally:
        file.close()
    return CommitPoint(tail.offset, tail.head)


PLANTED_CLOSINGS: Mapping[str, Bug] = {
    "close a segment without a sync": _without_syncs(closed, closing),
    "close a segment without its name": instead(closing, "sync_directory", nothing),
    "cut to an unsynced file": _without_syncs(closing, jsonl),
    "cut without a sync of the last lines": _without_syncs(jsonl),
    "cut without the last lines": instead(JsonlLog, "cut", _cut_as_copied),
    "forget the name of the cut file": instead(jsonl, "sync_directory", _sync_unless_cut),
    "close what is not published": instead(closing, "read_commit_point", _read_past_the_mark),
}
"""The planted bugs by their description."""
