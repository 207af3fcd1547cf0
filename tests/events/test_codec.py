"""Lines and records: round trips, exact bytes, hash chain, seals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.items import ITEMS, Content, ItemCreated, ItemDeleted
from events.codec import MAX_LINE_BYTES, decode, encode, open_seal, parse
from events.errors import DamagedLog, UnknownEvent
from events.record import GENESIS, START, Personal, Record
from events.sealing import Keyring
from tests.events.golden import RECORDS
from tests.events.log_helpers import SOURCE, TIME, file_bytes, keyring, some_lines
from tests.events.strategies import histories
from tests.kinds import KINDS

ALL_KEYS = keyring(*(f"users/{number}" for number in range(1, 10)))
NO_KEYS = Keyring()
NONCE = bytes(12)


def _lines(records: Sequence[Record], keys: Keyring = ALL_KEYS) -> list[bytes]:
    lines, previous = [], GENESIS
    for record in records:
        nonce, salt = record.position.to_bytes(12), record.position.to_bytes(16)
        line, previous = encode(record, previous, keys, nonce, salt=salt)
        lines.append(line)
    return lines


def _without_hash(record: Record) -> Record:
    return msgspec.structs.replace(record, hash=GENESIS, end=0)


def _item_created(text: str = "milk", position: int = 1) -> Record:
    event = ItemCreated(1, personal=Content(text))
    return Record(position, SOURCE, "items/1", TIME, "users/1", event, "users/1")


def _forge(line: bytes, previous: bytes = GENESIS, **members: object) -> bytes:
    """The line with changed members and a hash that fits them."""
    changed = {**json.loads(line), **members}
    del changed["hash"]
    body = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return body + b',"hash":"' + sha256(previous + body).hexdigest().encode() + b'"}'


# Round trips


@given(histories())
def test_encoded_records_are_decoded_unchanged(history: list[Record]) -> None:
    read = decode(_lines(history), ALL_KEYS, KINDS)
    assert [_without_hash(record) for record in read] == history


@given(histories(min_size=1), st.data())
def test_a_log_can_be_decoded_in_two_parts(history: list[Record], data: st.DataObject) -> None:
    lines = _lines(history)
    cut = data.draw(st.integers(1, len(lines)))
    first = decode(lines[:cut], ALL_KEYS, KINDS)
    assert first + decode(lines[cut:], ALL_KEYS, KINDS, first[-1]) == decode(lines, ALL_KEYS, KINDS)


@given(histories())
def test_the_end_of_a_record_is_after_its_newline(history: list[Record]) -> None:
    lines = _lines(history)
    content = file_bytes(lines)
    for record, line in zip(decode(lines, ALL_KEYS, KINDS), lines, strict=True):
        assert content[: record.end].endswith(line + b"\n")


@given(histories())
def test_a_line_contains_no_newline_and_no_personal_value(
    history: list[Record],
) -> None:
    for record, line in zip(history, _lines(history), strict=True):
        assert b"\n" not in line
        if isinstance(getattr(record.event, "personal", None), Personal):
            assert set(json.loads(line)["data"]) & {"title", "email", "address"} == set()
            assert isinstance(json.loads(line)["data"]["sealed"], str)


# The bytes


def test_members_have_a_fixed_order_and_no_spaces() -> None:
    record = msgspec.structs.replace(_item_created(), requestid="r-1")
    line, digest = encode(record, GENESIS, ALL_KEYS, NONCE, remaining=2)
    members = json.loads(line)
    assert list(members) == [
        *("specversion", "id", "source", "type", "subject", "time", "actor"),
        *("requestid", "remaining", "sealedfor", "data", "hash"),
    ]
    assert line == json.dumps(members, separators=(",", ":")).encode()
    assert members["hash"] == digest.hex()


def test_a_line_states_the_position_at_which_its_batch_began() -> None:
    line, _ = encode(_item_created(), GENESIS, ALL_KEYS, NONCE, behind=0)
    assert json.loads(line)["behind"] == "0"
    assert parse(line).behind == "0"


def test_empty_members_are_left_out() -> None:
    record = Record(7, SOURCE, "items/1", TIME, "users/1", ItemDeleted())
    line, digest = encode(record, GENESIS, NO_KEYS, NONCE)
    assert line.decode() == (
        f'{{"specversion":"1.0","id":"7","source":"{SOURCE}","type":"item.deleted",'
        f'"subject":"items/1","time":"{TIME}","actor":"users/1","data":{{}},'
        f'"hash":"{digest.hex()}"}}'
    )


def test_the_hash_covers_the_previous_hash_and_the_bytes_before_the_hash_member() -> None:
    previous = bytes(range(32))
    line, digest = encode(_item_created(), previous, ALL_KEYS, NONCE)
    body, _, _ = line.rpartition(b',"hash":')
    assert sha256(previous + body).digest() == digest


def test_a_line_has_at_most_65535_bytes() -> None:
    record = msgspec.structs.replace(_item_created(), requestid="x")
    room = MAX_LINE_BYTES - len(_lines([record])[0])
    (longest,) = _lines([msgspec.structs.replace(record, requestid="x" * (room + 1))])
    assert len(longest) == MAX_LINE_BYTES
    assert decode([longest], ALL_KEYS, ITEMS)
    with pytest.raises(ValueError, match="longer than 65535"):
        _lines([msgspec.structs.replace(record, requestid="x" * (room + 2))])


# Damage


def test_a_line_with_any_flipped_bit_is_refused() -> None:
    lines = _lines(RECORDS[:3])
    for number, line in enumerate(lines):
        last = decode(lines[:number], ALL_KEYS, ITEMS)[-1] if number else START
        for bit in range(len(line) * 8):
            flipped = bytearray(line)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DamagedLog) as refusal:
                decode([bytes(flipped)], NO_KEYS, ITEMS, last)
            assert refusal.value.position == number + 1
            assert refusal.value.offset == len(file_bytes(lines[:number]))


def test_control_the_unchanged_lines_are_decoded() -> None:
    assert decode(_lines(RECORDS[:3]), NO_KEYS, ITEMS)


@pytest.mark.parametrize(
    ("order", "position"),
    [((1, 0, 2, 3), 1), ((0, 2, 3), 2), ((0, 1, 1, 2), 3), ((0, 2, 1, 3), 2)],
    ids=["swapped", "left out", "doubled", "exchanged"],
)
def test_lines_in_another_order_are_refused(order: Sequence[int], position: int) -> None:
    lines, _ = some_lines(4)
    with pytest.raises(DamagedLog) as refusal:
        decode([lines[number] for number in order], NO_KEYS, ITEMS)
    assert refusal.value.position == position


@pytest.mark.parametrize("id_", ["2", "01", " 1", "1.0", "", "-1", "１"])
def test_a_line_whose_id_is_not_its_position_is_refused(id_: str) -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(DamagedLog, match="its id is"):
        decode([_forge(line, id=id_)], NO_KEYS, ITEMS)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"null", b"\0" * 300, b"[" * 10_000, b'{"id":"\xff"}', b'{"id":1}']
)
def test_a_line_that_is_not_an_event_is_refused(line: bytes) -> None:
    with pytest.raises(DamagedLog) as refusal:
        decode([line], NO_KEYS, ITEMS)
    assert (refusal.value.position, refusal.value.offset) == (1, 0)


def test_a_hash_member_in_another_form_is_refused() -> None:
    """A forger may choose the hashed bytes, but not the place where they end."""
    ((line,), _) = some_lines(1)
    body = line[: line.rindex(b',"hash":')]
    for member in (b',"hash" :"%s"}', b',"hash":"%s" }', b', "hash":"%s"}'):
        spaced = body + member % (b"0" * 64)
        digest = sha256(GENESIS + spaced[:-75]).hexdigest().encode()
        with pytest.raises(DamagedLog):
            decode([body + member % digest], NO_KEYS, ITEMS)


def test_another_specversion_is_refused() -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(DamagedLog):
        decode([_forge(line, specversion="2.0")], NO_KEYS, ITEMS)


def test_an_unknown_extension_is_ignored() -> None:
    ((line,), _) = some_lines(1)
    assert decode([_forge(line, traceparent="00-1-2-3")], NO_KEYS, ITEMS)[0].subject == "items/1"


# Seals


def test_a_seal_without_a_key_stays_closed_and_can_be_opened_later() -> None:
    line, _ = encode(_item_created(), GENESIS, ALL_KEYS, NONCE)
    (record,) = decode([line], NO_KEYS, ITEMS)
    assert isinstance(record.event, ItemCreated)
    assert record.event.personal == json.loads(line)["data"]["sealed"]
    open_seal(record, line, ALL_KEYS, ITEMS)
    assert record.event.personal == Content("milk")


def test_opening_a_seal_without_its_key_gives_none() -> None:
    line, _ = encode(_item_created(), GENESIS, ALL_KEYS, NONCE)
    (record,) = decode([line], NO_KEYS, ITEMS)
    open_seal(record, line, NO_KEYS, ITEMS)
    assert isinstance(record.event, ItemCreated)
    assert record.event.personal is None


def test_sealing_without_a_key_raises() -> None:
    with pytest.raises(KeyError):
        encode(_item_created(), GENESIS, NO_KEYS, NONCE)


@pytest.mark.parametrize(
    "members",
    [
        {"source": "urn:uuid:00000000-0000-0000-0000-000000000000"},
        {"subject": "items/2"},
        {"type": "item.restored", "data": {"as_of": 1}},
        {"sealedfor": "users/2"},
    ],
    ids=["source", "subject", "type", "user"],
)
def test_a_seal_opens_only_for_its_log_type_subject_and_user(
    members: Mapping[str, Any],
) -> None:
    line, _ = encode(_item_created(), GENESIS, ALL_KEYS, NONCE)
    sealed = json.loads(line)["data"]["sealed"]
    if "data" in members:
        members = {**members, "data": {**members["data"], "sealed": sealed}}
    with pytest.raises(DamagedLog, match="the seal is broken"):
        decode([_forge(line, **members)], ALL_KEYS, ITEMS)


def test_seals_of_two_events_of_one_type_and_subject_can_be_exchanged() -> None:
    """A known limit: an attacker with write access can do so; documents must say so."""
    lines = _lines([_item_created("milk"), _item_created("bread", position=2)])
    first, second = (json.loads(line)["data"] for line in lines)
    one = _forge(lines[0], data=second)
    other = _forge(lines[1], bytes.fromhex(one[-66:-2].decode()), data=first)
    records = decode([one, other], ALL_KEYS, ITEMS)
    texts = [record.event.personal for record in records if isinstance(record.event, ItemCreated)]
    assert texts == [Content("bread"), Content("milk")]


@given(st.text(max_size=60))
def test_an_invalid_seal_is_refused_as_damage(sealed: str) -> None:
    line, _ = encode(_item_created(), GENESIS, ALL_KEYS, NONCE)
    forged = _forge(line, data={"owner": 1, "sealed": sealed})
    with pytest.raises(DamagedLog):
        decode([forged], ALL_KEYS, ITEMS)


# Unknown types


@pytest.mark.parametrize(
    "members",
    [
        {"type": "item.painted"},
        {"data": {"color": "red"}},
        {"data": []},
        {"type": "session.ended", "data": {"reason": "bored"}},
        {"type": "session.ended", "data": {}},
    ],
)
def test_an_intact_line_of_an_unknown_type_or_shape_is_an_unknown_event(
    members: Mapping[str, Any],
) -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(UnknownEvent, match="position 1"):
        decode([_forge(line, **members)], NO_KEYS, ITEMS)
