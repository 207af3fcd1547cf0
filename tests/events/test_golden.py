"""Event type names and shapes, pinned by golden logs that are never edited."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from events.codec import decode
from events.errors import DamagedLog, UnknownEvent
from events.record import Event, Record
from events.sealing import Keyring
from events.verification.verify import verify
from events.vocabulary.vocabulary import Decoders
from tests.events.golden import (
    GOLDEN,
    GOLDEN_KINDS,
    KEYS,
    LINES,
    LINES_V2,
    LINES_V3,
    LINES_V4,
    LINES_V5,
    LINES_V6,
    LINES_V7,
    encode_all,
    golden_keyring,
)


def _without_hash(record: Record) -> Record:
    return msgspec.structs.replace(record, hash=bytes(32), end=0)


def test_the_golden_files_are_unchanged() -> None:
    assert (
        hashlib.sha256(LINES.read_bytes()).hexdigest()
        == "1d03e399f053e30a31af14c39b67ad91ae7a6b0aa75b39f22bc3152fba869e33"
    )
    assert (
        hashlib.sha256(LINES_V2.read_bytes()).hexdigest()
        == "c69717a4dc9bcafe9872047530a2d2feecc5c2ed8f85cbd466659021a2e21662"
    )
    assert (
        hashlib.sha256(LINES_V3.read_bytes()).hexdigest()
        == "98c2c27df7ad16d6ae4f2e1e1947aabed68113832dc8e6de9c873d82b8a66bf8"
    )
    assert (
        hashlib.sha256(LINES_V4.read_bytes()).hexdigest()
        == "b318eed8ac75aaf9e9e2165e06bab2932e25f3e3efc0dd68b25711e035039ced"
    )
    assert (
        hashlib.sha256(LINES_V5.read_bytes()).hexdigest()
        == "992ef866d76643a9fc26861dba22380688a646813f3daca187d098b93d9bdb8a"
    )
    assert (
        hashlib.sha256(LINES_V6.read_bytes()).hexdigest()
        == "08efb8a5202e88f5bc90b33da6ebee71cfe827385668d9972f78210788a858cc"
    )
    assert (
        hashlib.sha256(LINES_V7.read_bytes()).hexdigest()
        == "002fc832e4146482fe1cf9cbe35551bd5721ad0b50c0d81596d647d4e03b17fc"
    )
    assert (
        hashlib.sha256(KEYS.read_bytes()).hexdigest()
        == "641a37162d96d3f68e2ec50d4da52a91977943d8414d573aeb7b2bd7676c0e89"
    )


each_file = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)


@each_file
def test_a_golden_log_decodes_to_its_records(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    read = decode(lines, golden_keyring(), GOLDEN_KINDS)
    assert [_without_hash(record) for record in read] == list(GOLDEN[path])
    assert read[-1].end == path.stat().st_size


@each_file
def test_encoding_the_records_gives_the_bytes_of_the_golden_log(path: Path) -> None:
    assert encode_all(golden_keyring(), path) == path.read_bytes()


def test_every_event_type_is_in_a_golden_log() -> None:
    lines = [line for path in GOLDEN for line in path.read_bytes().splitlines()]
    assert {json.loads(line)["type"] for line in lines} == {
        event.type for event in GOLDEN_KINDS.events
    }


@each_file
def test_a_golden_log_verifies(path: Path) -> None:
    report = verify(path, vocabulary=GOLDEN_KINDS)
    assert report.ok
    assert report.lines == len(GOLDEN[path])


def test_control_a_renamed_type_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = {f"{name}ed": decoder for name, decoder in GOLDEN_KINDS.decoders.items()}
    monkeypatch.setattr(GOLDEN_KINDS, "decoders", decoders)
    with pytest.raises(UnknownEvent):
        decode(LINES.read_bytes().splitlines(), golden_keyring(), GOLDEN_KINDS)


def test_control_a_changed_shape_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class ItemDeleted(Event, frozen=True, gc=False):
        """A forbidden change: a required value that old lines do not have."""

        reason: str

    decoder = msgspec.json.Decoder(ItemDeleted).decode
    monkeypatch.setitem(GOLDEN_KINDS.decoders, "item.deleted", Decoders(decoder, None))
    with pytest.raises(UnknownEvent):
        decode(LINES.read_bytes().splitlines(), golden_keyring(), GOLDEN_KINDS)


def test_control_another_key_is_noticed() -> None:
    wrong = Keyring()
    wrong.add("users/1", b"k" * 32)
    with pytest.raises(DamagedLog):
        decode(LINES.read_bytes().splitlines(), wrong, GOLDEN_KINDS)
