"""Opened values prove themselves without a key: one letter or two exchanged values are named."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from base64 import urlsafe_b64encode
from functools import cache

import msgspec

from eventapi.evidence.opened import opened_row
from eventapi.evidence.selection import Selection
from eventapi.resources.items import Item
from eventapi.testing.given import Happened, created, registered
from eventapi.testing.resources import deleted
from eventapi.testing.sample_log import key_of, write
from events.codec import encode
from events.record import GENESIS
from events.sealing import Keyring
from tests.eventapi.evidence.packs import Found, World, checked, faults_in, files_in, rows_of

OPENED = "opened.jsonl"


def history() -> list[Happened]:
    """A user with items."""
    items = [created(number, 1, f"title {number}") for number in range(1, 10)]
    return [registered(1, "ann"), *items]


@cache
def opened_pack() -> dict[str, bytes]:
    world = World(write(history()))
    return files_in(asyncio.run(world.pack(Selection(user="ann", open=True))))


def with_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    """The pack of a forger: the manifest has the sums of the files, but no valid signature."""
    manifest = files["manifest.json"].decode()
    entry = json.loads(manifest)["files"][OPENED]
    checks = "".join(hashlib.sha256(row).hexdigest()[:8] for row in files[OPENED].split(b"\n"))
    for name, value in {
        "bytes": str(len(files[OPENED])),
        "sha256": hashlib.sha256(files[OPENED]).hexdigest(),
        "lines": checks,
    }.items():
        manifest = manifest.replace(str(entry[name]), value, 1)
    return {**files, "manifest.json": manifest.encode()}


def in_opened(found: list[Found]) -> list[int]:
    return [one.line for one in found if one.file == OPENED]


def test_control_every_value_without_secrets_is_proven() -> None:
    check = checked(opened_pack())

    assert check.faults == []
    assert check.proven_values == 9
    assert check.remarks == {"NOT PROVABLE without the key, because secrets are withheld": [1]}


def test_a_row_has_the_very_bytes_of_which_the_line_has_the_hash() -> None:
    files = opened_pack()
    lines = {json.loads(line)["id"]: json.loads(line) for line in rows_of(files["lines.jsonl"])}
    for row in rows_of(files[OPENED])[1:]:
        start = re.match(rb'\{"position":(\d+),"clear":', row)
        assert start is not None
        digest = hashlib.sha256(row[start.end() : -1]).digest()
        commitment = urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert commitment == lines[start[1].decode()]["commitment"]


def test_one_changed_letter_is_named_with_its_line() -> None:
    files = dict(opened_pack())
    files[OPENED] = files[OPENED].replace(b"title 4", b"title 5", 1)

    assert in_opened(faults_in(files)) == [5]


def with_changed_letter() -> dict[str, bytes]:
    """A forged pack: a letter of the value at position 5 is another one."""
    files = dict(opened_pack())
    files[OPENED] = files[OPENED].replace(b"title 4", b"Title 4", 1)
    return with_manifest(files)


def with_exchanged_values() -> dict[str, bytes]:
    """A forged pack: the values at positions 3 and 8 are exchanged."""
    files = dict(opened_pack())
    rows = rows_of(files[OPENED])
    rows[2], rows[7] = (
        rows[7].replace(b'"position":8', b'"position":3'),
        rows[2].replace(b'"position":3', b'"position":8'),
    )
    files[OPENED] = b"".join(row + b"\n" for row in rows)
    return with_manifest(files)


def test_one_changed_letter_is_named_also_if_the_manifest_agrees() -> None:
    found = faults_in(with_changed_letter())

    assert in_opened(found) == [5]
    assert {one.file for one in found} == {OPENED, "manifest.json"}
    (reason,) = (one.text for one in found if one.file == OPENED)
    assert reason == "these values are not those that were sealed at position 5"


def test_two_exchanged_values_are_named() -> None:
    files = with_exchanged_values()

    assert in_opened(faults_in(files)) == [3, 8]
    files["manifest.json"] = opened_pack()["manifest.json"]
    assert in_opened(faults_in(files)) == [3, 8]


def test_a_value_that_was_left_out_is_noticed() -> None:
    files = dict(opened_pack())
    files[OPENED] = b"".join(row + b"\n" for row in rows_of(files[OPENED]) if b"title 4" not in row)

    (found,) = [one for one in faults_in(with_manifest(files)) if one.file == OPENED]

    assert found.text == "position 5 is missing"


def test_a_value_for_a_line_without_a_seal_is_named() -> None:
    """It has no commitment either, so it would only be noted as not provable."""
    world = World(write([*history(), deleted(Item, 9)]))
    files = files_in(asyncio.run(world.pack(Selection(user="ann", open=True))))
    files[OPENED] += b'{"position":11,"clear":{"title":"forged"}}\n'

    (found,) = [one for one in faults_in(with_manifest(files)) if one.file == OPENED]

    assert (found.line, found.text) == (11, "nothing is sealed at position 11")


def test_a_proven_value_cannot_be_passed_off_as_one_with_secrets() -> None:
    files = dict(opened_pack())
    row = b'{"position":5,"shown":{"title":"forged"},"withheld":["salt"]}'
    rows = [row if b"title 4" in one else one for one in rows_of(files[OPENED])]
    files[OPENED] = b"".join(one + b"\n" for one in rows)

    assert in_opened(faults_in(with_manifest(files))) == [5]


def test_values_of_earlier_versions_are_never_silently_accepted() -> None:
    written = write(history())
    keyring, before = Keyring(), GENESIS
    keyring.add("users/1", key_of("users/1"))
    for at, given in enumerate(written.records):
        record = msgspec.structs.replace(given, reason="")
        line, before = encode(record, before, keyring, record.position.to_bytes(12, "big"))
        assert b"commitment" not in line
        written.lines[at] = line
        written.records[at] = msgspec.structs.replace(record, hash=before)

    files = files_in(asyncio.run(World(written).pack(Selection(user="ann", open=True))))

    check = checked(files)
    assert (check.faults, check.proven_values) == ([], 0)
    assert check.remarks == {
        "NOT PROVABLE without the key, because secrets are withheld": [1],
        "NOT PROVABLE without the key, because their line has no commitment": [*range(2, 11)],
    }


def test_secrets_and_what_could_help_to_guess_them_are_withheld() -> None:
    row = json.loads(rows_of(opened_pack()[OPENED])[0])

    assert row == {
        "position": 1,
        "shown": {"username": "ann", "email": "ann@example.org", "full_name": "Ann"},
        "withheld": ["salt", "password_hash"],
    }


def test_a_seal_that_its_key_does_not_open_is_unreadable() -> None:
    written, keyring = write(history()), Keyring()
    keyring.add("users/1", key_of("users/2"))

    assert opened_row(written.lines[1], keyring) == b'{"position":2,"unreadable":"users/1"}\n'
    assert opened_row(written.lines[1], Keyring()) == b'{"position":2,"unreadable":"users/1"}\n'
