"""Commitments, salts and reasons: what is sealed proves itself, and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventapi.testing.items import ITEMS, Content, ItemCreated, ItemDeleted, ItemUpdated
from events.codec import (
    clear_bytes,
    commitment_of,
    decode,
    encode,
    open_seal,
    parse,
    reason_and_values,
)
from events.errors import DamagedLog
from events.record import GENESIS, Event, Record
from events.sealing import Keyring, base64url, seal
from events.verification.report import Report
from events.verification.verify import verify
from events.vocabulary.vocabulary import Vocabulary
from tests.events.golden import GOLDEN, GOLDEN_KINDS, KEYS, LINES_V6, golden_keyring, golden_keys
from tests.events.golden_v6 import DISH
from tests.events.log_helpers import SOURCE, TIME, file_bytes, keyring
from tests.events.strategies import records
from tests.kinds import KINDS

USERS = [f"users/{number}" for number in range(1, 10)]
ALL_KEYS, NO_KEYS = keyring(*USERS), Keyring()
RAW_KEYS = {subject: bytes([number]) * 32 for number, subject in enumerate(USERS)}
SALT = bytes(range(16))
SESSION = "0123456789abcdef0123456789abcdef"


def record_of(event: Event, position: int = 1, **members: Any) -> Record:
    """A record about one resource of user 1."""
    return replace(
        Record(position, SOURCE, "items/1", TIME, "users/1", event, "users/1"), **members
    )


def created(title: str = "milk", **members: Any) -> Record:
    """The creation of an item."""
    return record_of(ItemCreated(1, personal=Content(title)), **members)


def line_of(record: Record, previous: bytes = GENESIS, salt: bytes = SALT) -> bytes:
    """The line of a record."""
    line, _ = encode(record, previous, ALL_KEYS, record.position.to_bytes(12), salt=salt)
    return line


def lines_of(*events: Record) -> list[bytes]:
    """The lines of records; the salt of each is its position."""
    lines, previous = [], GENESIS
    for position, record in enumerate(events, 1):
        placed = replace(record, position=position)
        lines.append(line_of(placed, previous, position.to_bytes(16)))
        previous = bytes.fromhex(lines[-1][-66:-2].decode())
    return lines


def rechained(changes: Sequence[dict[str, Any]]) -> list[bytes]:
    """Lines with these members, and a hash chain that fits them."""
    lines, previous = [], GENESIS
    for change in changes:
        members = {name: value for name, value in change.items() if name != "hash"}
        body = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()[:-1]
        previous = sha256(previous + body).digest()
        lines.append(body + b',"hash":"' + previous.hex().encode() + b'"}')
    return lines


def report_of(path: Path, lines: Sequence[bytes], vocabulary: Vocabulary = ITEMS) -> Report:
    """What `log verify --seals` reports about a log."""
    file = path / "events.jsonl"
    file.write_bytes(file_bytes(lines))
    return verify(file, vocabulary=vocabulary, keys=RAW_KEYS)


def is_proven(line: bytes, text: bytes) -> bool:
    """The check of a third party, as docs/log-format.md describes it."""
    digest = base64.urlsafe_b64encode(sha256(text).digest()).rstrip(b"=")
    return bool(json.loads(line)["commitment"] == digest.decode()) and text.startswith(b'{"salt":"')


# The bytes


def test_extensions_of_a_line_have_their_order() -> None:
    record = created(requestid="r", session="s", apikey="k", idempotencykey="i", requesthash="h")
    line, _ = encode(record, GENESIS, ALL_KEYS, bytes(12), 2, behind=0, salt=SALT)
    members = json.loads(line)
    assert list(members)[7:] == [
        *("requestid", "session", "apikey", "idempotencykey", "requesthash", "remaining"),
        *("behind", "sealedfor", "commitment", "data", "hash"),
    ]
    assert line == json.dumps(members, separators=(",", ":")).encode()


def test_clear_bytes_begin_with_salt_and_reason() -> None:
    text = clear_bytes(parse(line_of(created(reason='for "ann"'))), ALL_KEYS)
    assert text == (
        rb'{"salt":"AAECAwQFBgcICQoLDA0ODw","$reason":"for \"ann\"","title":"milk","description":null}'
    )


def test_event_without_values_has_a_seal_only_for_its_reason() -> None:
    line = line_of(record_of(ItemDeleted(), reason="sold"))
    assert clear_bytes(parse(line), ALL_KEYS) == (
        b'{"salt":"AAECAwQFBgcICQoLDA0ODw","$reason":"sold"}'
    )
    plain = json.loads(line_of(record_of(ItemDeleted(), sealedfor="")))
    assert "commitment" not in plain
    assert plain["data"] == {}


def test_line_of_an_earlier_version_has_neither_commitment_nor_salt() -> None:
    line = line_of(created(), salt=b"")
    assert parse(line).commitment == ""
    assert clear_bytes(parse(line), ALL_KEYS) == b'{"title":"milk","description":null}'


def test_reason_is_never_written_without_a_salt() -> None:
    with pytest.raises(ValueError, match="salt"):
        line_of(created(reason="why"), salt=b"")


# Round trips


@given(records())
def test_line_with_session_and_reason_is_decoded_to_its_record(record: Record) -> None:
    line = line_of(record)
    (read,) = decode([line], ALL_KEYS, KINDS)
    assert replace(read, hash=GENESIS, end=0) == record
    (closed,) = decode([line], NO_KEYS, KINDS)
    assert closed.reason == ""
    open_seal(closed, line, ALL_KEYS, KINDS)
    assert closed == read


@given(records(), st.binary(min_size=16, max_size=16))
def test_commitment_is_the_hash_of_the_sealed_text(record: Record, salt: bytes) -> None:
    line = line_of(record, salt=salt)
    text = clear_bytes(parse(line), ALL_KEYS)
    assert (text is None) == (parse(line).commitment == "")
    if text is not None:
        assert is_proven(line, text)
        assert text.startswith(b'{"salt":"' + base64url(salt) + b'"')
        reason, values = reason_and_values(parse(line), text)
        assert reason == record.reason
        assert "$reason" not in values


def test_only_the_places_of_salt_and_reason_count() -> None:
    """A field is named ``salt``, and an argument ``$reason``."""
    vocabulary, event = Vocabulary([DISH]), DISH.created(1, personal=DISH.content(salt="sea"))
    for salt in (SALT, b""):
        for reason in ("why", "") if salt else ("",):
            line = line_of(record_of(event, subject="dishes/1", reason=reason), salt=salt)
            (read,) = decode([line], ALL_KEYS, vocabulary)
            assert (read.event, read.reason) == (event, reason)
            text = clear_bytes(parse(line), ALL_KEYS)
            assert text is not None
            assert reason_and_values(parse(line), text) == (reason, {"salt": "sea"})


# What a third party can check


@given(st.data())
def test_one_changed_byte_of_the_text_or_the_commitment_fails(data: st.DataObject) -> None:
    line = line_of(created("milk", reason="why"))
    text = clear_bytes(parse(line), ALL_KEYS)
    assert text is not None
    assert is_proven(line, text)
    bit = data.draw(st.integers(0, len(text) * 8 - 1))
    changed = bytearray(text)
    changed[bit // 8] ^= 1 << bit % 8
    assert not is_proven(line, bytes(changed))


def test_texts_of_two_events_do_not_prove_each_other() -> None:
    one, other = lines_of(created("milk"), created("bread"))
    text, other_text = (clear_bytes(parse(line), ALL_KEYS) for line in (one, other))
    assert text is not None
    assert other_text is not None
    assert is_proven(one, text)
    assert not is_proven(one, other_text)


def test_values_cannot_be_guessed_from_commitments() -> None:
    """Equal values have other commitments, and the salt is nowhere on the line."""
    lines = lines_of(*(record_of(ItemUpdated(), reason="yes") for _ in range(200)))
    assert len({parse(line).commitment for line in lines}) == 200
    for number, line in enumerate(lines, 1):
        assert base64url(number.to_bytes(16)) not in line
        for guess in (b'{"$reason":"yes"}', b'{"salt":"","$reason":"yes"}', b'"yes"', b"yes"):
            assert parse(line).commitment != commitment_of(guess)


def test_nothing_is_opened_without_the_key() -> None:
    line = parse(line_of(created(reason="why")))
    others = keyring("users/1")
    others["users/2"] = others.pop("users/1")
    assert clear_bytes(line, others) is None
    with pytest.raises(ValueError, match="the seal is broken"):
        clear_bytes(line, keyring("users/2", "users/1"))


# Damage


@pytest.mark.parametrize(
    "clear",
    [
        b'{"title":"milk"}',
        b"{}",
        b'{"salt":"AAECAwQFBgcICQoLDA0ODw","$reason":7,"title":"milk"}',
        b'{"salt":"AAECAwQFBgcICQoLDA0ODw","$reason":"open',
        b'{"salt":"AAECAwQFBgcICQoLDA0","title":"milk"}',
        b'{"title":"milk","salt":"AAECAwQFBgcICQoLDA0ODw"}',
        b'{ "salt":"AAECAwQFBgcICQoLDA0ODw","title":"milk"}',
    ],
)
def test_text_without_a_salt_at_its_start_is_damage(tmp_path: Path, clear: bytes) -> None:
    context = f"{SOURCE}|item.created|items/1".encode()
    sealed = seal(ALL_KEYS["users/1"], bytes(12), clear, context)
    changes = {"commitment": commitment_of(clear), "data": {"owner": 1, "sealed": sealed}}
    lines = rechained([{**json.loads(line_of(created())), **changes}])
    with pytest.raises(DamagedLog):
        decode(lines, ALL_KEYS, ITEMS)
    (found,) = report_of(tmp_path, lines).findings
    assert (found.kind, found.position) == ("damaged", 1)


@pytest.mark.parametrize("place", [1, 2, 3])
@given(wrong=st.text("abcdefgh0123-_", min_size=43, max_size=43))
def test_verification_names_a_wrong_commitment(
    tmp_path_factory: pytest.TempPathFactory, place: int, wrong: str
) -> None:
    """A replay does not compare commitments, because the seal authenticates its text."""
    changes = [json.loads(line) for line in lines_of(created("a"), created("b"), created("c"))]
    changes[place - 1]["commitment"] = wrong
    lines = rechained(changes)
    assert len(decode(lines, ALL_KEYS, ITEMS)) == 3
    (found,) = report_of(tmp_path_factory.getbasetemp(), lines).findings
    assert (found.kind, found.position) == ("damaged", place)
    assert "commitment" in found.detail


def test_control_verification_accepts_the_lines_as_they_were(tmp_path: Path) -> None:
    assert report_of(tmp_path, lines_of(created("a"), created("b"))).ok


@pytest.mark.parametrize(
    "changes",
    [
        {"commitment": "short"},
        {"commitment": "A" * 42 + "="},
        {"commitment": "A" * 43, "data": {"owner": 1}},
    ],
    ids=["short", "padded", "of nothing"],
)
def test_commitment_of_another_form_is_damage(tmp_path: Path, changes: dict[str, Any]) -> None:
    lines = rechained([{**json.loads(line_of(created())), **changes}])
    file = tmp_path / "events.jsonl"
    file.write_bytes(file_bytes(lines))
    (found,) = verify(file, vocabulary=ITEMS).findings
    assert (found.kind, found.position) == ("damaged", 1)
    assert "its commitment is" in found.detail


def test_verification_names_two_seals_that_were_exchanged(tmp_path: Path) -> None:
    """They are of one type, subject and user, so both open; a commitment tells them apart."""
    lines = lines_of(created("milk"), created("bread"), created("salt"))
    changes = [json.loads(line) for line in lines]
    changes[0]["data"], changes[2]["data"] = changes[2]["data"], changes[0]["data"]
    swapped = rechained(changes)
    titles = [record.event.personal.title for record in decode(swapped, ALL_KEYS, ITEMS)]  # type: ignore[attr-defined]  # an item
    assert titles == ["salt", "bread", "milk"]
    report = report_of(tmp_path, swapped)
    assert [(found.kind, found.position) for found in report.findings] == [
        ("damaged", 1),
        ("damaged", 3),
    ]


def test_control_without_commitments_the_exchange_is_not_seen(tmp_path: Path) -> None:
    changes = [json.loads(line_of(created("milk", position=number))) for number in (1, 2)]
    for members in changes:
        members.pop("commitment")
    one, other = (json.loads(line_of(created(text), salt=b""))["data"] for text in ("a", "b"))
    changes[0]["data"], changes[1]["data"] = other, one
    assert report_of(tmp_path, rechained(changes)).ok


def test_broken_seal_of_a_kind_without_a_declaration_in_the_code_is_named(tmp_path: Path) -> None:
    """A replay does not open it, so only verification finds it."""
    records = GOLDEN[LINES_V6]
    changes = [json.loads(line) for line in LINES_V6.read_bytes().splitlines()]
    (place,) = (one.position - 1 for one in records if one.event.type == "dish.created")
    other = seal(ALL_KEYS["users/1"], bytes(12), b"{}", b"another context")
    changes[place]["data"]["sealed"] = other
    file = tmp_path / "events.jsonl"
    file.write_bytes(file_bytes(rechained(changes)))
    report = verify(file, vocabulary=ITEMS, keys=golden_keys())
    assert [(found.kind, found.position) for found in report.findings] == [("damaged", place + 1)]


def test_golden_log_verifies_with_its_keys() -> None:
    report = verify(LINES_V6, vocabulary=GOLDEN_KINDS, keys=golden_keys())
    assert report.ok
    assert KEYS.exists()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_opened_text_of_a_golden_log_is_proven_or_of_an_earlier_version(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        text = clear_bytes(parse(line), golden_keyring())
        if text is not None:
            assert is_proven(line, text) if path == LINES_V6 else not parse(line).commitment
