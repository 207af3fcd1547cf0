"""Verification follows the declarations of a log, as a replay does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from events.codec import decode, encode
from events.errors import UnknownEvent
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import GENESIS, Event, Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.verification.report import Report
from events.verification.verify import verify
from events.vocabulary.resources import Field, ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import replay
from tests.events.log_helpers import SOURCE, TIME, file_bytes, keyring

KEYS = {"users/1": bytes(32)}
SEGMENT_BYTES = 600


def kind(*fields: Field, version: int = 1) -> ResourceType:
    """A kind with these fields, declared in this version."""
    schema = {
        "type": "object",
        "properties": {field.name: {"type": "integer"} for field in fields},
        "required": [field.name for field in fields],
    }
    clear = [field.name for field in fields if field.is_clear]
    declared = SchemaDeclared(version, "bill", schema, clear, [], [])
    return ResourceType("bill", "bills", fields, declaration=declared)


V1 = kind(Field("number", int), Field("cents", int, is_clear=True))
V2 = kind(Field("no", int), Field("euros", int, is_clear=True), version=2)


def declared(version: ResourceType) -> tuple[str, Event]:
    """The declaration of a kind."""
    assert version.declaration is not None
    return "schemas/bills", version.declaration


def bill(version: ResourceType, number: int) -> tuple[str, Event]:
    """A bill with the fields of one version."""
    (sealed,), (clear,) = version.sealed, version.clear
    return f"bills/{number}", version.created(
        1,
        clear=version.clear_content(**{clear.name: 5}),
        personal=version.content(**{sealed.name: number}),
    )


def lines_of(story: Sequence[tuple[str, Event]]) -> list[bytes]:
    """The lines of a story; sealed values are those of user 1."""
    lines, previous = [], GENESIS
    for position, (subject, event) in enumerate(story, 1):
        sealed_for = "users/1" if getattr(event, "personal", None) is not None else ""
        record = Record(position, SOURCE, subject, TIME, "users/1", event, sealed_for)
        line, previous = encode(record, previous, keyring("users/1"), position.to_bytes(12))
        lines.append(line)
    return lines


OLD = [declared(V1), *(bill(V1, number) for number in range(1, 9))]
NEW = [*OLD, declared(V2), *(bill(V2, number) for number in range(9, 17))]


def report_of(path: Path, story: Sequence[tuple[str, Event]], segment_bytes: int) -> Report:
    """Verify a log with the code that knows version 1."""
    path.write_bytes(file_bytes(lines_of(story)))
    return verify(
        path, vocabulary=Vocabulary([V1]), keys=KEYS, processes=1, segment_bytes=segment_bytes
    )


sizes = pytest.mark.parametrize("segment_bytes", [0, SEGMENT_BYTES, 1 << 20])


@sizes
def test_log_with_a_newer_declaration_is_intact_for_older_code(
    tmp_path: Path, segment_bytes: int
) -> None:
    report = report_of(tmp_path / "events.jsonl", NEW, segment_bytes)
    assert (report.findings, report.lines) == ([], len(NEW))


def test_control_newer_events_are_unreadable_without_their_declaration() -> None:
    story = [*OLD, *NEW[len(OLD) + 1 :]]
    with pytest.raises(UnknownEvent):
        decode(lines_of(story), keyring("users/1"), Vocabulary([V1]))


@sizes
def test_control_events_that_fit_no_declaration_are_found(
    tmp_path: Path, segment_bytes: int
) -> None:
    report = report_of(tmp_path / "events.jsonl", [*OLD, bill(V2, 9)], segment_bytes)
    assert [(found.kind, found.position) for found in report.findings] == [("unknown-event", 10)]


@sizes
def test_broken_seal_of_a_foreign_kind_is_found(tmp_path: Path, segment_bytes: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(lines_of(NEW)))
    report = verify(
        path,
        vocabulary=Vocabulary([V1]),
        keys={"users/1": b"k" * 32},
        processes=1,
        segment_bytes=segment_bytes,
    )
    assert not report.ok


def test_kind_with_a_lambda_is_verified_in_one_process(tmp_path: Path) -> None:
    """Other processes cannot get it."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(lines_of(OLD)))
    local = ResourceType(
        "bill", "bills", V1.fields, upcast=lambda values: values, declaration=V1.declaration
    )
    report = verify(
        path, vocabulary=Vocabulary([local]), keys=KEYS, processes=2, segment_bytes=SEGMENT_BYTES
    )
    assert (report.findings, report.lines) == ([], len(OLD))


def test_declared_kinds_are_verified_in_parallel(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(lines_of(NEW)))
    one, two = (
        verify(path, vocabulary=Vocabulary([V1]), keys=KEYS, processes=count, segment_bytes=600)
        for count in (1, 2)
    )
    assert one == two
    assert one.ok


def test_upcast_that_fails_is_reported_with_its_place(tmp_path: Path) -> None:
    def fail(values: dict[str, object]) -> dict[str, object]:
        raise KeyError("no")

    broken = ResourceType("bill", "bills", V1.fields, upcast=fail, declaration=V1.declaration)
    failing = Vocabulary([broken])
    lines = lines_of(OLD)
    with pytest.raises(UnknownEvent, match=r"position 2: .*upcast of Bill raised KeyError"):
        decode(lines, keyring("users/1"), failing)
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(lines))
    (first, *_) = verify(path, vocabulary=failing, processes=1).findings
    assert (first.kind, first.position) == ("unknown-event", 2)


def test_version_of_a_declaration_may_differ() -> None:
    """The same declaration again, as by an older worker beside a newer one."""
    _, event = declared(V1)
    assert isinstance(event, SchemaDeclared)
    again = ("schemas/bills", replace(event, version=2))
    records = decode(lines_of([*OLD, again, bill(V1, 9)]), keyring("users/1"), Vocabulary([V1]))
    assert records[-1].event == bill(V1, 9)[1]


@sizes
@pytest.mark.parametrize("first", range(1, 9))
def test_an_event_before_the_declaration_of_its_kind_is_unknown(
    tmp_path: Path, segment_bytes: int, first: int
) -> None:
    """As for a replay, and in whichever segment the declaration is."""
    bills = [bill(V1, number) for number in range(1, 9)]
    story = [*bills[:first], declared(V1), *bills[first:]]
    path = tmp_path / "events.jsonl"
    lines = lines_of(story)
    path.write_bytes(file_bytes(lines))

    report = verify(path, vocabulary=Vocabulary(), processes=1, segment_bytes=segment_bytes)

    assert [one.position for one in report.findings] == [*range(1, first + 1)]
    assert {one.kind for one in report.findings} == {"unknown-event"}
    assert report.findings[0].detail == "position 1: event type 'bill.created' is unknown"
    assert report.findings[0].offset == 0
    assert report.lines == len(story)
    assert not report.ok
    log = MemoryLog(lines, Head(len(lines), bytes.fromhex(lines[-1][-66:-2].decode())))
    with pytest.raises(UnknownEvent, match=r"^position 1: event type 'bill.created' is unknown$"):
        asyncio.run(replay(log, Keyring(), MemoryVault(), Vocabulary()))


@sizes
def test_a_kind_that_is_declared_in_an_earlier_segment_is_known(
    tmp_path: Path, segment_bytes: int
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(lines_of(OLD)))
    report = verify(path, vocabulary=Vocabulary(), processes=1, segment_bytes=segment_bytes)
    assert (report.findings, report.lines) == ([], len(OLD))
