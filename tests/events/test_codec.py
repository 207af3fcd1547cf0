"""Lines and records: round trips, the exact bytes, the chain, seals and upcasts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import MAX_LINE_BYTES, Upcast, decode, encode, open_seal, parse
from events.errors import DamagedLog, UnknownEvent
from events.record import GENESIS, START, Personal, Record
from events.sealing import Keyring
from events.vocabulary.items import Content, ItemCreated, ItemDeleted
from events.vocabulary.sessions import SessionEnded
from tests.events.golden import RECORDS
from tests.events.log_helpers import SOURCE, TIME, file_bytes, keyring, some_lines
from tests.events.strategies import histories

EVERYBODY = keyring(*(f"users/{number}" for number in range(1, 10)))
NOBODY = Keyring()
NONCE = bytes(12)


def _lines(records: Sequence[Record], keys: Keyring = EVERYBODY) -> list[bytes]:
    lines, previous = [], GENESIS
    for record in records:
        line, previous = encode(record, previous, keys, record.position.to_bytes(12))
        lines.append(line)
    return lines


def _bare(record: Record) -> Record:
    return msgspec.structs.replace(record, hash=GENESIS, end=0)


def _created(text: str = "milk", position: int = 1) -> Record:
    event = ItemCreated(1, personal=Content(text))
    return Record(position, SOURCE, "items/1", TIME, "users/1", event, "users/1")


def _forged(line: bytes, previous: bytes = GENESIS, **members: object) -> bytes:
    """A line with other members and a hash that fits them."""
    changed = {**json.loads(line), **members}
    del changed["hash"]
    body = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
    return body + b',"hash":"' + sha256(previous + body).hexdigest().encode() + b'"}'


# Round trips


@given(histories())
def test_what_is_written_is_read_again(history: list[Record]) -> None:
    read = decode(_lines(history), EVERYBODY)
    assert [_bare(record) for record in read] == history


@given(histories(min_size=1), st.data())
def test_a_log_is_read_in_any_two_parts(history: list[Record], data: st.DataObject) -> None:
    lines = _lines(history)
    cut = data.draw(st.integers(1, len(lines)))
    first = decode(lines[:cut], EVERYBODY)
    assert first + decode(lines[cut:], EVERYBODY, first[-1]) == decode(lines, EVERYBODY)


@given(histories())
def test_a_record_ends_where_its_newline_does(history: list[Record]) -> None:
    lines = _lines(history)
    content = file_bytes(lines)
    for record, line in zip(decode(lines, EVERYBODY), lines, strict=True):
        assert content[: record.end].endswith(line + b"\n")


@given(histories())
def test_a_line_has_no_newline_of_its_own_and_shows_nothing_personal(
    history: list[Record],
) -> None:
    for record, line in zip(history, _lines(history), strict=True):
        assert b"\n" not in line
        if isinstance(getattr(record.event, "personal", None), Personal):
            assert set(json.loads(line)["data"]) & {"title", "email", "address"} == set()
            assert isinstance(json.loads(line)["data"]["sealed"], str)


# The bytes


def test_the_members_stand_in_their_order_without_spaces() -> None:
    record = msgspec.structs.replace(_created(), requestid="r-1")
    line, digest = encode(record, GENESIS, EVERYBODY, NONCE, remaining=2)
    members = json.loads(line)
    assert list(members) == [
        *("specversion", "id", "source", "type", "subject", "time", "actor"),
        *("requestid", "remaining", "sealedfor", "data", "hash"),
    ]
    assert line == json.dumps(members, separators=(",", ":")).encode()
    assert members["hash"] == digest.hex()


def test_a_line_says_behind_which_position_its_batch_was_written() -> None:
    line, _ = encode(_created(), GENESIS, EVERYBODY, NONCE, behind=0)
    assert json.loads(line)["behind"] == "0"
    assert parse(line).behind == "0"


def test_what_is_not_there_is_left_out() -> None:
    record = Record(7, SOURCE, "items/1", TIME, "users/1", ItemDeleted())
    line, digest = encode(record, GENESIS, NOBODY, NONCE)
    assert line.decode() == (
        f'{{"specversion":"1.0","id":"7","source":"{SOURCE}","type":"item.deleted",'
        f'"subject":"items/1","time":"{TIME}","actor":"users/1","data":{{}},'
        f'"hash":"{digest.hex()}"}}'
    )


def test_the_hash_is_over_the_hash_before_and_the_bytes_before_the_hash_member() -> None:
    previous = bytes(range(32))
    line, digest = encode(_created(), previous, EVERYBODY, NONCE)
    body, _, _ = line.rpartition(b',"hash":')
    assert sha256(previous + body).digest() == digest


def test_a_line_may_be_as_long_as_16_bits_can_say_and_no_longer() -> None:
    record = msgspec.structs.replace(_created(), requestid="x")
    room = MAX_LINE_BYTES - len(_lines([record])[0])
    (longest,) = _lines([msgspec.structs.replace(record, requestid="x" * (room + 1))])
    assert len(longest) == MAX_LINE_BYTES
    assert decode([longest], EVERYBODY)
    with pytest.raises(ValueError, match="longer than 65535"):
        _lines([msgspec.structs.replace(record, requestid="x" * (room + 2))])


# Damage


def test_any_flipped_bit_of_any_line_is_refused() -> None:
    lines = _lines(RECORDS[:3])
    for number, line in enumerate(lines):
        last = decode(lines[:number], EVERYBODY)[-1] if number else START
        for bit in range(len(line) * 8):
            flipped = bytearray(line)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DamagedLog) as refusal:
                decode([bytes(flipped)], NOBODY, last)
            assert refusal.value.position == number + 1
            assert refusal.value.offset == len(file_bytes(lines[:number]))


def test_control_the_line_itself_is_not_refused() -> None:
    assert decode(_lines(RECORDS[:3]), NOBODY)


@pytest.mark.parametrize(
    ("order", "position"),
    [((1, 0, 2, 3), 1), ((0, 2, 3), 2), ((0, 1, 1, 2), 3), ((0, 2, 1, 3), 2)],
    ids=["swapped", "left out", "doubled", "exchanged"],
)
def test_lines_out_of_their_place_are_refused(order: Sequence[int], position: int) -> None:
    lines, _ = some_lines(4)
    with pytest.raises(DamagedLog) as refusal:
        decode([lines[number] for number in order], NOBODY)
    assert refusal.value.position == position


@pytest.mark.parametrize("id_", ["2", "01", " 1", "1.0", "", "-1", "１"])
def test_a_line_with_another_id_than_its_place_is_refused(id_: str) -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(DamagedLog, match="its id is"):
        decode([_forged(line, id=id_)], NOBODY)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"null", b"\0" * 300, b"[" * 10_000, b'{"id":"\xff"}', b'{"id":1}']
)
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(DamagedLog) as refusal:
        decode([line], NOBODY)
    assert (refusal.value.position, refusal.value.offset) == (1, 0)


def test_a_hash_that_is_no_last_member_of_the_exact_form_is_refused() -> None:
    """A forger may choose what is hashed, but not where the hashed bytes end."""
    ((line,), _) = some_lines(1)
    body = line[: line.rindex(b',"hash":')]
    for member in (b',"hash" :"%s"}', b',"hash":"%s" }', b', "hash":"%s"}'):
        spaced = body + member % (b"0" * 64)
        digest = sha256(GENESIS + spaced[:-75]).hexdigest().encode()
        with pytest.raises(DamagedLog):
            decode([body + member % digest], NOBODY)


def test_a_future_specification_is_refused() -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(DamagedLog):
        decode([_forged(line, specversion="2.0")], NOBODY)


def test_an_extension_that_is_not_known_is_let_through() -> None:
    ((line,), _) = some_lines(1)
    assert decode([_forged(line, traceparent="00-1-2-3")], NOBODY)[0].subject == "items/1"


# Seals


def test_a_closed_seal_stays_as_it_is_on_the_line_until_its_key_comes() -> None:
    line, _ = encode(_created(), GENESIS, EVERYBODY, NONCE)
    (record,) = decode([line], NOBODY)
    assert isinstance(record.event, ItemCreated)
    assert record.event.personal == json.loads(line)["data"]["sealed"]
    open_seal(record, EVERYBODY)
    assert record.event.personal == Content("milk")


def test_without_its_key_a_seal_opens_to_nothing() -> None:
    line, _ = encode(_created(), GENESIS, EVERYBODY, NONCE)
    (record,) = decode([line], NOBODY)
    open_seal(record, NOBODY)
    assert isinstance(record.event, ItemCreated)
    assert record.event.personal is None


def test_sealing_without_a_key_is_an_error() -> None:
    with pytest.raises(KeyError):
        encode(_created(), GENESIS, NOBODY, NONCE)


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
def test_a_seal_opens_only_in_its_log_and_for_its_type_subject_and_user(
    members: Mapping[str, Any],
) -> None:
    line, _ = encode(_created(), GENESIS, EVERYBODY, NONCE)
    sealed = json.loads(line)["data"]["sealed"]
    if "data" in members:
        members = {**members, "data": {**members["data"], "sealed": sealed}}
    with pytest.raises(DamagedLog, match="the seal is broken"):
        decode([_forged(line, **members)], EVERYBODY)


def test_seals_of_two_events_of_one_type_and_subject_can_be_exchanged() -> None:
    """Who can write the log can do so; no text may promise more until a line has a commitment."""
    lines = _lines([_created("milk"), _created("bread", position=2)])
    first, second = (json.loads(line)["data"] for line in lines)
    one = _forged(lines[0], data=second)
    other = _forged(lines[1], bytes.fromhex(one[-66:-2].decode()), data=first)
    records = decode([one, other], EVERYBODY)
    texts = [record.event.personal for record in records if isinstance(record.event, ItemCreated)]
    assert texts == [Content("bread"), Content("milk")]


@given(st.text(max_size=60))
def test_what_is_no_seal_is_refused_and_nothing_else_happens(sealed: str) -> None:
    line, _ = encode(_created(), GENESIS, EVERYBODY, NONCE)
    forged = _forged(line, data={"owner": 1, "sealed": sealed})
    with pytest.raises(DamagedLog):
        decode([forged], EVERYBODY)


# Types of other times


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
def test_a_whole_line_that_today_does_not_know_is_of_another_time(
    members: Mapping[str, Any],
) -> None:
    ((line,), _) = some_lines(1)
    with pytest.raises(UnknownEvent, match="position 1"):
        decode([_forged(line, **members)], NOBODY)


def test_an_upcast_renames_a_type_and_its_seal_still_opens() -> None:
    class ItemAdded(ItemCreated, frozen=True, gc=False):
        """What the type was called once."""

        type = "item.added"

    old = msgspec.structs.replace(_created(), event=ItemAdded(1, personal=Content("milk")))
    line, _ = encode(old, GENESIS, EVERYBODY, NONCE)
    upcasts: dict[str, Upcast] = {"item.added": lambda data: ("item.created", data)}
    (record,) = decode([line], EVERYBODY, upcasts=upcasts)
    assert record.event == ItemCreated(1, personal=Content("milk"))
    (closed,) = decode([line], NOBODY, upcasts=upcasts)
    open_seal(closed, EVERYBODY)
    assert closed.event == record.event


def test_upcasts_are_taken_step_by_step_until_today() -> None:
    ((line,), _) = some_lines(1)
    upcasts: dict[str, Upcast] = {
        "session.closed": lambda data: ("session.stopped", {"why": data["because"]}),
        "session.stopped": lambda data: ("session.ended", {"reason": data["why"]}),
    }
    for kind, data in (
        ("session.closed", {"because": "logout"}),
        ("session.stopped", {"why": "logout"}),
    ):
        (record,) = decode([_forged(line, type=kind, data=data)], NOBODY, upcasts=upcasts)
        assert record.event == SessionEnded("logout")


def test_an_upcast_to_what_is_not_known_is_no_help() -> None:
    ((line,), _) = some_lines(1)
    upcasts: dict[str, Upcast] = {"item.old": lambda data: ("item.older", data)}
    with pytest.raises(UnknownEvent, match=r"item\.old"):
        decode([_forged(line, type="item.old")], NOBODY, upcasts=upcasts)
