"""The offline check that every line of a log is what was written, and in its place.

It only reads. Beside a running server it judges what the mark calls published; what stands past
the mark is in flight or was left by a crash, and is for recovery to judge. Without a mark every
byte must be whole: a torn tail then means that the file is an incomplete copy.

After damage it goes on, so that all of it is listed. What a damaged line says of its own place may
be the damaged part, so the next line may continue any of the places that could be meant; where
nothing is left of a line, the next whole record is taken at its word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from events.codec import MAX_LINE_BYTES, Line, decode, link, parse, parse_all
from events.errors import DamagedLog, UnknownEvent
from events.log.file.commit_index import CommitPoint, read_commit_point
from events.log.file.paths import commit_index_path
from events.record import START, Record, all_timestamps_valid
from events.sealing import Keyring
from events.transparency.merkle import Frontier, leaf_hash
from events.transparency.signed_note import TreeHead
from events.verification.scan import MissingKeys, ScanOptions, Segment, scan
from events.vocabulary.users import UserErased
from events.well_formed import check_well_formed, data_timestamps

Kind = Literal[
    "checkpoint",
    "damaged",
    "gap",
    "key",
    "mark",
    "missing",
    "prefix",
    "shorter",
    "torn-tail",
    "unknown-event",
]
"""What can be wrong.

``damaged``: a line is not what was written. ``gap``: lines are missing in between. ``missing``:
the file is shorter than what was published. ``torn-tail``: the end is no whole line, or not yet
published. ``unknown-event``: a whole line of a newer version. ``mark``: the mark is no mark, or
speaks of another log. ``checkpoint``: the file is not the log whose checkpoint was signed.
``key``: somebody who is not erased has no key, so it is not the vault that belongs to this log.
``prefix``: a longer log, which somebody compared it with, does not begin with it. ``shorter``: the
log that it was compared with ends before it does.
"""

DAMAGE: frozenset[Kind] = frozenset({"damaged", "gap", "missing"})
"""The kinds of findings that mean that the log is not what was written."""

MAX_FINDINGS = 100
"""So many are listed; the others are only counted."""

_LONGEST = MAX_LINE_BYTES + len(b"\n")
_PROGRESS_EVERY = 4096


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong: at which position, from 1, and the byte offset where that record begins.

    ``subject`` is the user without a key, where that is what is wrong.
    """

    kind: Kind
    position: int
    offset: int
    detail: str
    subject: str = ""


class LastGood(msgspec.Struct, frozen=True):
    """The last good record: its position and its hash, 64 hex digits."""

    position: int
    hash: str


class Report(msgspec.Struct, frozen=True):
    """What the check found.

    ``lines`` counts the records that are whole and in their place, ``bytes`` what was judged,
    ``left_off`` the findings that are not listed. ``marked`` tells whether there is a mark to say
    what is published.
    """

    lines: int
    bytes: int
    head: LastGood
    marked: bool
    findings: list[Finding]
    left_off: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything published is whole: only what stands past a mark may be torn."""
        harmless = {"torn-tail"} if self.marked else set()
        return all(finding.kind in harmless for finding in self.findings)

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of what was found."""
        return {finding.kind for finding in self.findings}

    @property
    def good_up_to(self) -> int:
        """The position of the last event before the first damage; without damage, the last one."""
        damage = [one.position for one in self.findings if one.kind in DAMAGE]
        return min(damage, default=self.head.position + 1) - 1


def verify(
    path: Path,
    *,
    checkpoint: TreeHead | None = None,
    keys: Mapping[str, bytes] | None = None,
    erased: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
    processes: int | None = None,
) -> Report:
    """Check the log file at ``path``, beside which a mark may lie; reads and nothing else.

    With a checkpoint, the file must be that log, or one that continues it. With the keys of the
    vault, by user (``users/7``), every seal must open whose key is there, and only users that are
    erased, in the log or in ``erased``, may have none. ``processes`` is how many work, by default
    one for every core.

    ``progress`` is called with the number of bytes judged so far, now and then. Raises `OSError`
    where the file cannot be read.
    """
    progress = progress or _no_progress
    question = ScanOptions(checkpoint.size if checkpoint else 0, keys)
    with path.open("rb") as file:
        # Asked before the mark: what then stands past the mark was not published meanwhile. And
        # after it: what is not there then was not written meanwhile, but is gone.
        size = os.fstat(file.fileno()).st_size
        check = _Check(commit_index_path(path), question)
        there = os.fstat(file.fileno()).st_size
        end = size if check.published is None else min(check.published.offset, there)
        # What is whole goes fast; from the first stretch on that is not, every line is looked at.
        for stretch in scan(path, end, question, processes or len(os.sched_getaffinity(0))):
            check.check_segment(stretch)
            progress(stretch.last.end)
        file.seek(check.good.end)
        for count, (offset, line) in enumerate(_lines(file, check.good.end, end)):
            if line.endswith(b"\n"):
                check.check_line(line[:-1], offset)
            else:
                check.check_truncated(line, offset)
            if count % _PROGRESS_EVERY == 0:
                progress(offset)
        judged = file.tell()
    check.compare_with_mark(judged, size)
    check.compare_with_erasures(erased)
    if checkpoint is not None:
        check.compare_with_checkpoint(checkpoint)
    progress(judged)
    head = LastGood(check.good.position, check.good.hash.hex())
    marked = check.published is not None
    return Report(check.lines, judged, head, marked, check.findings, check.left_off)


def _no_progress(_: int) -> None:
    """Nobody watches."""


def _lines(file: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Offsets and lines from one byte up to another; of a line that is too long, its beginning."""
    while offset < end and (line := file.readline(min(_LONGEST, end - offset))):
        yield offset, line
        offset += len(line)
        while len(line) == _LONGEST and not line.endswith(b"\n"):
            line = file.readline(min(_LONGEST, end - offset))
            offset += len(line)


class _Check:
    """One pass over a log."""

    def __init__(self, mark: Path, question: ScanOptions) -> None:
        self.lines = 0
        self._question = question
        self._keyring = Keyring()
        for subject, key in (question.keys or {}).items():
            self._keyring.add(subject, key)
        self._sealed = MissingKeys()
        self._tree = Frontier()
        self.findings: list[Finding] = []
        self.left_off = 0
        self.good = START
        self.published: CommitPoint | None = None
        self._position = 0
        # What the next line may continue; where there is nothing, it is taken at its word.
        self._before: Sequence[Record] = (START,)
        try:
            self.published = read_commit_point(mark)
        except FileNotFoundError:
            pass
        except DamagedLog as error:
            self._find("mark", 0, 0, error.reason)

    def _find(self, kind: Kind, position: int, offset: int, detail: str, subject: str = "") -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, position, offset, detail, subject))
        else:
            self.left_off += 1

    def check_segment(self, stretch: Segment) -> None:
        """Take in lines that are known to be whole."""
        self.lines += stretch.last.position - stretch.before.position
        self.good = stretch.last
        self._position = stretch.last.position
        self._before = (stretch.last,)
        self._sealed.add(stretch.sealed)
        for height, digest in stretch.subtrees:
            self._tree.add(digest, height)

    def check_line(self, line: bytes, offset: int) -> None:
        """Judge a line that had its newline."""
        if self._tree.size < self._question.leaves:
            self._tree.add(leaf_hash(line))
        reason = "it is no event"
        for last in self._before:
            try:
                (record,) = decode((line,), self._keyring, last)
            except DamagedLog as error:
                reason = error.reason
                continue
            except UnknownEvent as error:
                self._find("unknown-event", last.position + 1, offset, str(error))
                record = _as_stated(parse(line))
            else:
                flaw = _flaw(line, record)
                if flaw:
                    self._find("damaged", record.position, offset, flaw)
            self._accept(record, offset)
            return
        try:
            stated = _as_stated(parse(line))
        except ValueError as error:
            self._unreadable(offset, str(error))
            return
        if self._before:
            self._discontinuity(line, stated, offset, reason)
        else:
            self._accept(stated, offset)

    def _accept(self, record: Record, offset: int) -> None:
        before = self.good
        if before.source not in {"", record.source}:
            detail = f"its source is {record.source!r}, that of the log {before.source!r}"
            self._find("damaged", record.position, offset, detail)
        if not all_timestamps_valid([record.time]):
            self._find("damaged", record.position, offset, f"its time is {record.time!r}")
            # What comes next is compared with the last time that was one.
            record = msgspec.structs.replace(record, time=before.time)
        if record.time < before.time:
            detail = f"its time {record.time} is earlier than {before.time} before it"
            self._find("damaged", record.position, offset, detail)
        if self._question.keys is not None and record.sealedfor not in self._keyring:
            is_erasure = type(record.event) is UserErased
            place = record.position, offset
            self._sealed.take(record.sealedfor, record.subject, is_erasure, place)
        self.lines += 1
        self.good = record
        self._position = record.position
        self._before = (record,)

    def _unreadable(self, offset: int, reason: str) -> None:
        """Nothing can be told from this line, not even how many records it was."""
        self._position += 1
        self._find("damaged", self._position, offset, reason)
        self._before = ()

    def _discontinuity(self, line: bytes, stated: Record, offset: int, reason: str) -> None:
        """A whole record that does not continue the chain: damaged, or lines before it are gone."""
        expected = self._position + 1
        if stated.position > expected:
            detail = f"position {expected} is due, but the line says {stated.position}"
            self._find("gap", expected, offset, detail)
        else:
            self._find("damaged", expected, offset, reason)
        body = line[: line.rindex(b',"hash":')]
        hashes = {stated.hash, *(link(last.hash, body) for last in self._before)}
        self._before = [
            msgspec.structs.replace(self.good, position=position, hash=digest)
            for position in {expected, stated.position}
            for digest in hashes
        ]
        self._position = expected

    def check_truncated(self, line: bytes, offset: int) -> None:
        """Judge what has no newline: a line that is too long, or the last one."""
        if len(line) == _LONGEST:
            self._unreadable(offset, f"it is longer than {MAX_LINE_BYTES} bytes")
        elif self.published is None:
            detail = f"{len(line)} bytes without a newline"
            self._find("torn-tail", self._position + 1, offset, detail)
        elif offset + len(line) == self.published.offset:
            self._unreadable(offset, "it has no newline")

    def compare_with_mark(self, judged: int, size: int) -> None:
        """Whether the mark speaks of this file, and what stands past it."""
        if self.published is None:
            return
        end, head = self.published.offset, self.published.head
        if judged < end:
            detail = f"{end - judged} published bytes are gone"
            self._find("missing", self._position + 1, judged, detail)
        elif self._before == (self.good,) and (self.good.position, self.good.hash) != (
            head.position,
            head.hash,
        ):
            detail = f"the mark speaks of another record at position {head.position}"
            self._find("mark", self.good.position, end, detail)
        if size > end:
            detail = f"{size - end} bytes past the mark: in flight, or left by a crash"
            self._find("torn-tail", head.position + 1, end, detail)

    def compare_with_erasures(self, erased: Collection[str]) -> None:
        """Whether only erased users are without a key."""
        for subject in sorted(self._sealed.lines.keys() - self._sealed.erased - set(erased)):
            position, offset = self._sealed.lines[subject]
            detail = f"there is no key for {subject}, who is not erased"
            self._find("key", position, offset, detail, subject)

    def compare_with_checkpoint(self, checkpoint: TreeHead) -> None:
        """Whether this is the log of a checkpoint, as far as that goes."""
        tree = self._tree
        detail = ""
        if tree.size < checkpoint.size:
            detail = f"the checkpoint is of {checkpoint.size} events, the file has {tree.size}"
        elif tree.root != checkpoint.root:
            detail = f"the first {checkpoint.size} events are not those of the checkpoint"
        if detail:
            self._find("checkpoint", min(tree.size, checkpoint.size), 0, detail)


def _flaw(line: bytes, record: Record) -> str:
    """What is wrong with the form of a line of today's vocabulary, or nothing."""
    if record.written_as or not all_timestamps_valid([record.time]):
        return ""  # Of a type that was renamed, or found already.
    try:
        (typed,) = parse_all(line)
        check_well_formed(line, typed, record.event.type)
    except ValueError as error:
        return str(error)
    return (
        ""
        if all_timestamps_valid(data_timestamps([typed.data]))
        else "a time in its data does not exist"
    )


def _as_stated(line: Line) -> Record:
    """The record that a line says it is, the data aside; raises `ValueError`."""
    try:
        position, digest = int(line.id), bytes.fromhex(line.hash)
    except ValueError:
        raise ValueError("its id is no number, or its hash no hash") from None
    return Record(
        position, line.source, line.subject, line.time, line.actor, START.event, hash=digest
    )
