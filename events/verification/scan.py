"""Whether a stretch of a log is whole: at the speed of a core, and no word on what is wrong.

A log is cut into stretches, which processes of their own look through side by side. What is not
whole here is judged by `events.verification.verify`, line by line, and that one alone says what it finds.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO

import msgspec

from events.codec import MAX_LINE_BYTES, check_link, check_seal, parse, parse_all
from events.record import START, Record, all_timestamps_valid
from events.sealing import Keyring
from events.transparency.merkle import Frontier, leaf_hash
from events.vocabulary.users import UserErased
from events.well_formed import check_well_formed, data_timestamps

SEGMENT_BYTES = 1 << 23
_CHUNK_BYTES = 1 << 16
"""So few that what is made of them stays in the processor's cache."""

_LONGEST = MAX_LINE_BYTES + len(b"\n")


class MissingKeys(msgspec.Struct):
    """Of seals without a key: the first line of each user's, and who was erased.

    ``lines`` has position and byte offset by user (``users/7``).
    """

    lines: dict[str, tuple[int, int]] = {}
    erased: set[str] = set()

    def take(self, sealed_for: str, subject: str, is_erasure: bool, place: tuple[int, int]) -> None:
        """Note what a line says, for whose seal, if it has one, there is no key."""
        if is_erasure:
            self.erased.add(subject)
        if sealed_for:
            self.lines.setdefault(sealed_for, place)

    def add(self, later: MissingKeys) -> None:
        """Note what was noted of later lines."""
        self.lines = later.lines | self.lines
        self.erased |= later.erased


class Segment(msgspec.Struct, frozen=True):
    """Whole lines that follow the record ``before``, up to ``last``.

    Of both records position, hash, source, time and end are told. ``subtrees`` are those of the
    tree, as far as its leaves were asked for.
    """

    before: Record
    last: Record
    subtrees: list[tuple[int, bytes]]
    sealed: MissingKeys


class ScanOptions(msgspec.Struct, frozen=True):
    """What is asked of a log: the tree over its first ``leaves``, and its seals.

    ``keys`` has the key of each user (``users/7``); with ``None`` no seal is looked into.
    """

    leaves: int = 0
    keys: Mapping[str, bytes] | None = None


def scan(path: Path, end: int, question: ScanOptions, processes: int = 1) -> Iterator[Segment]:
    """The stretches up to byte ``end``, in order, as long as they are whole and follow each other.

    Raises `OSError`.
    """
    with path.open("rb") as file:
        starts = list(_starts(file, end))
    cuts = list(pairwise((*starts, end)))
    last = START
    for stretch in _all(path, cuts, question, min(processes, len(cuts))):
        # Both are told by the same line, and yet: what is not compared is not known.
        if stretch is None or stretch.before != last:
            return
        last = stretch.last
        yield stretch


def _all(
    path: Path, cuts: list[tuple[int, int]], question: ScanOptions, processes: int
) -> Iterator[Segment | None]:
    if processes <= 1:
        for start, end in cuts:
            yield _whole(path, start, end, question)
        return
    pool = ProcessPoolExecutor(processes, get_context("forkserver"), _ignore_interrupts)
    try:
        waiting = [pool.submit(_whole, path, start, end, question) for start, end in cuts]
        for one in waiting:
            yield one.result()
    except BrokenProcessPool:
        yield None
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Who started the pool ends it.


def _starts(file: BinaryIO, end: int) -> Iterator[int]:
    """Where stretches begin: with a line, save where one is too long."""
    start = 0
    while start < end:
        yield start
        file.seek(start + SEGMENT_BYTES - 1)
        file.readline(_LONGEST)
        start = file.tell()


def _whole(path: Path, start: int, end: int, question: ScanOptions) -> Segment | None:
    """The stretch between two bytes, if all of its lines are whole and follow each other."""
    keyring, sealed = Keyring(), MissingKeys()
    for subject, key in (question.keys or {}).items():
        keyring.add(subject, key)
    with path.open("rb") as file:
        try:
            before = last = _before(file, start)
            tree = Frontier(before.position)
            for chunk in _chunks(file, start, end):
                last = _follow(chunk, last, keyring, None if question.keys is None else sealed)
                if tree.size < question.leaves:
                    for line in chunk.split(b"\n")[: question.leaves - tree.size]:
                        tree.add(leaf_hash(line))
        except ValueError:
            return None
    return Segment(before, last, tree.subtrees, sealed)


def _before(file: BinaryIO, start: int) -> Record:
    """What the line that ends at byte ``start`` says of itself; raises `ValueError`."""
    if start == 0:
        return START
    from_ = max(start - _LONGEST - 1, 0)
    file.seek(from_)
    *_, line, nothing = b"\n".join((b"", file.read(start - from_))).rsplit(b"\n", 2)
    if nothing:
        raise ValueError("a line is too long")
    stated = parse(line)
    return _place(int(stated.id), bytes.fromhex(stated.hash), stated.source, stated.time, start)


def _place(position: int, digest: bytes, source: str, time: str, end: int) -> Record:
    return msgspec.structs.replace(
        START, position=position, hash=digest, source=source, time=time, end=end
    )


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Whole lines, the last newline of each run left out; raises `ValueError` for a broken one."""
    file.seek(start)
    left, rest = end - start, b""
    while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
        left -= len(chunk)
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield lines
        elif len(rest) > _LONGEST:
            break
    if left or rest:
        raise ValueError("it does not end with a line")


def _follow(chunk: bytes, last: Record, keyring: Keyring, sealed: MissingKeys | None) -> Record:
    """The last record of lines that follow ``last``; raises `ValueError`."""
    lines = chunk.split(b"\n")
    if max(map(len, lines)) > MAX_LINE_BYTES:
        raise ValueError("a line is too long")
    position, digest, source, time, end = (
        last.position,
        last.hash,
        last.source,
        last.time,
        last.end,
    )
    all_parsed = parse_all(chunk)
    times = [parsed.time for parsed in all_parsed]
    if not all_timestamps_valid(times + data_timestamps(parsed.data for parsed in all_parsed)):
        raise ValueError("a time is none")
    for line, parsed in zip(lines, all_parsed, strict=True):
        position += 1
        digest = check_link(line, digest)
        source = source or parsed.source
        if parsed.id != str(position) or parsed.source != source or parsed.time < time:
            raise ValueError("it does not follow the line before it")
        check_well_formed(line, parsed, parsed.data.type)
        time = parsed.time
        if sealed is not None:
            cipher = keyring.get(parsed.sealedfor)
            if cipher is not None:
                check_seal(parsed, cipher)
            else:
                is_erasure = type(parsed.data) is UserErased
                sealed.take(parsed.sealedfor, parsed.subject, is_erasure, (position, end))
        end += len(line) + 1
    return _place(position, digest, source, time, end)
