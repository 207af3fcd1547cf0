"""The fast part of `log verify`: check segments of a log in parallel processes.

A log is cut into segments of about 8 MiB. The line before a segment states the hash that the
segment must continue, so worker processes check segments independently. The scan ends before the
first segment that is not intact: from there on `events.verification.verify` checks line by line and
reports what is wrong.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO

import msgspec

from events.codec import MAX_LINE_BYTES, parse
from events.errors import DamagedLog
from events.log.file.segments import ignore_damage, open_stream
from events.record import START, Record
from events.sealing import Keyring
from events.transparency.merkle import Frontier, leaf_hash
from events.verification.checks import MissingKeys, check_lines, position_record
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary

SEGMENT_BYTES = 1 << 23
_CHUNK_BYTES = 1 << 16
"""Small enough that a chunk and its decoded lines stay in the processor's cache."""

_LONGEST_LINE = MAX_LINE_BYTES + len(b"\n")


class Segment(msgspec.Struct, frozen=True):
    """Intact lines that follow the record ``before``, up to ``last``.

    Both records have position, hash, source, time and end only. ``subtrees`` are those of the
    Merkle tree, as far as `ScanOptions.leaves` asks for them. ``declared`` and ``undeclared`` as in
    `CheckedLines`.
    """

    before: Record
    last: Record
    subtrees: list[tuple[int, bytes]]
    missing_keys: MissingKeys
    declared: Sequence[tuple[SchemaDeclared, str]] = ()
    undeclared: frozenset[str] = frozenset()


class ScanOptions(msgspec.Struct, frozen=True):
    """Options of a scan: compute the tree over the first ``leaves``, and check seals.

    ``keys`` maps each user (``users/7``) to their key; with ``None`` no seal is opened. Of resources
    outside the vocabulary only the verbs are checked.
    """

    vocabulary: Vocabulary

    leaves: int = 0
    keys: Mapping[str, bytes] | None = None
    segment_bytes: int = SEGMENT_BYTES


def keyring_of(options: ScanOptions) -> Keyring:
    """The keys of the options, as ciphers."""
    keyring = Keyring()
    for subject, key in (options.keys or {}).items():
        keyring.add(subject, key)
    return keyring


def scan(  # noqa: PLR0917 - where, what and how
    path: Path,
    end: int,
    options: ScanOptions,
    processes: int = 1,
    after: Record = START,
    kinds: Iterable[str] = (),
) -> Iterator[Segment]:
    """Yield the segments up to byte ``end``, in order, until one is not intact.

    The first one follows the record ``after``; the lines up to there declare the ``kinds``. Raises
    `OSError`.
    """
    with open_stream(path, ignore_damage) as (file, _):
        starts = list(_segment_starts(file, after.end, end, options.segment_bytes))
    cuts = list(pairwise((*starts, end)))
    last, kinds = after, {*kinds}
    for segment in _scan_all(path, cuts, options, min(processes, len(cuts))):
        # A segment trusts the line before it, so compare that with the result of the segment before.
        if segment is None or segment.before != last or segment.undeclared - kinds:
            return
        last = segment.last
        kinds.update(event.kind for event, _ in segment.declared)
        yield segment


def _scan_all(
    path: Path, cuts: list[tuple[int, int]], options: ScanOptions, processes: int
) -> Iterator[Segment | None]:
    if processes <= 1 or not _can_be_sent(options):
        for start, end in cuts:
            yield _scan_segment(path, start, end, options)
        return
    pool = ProcessPoolExecutor(processes, get_context("forkserver"), _ignore_interrupts)
    try:
        futures = [pool.submit(_scan_segment, path, start, end, options) for start, end in cuts]
        for future in futures:
            yield future.result()
    except BrokenProcessPool:
        yield None
    finally:
        pool.shutdown(cancel_futures=True)


def _can_be_sent(options: ScanOptions) -> bool:
    """Whether another process can get the options; an ``upcast`` may be a lambda."""
    try:
        pickle.dumps(options)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started the pool ends it.


def _segment_starts(file: BinaryIO, start: int, end: int, segment_bytes: int) -> Iterator[int]:
    """Yield offsets of segments: starts of lines, except in a line that is too long."""
    while start < end:
        yield start
        file.seek(start + segment_bytes - 1)
        file.readline(_LONGEST_LINE)
        start = file.tell()


def _scan_segment(path: Path, start: int, end: int, options: ScanOptions) -> Segment | None:
    """The segment between two bytes, or ``None`` if it is not intact."""
    keyring, missing = keyring_of(options), MissingKeys()
    vocabulary, declared = options.vocabulary, list[tuple[SchemaDeclared, str]]()
    undeclared = set[str]()
    try:
        with open_stream(path) as (file, _):
            before = last = _record_before(file, start)
            tree = Frontier(before.position)
            for chunk in _chunks(file, start, end):
                collected = None if options.keys is None else missing
                checked = check_lines(chunk, last, keyring, collected, vocabulary)
                last = checked.last
                undeclared |= checked.undeclared - {event.kind for event, _ in declared}
                vocabulary = vocabulary.after_all(checked.declared)
                declared += checked.declared
                if tree.size < options.leaves:
                    for line in chunk.split(b"\n")[: options.leaves - tree.size]:
                        tree.add(leaf_hash(line))
    except (ValueError, DamagedLog):
        return None
    return Segment(before, last, tree.subtrees, missing, declared, frozenset(undeclared))


def _record_before(file: BinaryIO, start: int) -> Record:
    """The position record of the line before byte ``start``; raises `ValueError`."""
    if start == 0:
        return START
    from_ = max(start - _LONGEST_LINE - 1, 0)
    file.seek(from_)
    *_, line, nothing = b"\n".join((b"", file.read(start - from_))).rsplit(b"\n", 2)
    if nothing:
        raise ValueError("a line is too long")
    stated = parse(line)
    return position_record(
        int(stated.id), bytes.fromhex(stated.hash), stated.source, stated.time, start
    )


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield runs of whole lines, without the last newline of each.

    Raises `ValueError` if the bytes do not end with a newline.
    """
    file.seek(start)
    left, rest = end - start, b""
    while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
        left -= len(chunk)
        lines, newline, rest = (rest + chunk).rpartition(b"\n")
        if newline:
            yield lines
        elif len(rest) > _LONGEST_LINE:
            break
    if left or rest:
        raise ValueError("it does not end with a line")
