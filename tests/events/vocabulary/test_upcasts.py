"""Events of an older declaration, read by code with the declaration of today."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from events.codec import decode, encode, open_seal
from events.errors import UnknownEvent
from events.record import GENESIS, Event, Record
from events.sealing import Keyring
from events.verification.verify import verify
from events.vocabulary.resources import Field, ResourceType
from events.vocabulary.vocabulary import Vocabulary
from tests.events.log_helpers import SOURCE, TIME, file_bytes, keyring

KEYS = keyring("users/1")
NO_KEYS = Keyring()
Values = dict[str, Any]
Upcast = Callable[[Values], Values]

V1 = ResourceType("bill", "bills", [Field("no", str), Field("amount", int, is_clear=True)])


def today(upcast: Upcast | None) -> ResourceType:
    """The kind after both of its fields were renamed."""
    fields = [Field("number", str), Field("cents", int, is_clear=True)]
    return ResourceType("bill", "bills", fields, upcast=upcast)


def rename(**names: str) -> Upcast:
    """An upcast that renames values, and leaves the others."""
    return lambda values: {names.get(name, name): value for name, value in values.items()}


TODAY = today(rename(no="number", amount="cents"))


def lines_of(*events: Event) -> list[bytes]:
    """The lines of events about one bill; the values are sealed for user 1."""
    lines, previous = [], GENESIS
    for position, event in enumerate(events, 1):
        record = Record(position, SOURCE, "bills/1", TIME, "users/1", event, "users/1")
        line, previous = encode(record, previous, KEYS, position.to_bytes(12))
        lines.append(line)
    return lines


OLD = lines_of(
    V1.created(1, clear=V1.clear_content(amount=5), personal=V1.content(no="A-1")),
    V1.updated(personal=V1.changes(no="A-2")),
    V1.updated(clear=V1.clear_changes(amount=6)),
    V1.restored(1, clear=V1.clear_content(amount=5), personal=V1.content(no="A-1")),
    V1.deleted(),
)
UPCAST: Sequence[Event] = (
    TODAY.created(1, clear=TODAY.clear_content(cents=5), personal=TODAY.content(number="A-1")),
    TODAY.updated(personal=TODAY.changes(number="A-2")),
    TODAY.updated(clear=TODAY.clear_changes(cents=6)),
    TODAY.restored(1, clear=TODAY.clear_content(cents=5), personal=TODAY.content(number="A-1")),
    TODAY.deleted(),
)


def test_upcast_renames_fields_of_sealed_and_clear_values() -> None:
    records = decode(OLD, KEYS, Vocabulary([TODAY]))
    assert [record.event for record in records] == list(UPCAST)


def test_control_without_the_upcast_old_events_are_unreadable() -> None:
    with pytest.raises(UnknownEvent, match="position 1"):
        decode(OLD, KEYS, Vocabulary([today(None)]))


def test_closed_seal_of_an_old_event_can_be_opened_later() -> None:
    records = decode(OLD, NO_KEYS, Vocabulary([TODAY]))
    assert isinstance(records[0].event.personal, str)  # type: ignore[attr-defined]  # created
    for record, line in zip(records, OLD, strict=True):
        open_seal(record, line, KEYS, Vocabulary([TODAY]))
    assert [record.event for record in records] == list(UPCAST)


def test_upcast_of_an_action_keeps_its_arguments() -> None:
    old = ResourceType("bill", "bills", V1.fields, ["pay"])
    new = ResourceType("bill", "bills", TODAY.fields, ["pay"], upcast=TODAY.upcast)
    act = old.arguments(no="A-3", arguments_={"how": "cash"})
    (record,) = decode(lines_of(old.actions["pay"](personal=act)), KEYS, Vocabulary([new]))
    expected = new.arguments(number="A-3", arguments_={"how": "cash"})
    assert record.event == new.actions["pay"](personal=expected)


def test_upcast_in_several_steps_reads_every_older_shape() -> None:
    steps = (rename(no="id_no"), rename(id_no="number", amount="cents"))

    def upcast(values: Values) -> Values:
        for step in steps:
            values = step(values)
        return values

    middle_fields = [Field("id_no", str), Field("amount", int, is_clear=True)]
    middle = ResourceType("bill", "bills", middle_fields)
    newest = today(upcast)
    for kind, name in ((V1, "no"), (middle, "id_no"), (newest, "number")):
        (record,) = decode(
            lines_of(kind.updated(personal=kind.changes(**{name: "A-1"}))),
            KEYS,
            Vocabulary([newest]),
        )
        assert record.event == newest.updated(personal=newest.changes(number="A-1"))


def test_upcast_of_a_change_sets_no_other_value() -> None:
    (record,) = decode(OLD[2:3], KEYS, Vocabulary([TODAY]), decode(OLD[:2], KEYS, V)[-1])
    event: Any = record.event
    assert event.personal is None
    assert event.clear.cents == 6


V = Vocabulary([TODAY])


@pytest.mark.parametrize(
    "upcast",
    [lambda _: {}, lambda _: {"number": 5}, lambda _: []],
    ids=["missing value", "value of another type", "no object"],
)
def test_upcast_to_another_shape_is_refused(upcast: Upcast) -> None:
    with pytest.raises(UnknownEvent, match="position 1"):
        decode(OLD, KEYS, Vocabulary([today(upcast)]))


@pytest.mark.parametrize("segment_bytes", [0, 1 << 20], ids=["line by line", "scan"])
def test_log_with_old_events_verifies(tmp_path: Path, segment_bytes: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(file_bytes(OLD))
    keys = {"users/1": bytes(32)}
    report = verify(path, vocabulary=V, keys=keys, processes=1, segment_bytes=segment_bytes)
    assert (report.findings, report.lines) == ([], len(OLD))


def test_unset_values_of_a_change_stay_unset() -> None:
    changes: Any = decode(OLD[:2], KEYS, V)[1].event
    assert msgspec.structs.asdict(changes.personal) == {"number": "A-2"}
    assert TODAY.changes().number is UNSET
