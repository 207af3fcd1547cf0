"""No personal value leaves with a delivery, whatever the type of the event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given

from eventapi.webhooks.deliveries import without_seals
from events.codec import decode, encode
from events.record import GENESIS, Record
from events.sealing import Keyring
from tests.events.golden import GOLDEN, GOLDEN_KINDS, golden_keyring
from tests.events.strategies import histories

LINES = [
    (record, line)
    for path in GOLDEN
    for record, line in zip(
        decode(path.read_bytes().splitlines(), golden_keyring(), GOLDEN_KINDS),
        path.read_bytes().splitlines(),
        strict=True,
    )
]


def texts_in(value: Any) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, dict):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)
    elif isinstance(value, str):
        yield value


def test_every_type_is_checked() -> None:
    assert {record.event.type for record, _ in LINES} == {one.type for one in GOLDEN_KINDS.events}


@pytest.mark.parametrize(
    ("record", "line"), LINES, ids=[f"{record.event.type}" for record, _ in LINES]
)
def test_a_delivery_has_the_line_without_its_sealed_values(record: Record, line: bytes) -> None:
    whole, sent = json.loads(line), json.loads(without_seals(line))
    sealed = whole["data"].pop("sealed", None)
    assert sent == whole
    assert [*sent] == [*whole]
    personal = msgspec.to_builtins(getattr(record.event, "personal", None))
    assert (sealed is None) == (personal is None and not record.reason)
    present = {*texts_in(sent)}
    assert record.reason not in present - {""}
    assert "salt" not in sent["data"]
    assert not present & {text for text in texts_in(personal) if len(text) > 3}


def test_everything_but_the_sealed_values_of_the_data_stays() -> None:
    """The hash of a request among it, which is sealed and contains no value."""
    record = msgspec.structs.replace(
        LINES[0][0], idempotencykey="ab" * 32, requesthash="canary" * 8
    )
    line, _ = encode(record, GENESIS, golden_keyring(), bytes(12))
    whole = json.loads(line)
    assert "requesthash" in whole
    del whole["data"]["sealed"]
    assert json.loads(without_seals(line)) == whole


@given(histories(max_size=4))
def test_numbers_and_texts_are_unchanged(records: list[Record]) -> None:
    keyring = Keyring()
    for number in range(1, 10):
        keyring.add(f"users/{number}", bytes([number]) * 32)
    previous = GENESIS
    for record in records:
        line, previous = encode(record, previous, keyring, bytes(12), salt=bytes(16))
        whole = json.loads(line)
        whole["data"].pop("sealed", None)
        assert json.loads(without_seals(line)) == whole
