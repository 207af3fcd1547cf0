"""Judge one line at a time: is it intact, what is wrong, what may follow it.

The verifier continues after damage, so that it lists all of it. A damaged line may misstate its own
place, so there are three modes of what the next line must continue::

                      intact line
                 ┌──────────────────┐
                 ▼                  │
        ┌─ Expecting(last) ─────────┘◀────────────────────────────────┐
        │        │                                                    │
        │        │ a readable line that does not continue `last`      │ a line continues a
        │        ▼                                                    │ candidate
        │     Unsure(candidates) ─────────────────────────────────────┤
        │        │   ▲    │ a readable line that continues none       │
        │        │   └────┘                                           │
        │        │ an unreadable line                                 │ any readable line,
        │        ▼                                                    │ as it states its place
        └────▶ Lost ──────────────────────────────────────────────────┘

`judge_line` and `judge_unreadable` are the transitions: from a mode and a line to the findings and
the next mode. A line counts as a record of the log if the next mode is `Expecting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from events.codec import check_seal, decode, link, parse
from events.errors import DamagedLog, UnknownEvent
from events.record import START, Line, Record, all_timestamps_valid
from events.sealing import Keyring
from events.verification.checks import MissingKeys, check_lines
from events.verification.report import Finding
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.users import UserErased
from events.vocabulary.vocabulary import Vocabulary, is_undeclared
from events.well_formed import check_well_formed, data_timestamps


class Expecting(msgspec.Struct, frozen=True):
    """The next line must continue ``last``, the accepted record of the line before."""

    last: Record

    @property
    def good(self) -> Record:
        """The last good record."""
        return self.last

    @property
    def position(self) -> int:
        """The position of the last line."""
        return self.last.position

    @property
    def candidates(self) -> Sequence[Record]:
        """The records that the next line may continue."""
        return (self.last,)


class Unsure(msgspec.Struct, frozen=True):
    """After damage or a gap: the next line may continue any of the candidates.

    ``position`` is the one that the line before should have had.
    """

    good: Record
    position: int
    candidates: Sequence[Record]


class Lost(msgspec.Struct, frozen=True):
    """After an unreadable line: the next readable one is accepted as it states."""

    good: Record
    position: int
    candidates: ClassVar[Sequence[Record]] = ()


Mode = Expecting | Unsure | Lost
Judgement = tuple[Mode, list[Finding]]


class Seals(msgspec.Struct):
    """The keys for seals; ``missing`` collects users without one, if not ``None``.

    ``vocabulary`` is that of the next line, and ``kinds`` are those declared before it.
    """

    keyring: Keyring
    missing: MissingKeys | None
    vocabulary: Vocabulary
    kinds: set[str] = set()

    def declare(self, declared: Iterable[tuple[SchemaDeclared, str]]) -> None:
        """Continue with the vocabulary after declarations."""
        declared = list(declared)
        self.vocabulary = self.vocabulary.after_all(declared)
        self.kinds.update(event.kind for event, _ in declared)


def judge_line(mode: Mode, line: bytes, offset: int, seals: Seals) -> Judgement:
    """Judge the line (without its newline) that begins at a byte offset."""
    for last in mode.candidates:
        try:
            checked = check_lines(line, last, seals.keyring, seals.missing, seals.vocabulary)
        except ValueError:
            continue
        if checked.undeclared <= seals.kinds:
            seals.declare(checked.declared)
            return Expecting(checked.last), []
    return _diagnose(mode, line, offset, seals)


def judge_unreadable(mode: Mode, offset: int, reason: str) -> Judgement:
    """Report a line of which nothing can be read, not even how many records it was."""
    position = mode.position + 1
    return Lost(mode.good, position), [Finding("damaged", position, offset, reason)]


def _diagnose(mode: Mode, line: bytes, offset: int, seals: Seals) -> Judgement:
    """Find the reason why a line is not intact after any candidate."""
    reason = "it is not an event"
    findings: list[Finding] = []
    for last in mode.candidates:
        try:
            (record,) = decode((line,), seals.keyring, seals.vocabulary, last)
        except DamagedLog as error:
            reason = error.reason
            continue
        except UnknownEvent as error:
            findings.append(Finding("unknown-event", last.position + 1, offset, str(error)))
            record = _stated_record(line, offset)
        else:
            if flaw := _flaw(line, record, seals):
                findings.append(Finding("damaged", record.position, offset, flaw))
            elif is_undeclared(record.event, seals.kinds):
                detail = f"position {record.position}: event type {record.event.type!r} is unknown"
                findings.append(Finding("unknown-event", record.position, offset, detail))
            if isinstance(record.event, SchemaDeclared):
                collection = record.subject.partition("/")[2]
                seals.declare([(record.event, collection)])
        return _accept(mode.good, record, offset, findings, seals)
    try:
        stated = _stated_record(line, offset)
    except ValueError as error:
        return judge_unreadable(mode, offset, str(error))
    if isinstance(mode, Lost):
        return _accept(mode.good, stated, offset, findings, seals)
    return _discontinuity(mode, line, stated, offset, reason)


def _accept(
    good: Record, record: Record, offset: int, findings: list[Finding], seals: Seals
) -> Judgement:
    """Accept a record in spite of its findings, and compare it with the last good one."""
    details = []
    if good.source not in {"", record.source}:
        details.append(f"its source is {record.source!r}, that of the log {good.source!r}")
    if not all_timestamps_valid([record.time]):
        details.append(f"its time is {record.time!r}")
        # The next line is compared with the last time that was valid.
        record = replace(record, time=good.time)
    if record.time < good.time:
        details.append(f"its time {record.time} is earlier than {good.time} before it")
    findings += [Finding("damaged", record.position, offset, detail) for detail in details]
    if seals.missing is not None and record.sealedfor not in seals.keyring:
        is_erasure = type(record.event) is UserErased
        place = record.position, offset
        seals.missing.record_line(record.sealedfor, record.subject, is_erasure, place)
    return Expecting(record), findings


def _discontinuity(
    mode: Expecting | Unsure, line: bytes, stated: Record, offset: int, reason: str
) -> Judgement:
    """Report a readable line that breaks the chain: damage, or a gap before it."""
    expected = mode.position + 1
    if stated.position > expected:
        detail = f"position {expected} is due, but the line states {stated.position}"
        finding = Finding("gap", expected, offset, detail)
    else:
        finding = Finding("damaged", expected, offset, reason)
    # Position or hash may be the damaged part, so the next line may continue any combination.
    body = line[: line.rindex(b',"hash":')]
    hashes = {stated.hash, *(link(last.hash, body) for last in mode.candidates)}
    candidates = [
        replace(mode.good, position=position, hash=digest, end=stated.end)
        for position in {expected, stated.position}
        for digest in hashes
    ]
    return Unsure(mode.good, expected, candidates), [finding]


def _flaw(line: bytes, record: Record, seals: Seals) -> str:
    """The fault in the form of a line or in what is sealed on it, or an empty text."""
    if not all_timestamps_valid([record.time]):
        return ""  # `_accept` reports it.
    try:
        (typed,) = seals.vocabulary.parse_all(line)
        check_well_formed(line, typed, record.event.type)
        cipher = seals.keyring.get(record.sealedfor)
        if cipher is not None:
            check_seal(typed, cipher, seals.vocabulary)
    except ValueError as error:
        return str(error)
    is_valid = all_timestamps_valid(data_timestamps([typed.data]))
    return "" if is_valid else "a time in its data does not exist"


def _stated_record(line: bytes, offset: int) -> Record:
    """The record that a line states, without its data; raises `ValueError`."""
    parsed: Line = parse(line)
    try:
        position, digest = int(parsed.id), bytes.fromhex(parsed.hash)
    except ValueError:
        raise ValueError("its id is no number, or its hash no hash") from None
    return Record(
        position,
        parsed.source,
        parsed.subject,
        parsed.time,
        parsed.actor,
        START.event,
        hash=digest,
        end=offset + len(line) + 1,
    )
