"""Verify that the lines of a log file are unchanged, complete and in order.

Verification only reads. Beside a running server it judges what the mark calls published; bytes past
the mark are being written or were left by a crash, and recovery judges them. Without a mark every
byte must be intact: a torn tail then means that the file is an incomplete copy.

Intact segments go through the parallel scan (`events.verification.scan`). From the first one on
that is not, `events.verification.diagnosis` judges line by line, through to the end of the log, so
that the report lists all damage. See docs/decisions/verification.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from events.codec import MAX_LINE_BYTES
from events.errors import DamagedLog, MissingEvents
from events.log.file.commit_index import CommitPoint, read_commit_point
from events.log.file.paths import commit_index_path
from events.log.file.segments import SegmentedFile, ignore_damage, open_stream
from events.record import START
from events.transparency.merkle import Frontier, leaf_hash
from events.transparency.signed_note import TreeHead
from events.verification.checks import MissingKeys
from events.verification.diagnosis import (
    Expecting,
    Judgement,
    Mode,
    Seals,
    judge_line,
    judge_unreadable,
)
from events.verification.newer import NewestSegment
from events.verification.report import MAX_FINDINGS, Finding, Kind, LastGood, Report
from events.verification.scan import SEGMENT_BYTES, ScanOptions, Segment, keyring_of, scan
from events.vocabulary.vocabulary import Vocabulary

_LONGEST_LINE = MAX_LINE_BYTES + len(b"\n")
_LINES_PER_PROGRESS = 4096


def verify(
    path: Path,
    *,
    vocabulary: Vocabulary,
    checkpoint: TreeHead | None = None,
    keys: Mapping[str, bytes] | None = None,
    erased: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
    processes: int | None = None,
    segment_bytes: int = SEGMENT_BYTES,
) -> Report:
    """Verify the log file at ``path``, with the mark beside it if there is one.

    With a checkpoint, the file must be that log, or one that continues it. With the keys of the
    vault, by user (``users/7``), each seal must open if its key is among them, and only users that
    are erased, in the log or in ``erased``, may be without one. ``processes`` is the number of
    worker processes, by default one a core. ``segment_bytes`` is the size of the parallel scan's
    segments; 0 switches the scan off, and the report is the same. Resources outside the
    ``vocabulary`` must be declared in the log, and only their verbs are checked.

    ``progress`` is called now and then with the number of bytes judged so far. Raises `OSError` if
    the file cannot be read.
    """
    progress = progress or _ignore_progress
    leaves = checkpoint.size if checkpoint else 0
    options = ScanOptions(vocabulary, leaves, keys, segment_bytes)
    # The size is read before the mark, so that bytes past the mark were not published in between;
    # and again after it, so that bytes that are still absent then are really gone.
    newest = NewestSegment.find(path)
    with open_stream(path, ignore_damage) as (_, size):
        run = _Verification(commit_index_path(path), options)
    with closing(SegmentedFile.open(path, on_damage=run.report_segment)) as log:
        file = log.stream()
        end = size if run.published is None else min(run.published.offset, log.size)
        if segment_bytes and not run.findings:
            for segment in scan(path, end, options, processes or len(os.sched_getaffinity(0))):
                run.add_segment(segment)
                progress(segment.last.end)
        start = run.mode.good.end
        file.seek(start)
        for count, (offset, line) in enumerate(_lines(file, start, end)):
            run.check_line(line, offset)
            if count % _LINES_PER_PROGRESS == 0:
                progress(offset)
        judged = file.tell()
        if excess := newest.excess(log.first, run.mode.position, run.published, file):
            run.report_segment(excess)
    run.compare_with_mark(judged, size)
    run.compare_with_erasures(erased)
    if checkpoint is not None:
        run.compare_with_checkpoint(checkpoint)
    progress(judged)
    good = run.mode.good
    head = LastGood(good.position, good.hash.hex())
    is_marked = run.published is not None
    seals = run.opened_seals
    return Report(run.lines, judged, head, is_marked, run.findings, run.left_off, seals)


def _ignore_progress(_: int) -> None:
    """The default for ``progress``."""


def _lines(file: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield offsets and lines between two bytes; of too long lines the beginning."""
    while offset < end and (line := file.readline(min(_LONGEST_LINE, end - offset))):
        yield offset, line
        offset += len(line)
        while len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(min(_LONGEST_LINE, end - offset))
            offset += len(line)


class _Verification:
    """The state of one pass over a log."""

    def __init__(self, mark: Path, options: ScanOptions) -> None:
        self.mode: Mode = Expecting(START)
        self.lines = 0
        self.findings: list[Finding] = []
        self.left_off = 0
        self.published: CommitPoint | None = None
        self._leaves = options.leaves
        self._tree = Frontier()
        self._missing = MissingKeys()
        missing = None if options.keys is None else self._missing
        self._seals = Seals(keyring_of(options), missing, options.vocabulary)
        try:
            self.published = read_commit_point(mark)
        except FileNotFoundError:
            pass
        except DamagedLog as error:
            self._report("mark", 0, 0, error.reason)

    @property
    def opened_seals(self) -> int:
        """The number of seals that the keys opened."""
        return self._missing.opened

    def _report(
        self, kind: Kind, position: int, offset: int, detail: str, subject: str = ""
    ) -> None:
        self._add(Finding(kind, position, offset, detail, subject))

    def _add(self, finding: Finding) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)
        else:
            self.left_off += 1

    def report_segment(self, error: DamagedLog) -> None:
        """Report a closed segment that is missing or damaged."""
        kind: Kind = "missing" if isinstance(error, MissingEvents) else "damaged"
        self._report(kind, error.position, error.offset or 0, error.reason)

    def add_segment(self, segment: Segment) -> None:
        """Add lines that the scan found intact."""
        self.lines += segment.last.position - segment.before.position
        self.mode = Expecting(segment.last)
        self._missing.merge(segment.missing_keys)
        self._seals.declare(segment.declared)
        for height, digest in segment.subtrees:
            self._tree.add(digest, height)

    def check_line(self, line: bytes, offset: int) -> None:
        """Judge a line, or the bytes at the end that have no newline."""
        if not line.endswith(b"\n"):
            self._check_truncated(line, offset)
            return
        if self._tree.size < self._leaves:
            self._tree.add(leaf_hash(line[:-1]))
        self._apply(judge_line(self.mode, line[:-1], offset, self._seals))
        if isinstance(self.mode, Expecting):
            self.lines += 1

    def _apply(self, judgement: Judgement) -> None:
        self.mode, findings = judgement
        for finding in findings:
            self._add(finding)

    def _check_truncated(self, line: bytes, offset: int) -> None:
        """Judge bytes without a newline: a line that is too long, or the last one."""
        if len(line) == _LONGEST_LINE:
            reason = f"it is longer than {MAX_LINE_BYTES} bytes"
            self._apply(judge_unreadable(self.mode, offset, reason))
        elif self.published is None:
            detail = f"{len(line)} bytes without a newline"
            self._report("torn-tail", self.mode.position + 1, offset, detail)
        elif offset + len(line) == self.published.offset:
            self._apply(judge_unreadable(self.mode, offset, "it has no newline"))

    def compare_with_mark(self, judged: int, size: int) -> None:
        """Check that the mark belongs to this file, and report the bytes past it."""
        if self.published is None:
            return
        end, head = self.published.offset, self.published.head
        good = self.mode.good
        if judged < end:
            detail = f"{end - judged} published bytes are gone"
            self._report("missing", self.mode.position + 1, judged, detail)
        elif isinstance(self.mode, Expecting) and (good.position, good.hash) != (
            head.position,
            head.hash,
        ):
            detail = f"the mark names another record at position {head.position}"
            self._report("mark", good.position, end, detail)
        if size > end:
            detail = f"{size - end} bytes past the mark: being written, or left by a crash"
            self._report("torn-tail", head.position + 1, end, detail)

    def compare_with_erasures(self, erased: Collection[str]) -> None:
        """Check that only erased users are without a key."""
        for subject in sorted(self._missing.lines.keys() - self._missing.erased - set(erased)):
            position, offset = self._missing.lines[subject]
            detail = f"there is no key for {subject}, who is not erased"
            self._report("key", position, offset, detail, subject)

    def compare_with_checkpoint(self, checkpoint: TreeHead) -> None:
        """Check that this is the log of a checkpoint, as far as the checkpoint goes."""
        tree = self._tree
        detail = ""
        if tree.size < checkpoint.size:
            detail = f"the checkpoint is of {checkpoint.size} events, the file has {tree.size}"
        elif tree.root != checkpoint.root:
            detail = f"the first {checkpoint.size} events are not those of the checkpoint"
        if detail:
            self._report("checkpoint", min(tree.size, checkpoint.size), 0, detail)
