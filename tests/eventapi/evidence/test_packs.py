"""Packs of evidence: what is in them, and that their own program checks all of it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from zipfile import ZipFile

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.evidence import writer as writing
from eventapi.evidence.selection import Selection
from eventapi.testing.given import Happened
from eventapi.testing.histories import sound_histories
from eventapi.testing.sample_log import Written, write
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note, TreeHead
from events.transparency.tree import Tree
from events.vocabulary.keys import KeyCreated
from events.vocabulary.resources import Created
from events.vocabulary.sessions import SessionStarted
from events.vocabulary.users import UserErased
from tests.eventapi.evidence.packs import (
    WITNESS,
    World,
    checked,
    faults_in,
    files_in,
    rows_of,
    small_history,
    with_witness,
)
from tests.eventapi.http.resources.kinds import KINDS

ANN = Selection(user="ann")


async def test_a_pack_has_the_lines_with_everything_that_proves_them() -> None:
    world = World(write(small_history()))

    files = files_in(await world.pack(ANN))

    assert list(files) == [
        "README.txt",
        "verify.html",
        "verify.py",
        "log-key.txt",
        "checkpoint.txt",
        "lines.jsonl",
        "schemas.jsonl",
        "proofs.txt",
        "manifest.json",
    ]
    positions = await world.positions(ANN)
    assert rows_of(files["lines.jsonl"]) == [world.written.lines[at - 1] for at in positions]
    assert files["checkpoint.txt"].decode() == str(await world.checkpoints.current())
    vkey = (await world.checkpoints.verifier()).vkey
    assert files["log-key.txt"].decode() == f"{vkey}\n"
    assert vkey in files["README.txt"].decode()
    assert "$" not in files["README.txt"].decode()
    check = checked(files, vkey)
    assert (check.faults, check.notes, len(check.lines)) == ([], [], len(positions))


async def test_the_manifest_lists_every_other_file() -> None:
    files = files_in(await World(write(small_history())).pack(ANN))

    manifest = json.loads(files["manifest.json"])

    assert {name: (one["bytes"], one["sha256"]) for name, one in manifest["files"].items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest())
        for name, content in files.items()
        if name != "manifest.json"
    }
    assert manifest["selection"]["user"] == "ann"
    assert manifest["events"] == len(rows_of(files["lines.jsonl"]))


async def test_the_same_evidence_is_the_same_bytes() -> None:
    world = World(write(small_history()))

    first, second = await world.pack(ANN), await world.pack(ANN)

    assert first == second
    with ZipFile(io.BytesIO(first)) as pack:
        assert {one.date_time for one in pack.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@given(sound_histories(KINDS), st.data())
async def test_every_pack_of_any_history_is_proven(
    history: list[Happened], data: st.DataObject
) -> None:
    written = write(history)
    if not written.lines:
        return
    world = World(written)
    subject = data.draw(st.sampled_from([subject for subject, _ in history]))
    selection = Selection(subject=subject, open=data.draw(st.booleans()))

    files = files_in(await world.pack(selection))

    assert faults_in(files) == []
    lines, schemas = rows_of(files["lines.jsonl"]), rows_of(files["schemas.jsonl"])
    subjects = [json.loads(line)["subject"] for line in lines]
    assert subjects.count(subject) == [one for one, _ in history].count(subject)
    assert {*subjects} <= {subject, *(user.subject for user in world.state.users.by_id.values())}
    declared = f"schemas/{subject.partition('/')[0]}"
    assert {json.loads(line)["subject"] for line in schemas} <= {declared}
    assert len(schemas) == [one for one, _ in history].count(declared)


@given(sound_histories(KINDS))
async def test_the_pack_of_a_user_has_every_line_of_the_user(history: list[Happened]) -> None:
    written = write(history)
    world = World(written)
    belongs: dict[str, int] = {}
    for subject, event in history:
        if isinstance(event, Created | SessionStarted | KeyCreated):
            belongs[subject] = event.owner if isinstance(event, Created) else event.user
    for user in world.state.users.by_id.values():
        mine = [at for at, (one, _) in enumerate(history, 1) if belongs.get(one) == user.id]

        found = await world.positions(Selection(user=user.subject))

        about = [at for at, (one, _) in enumerate(history, 1) if one == user.subject]
        assert list(found) == sorted([*mine, *about])


async def test_lines_by_the_user_about_others_are_evidence_too() -> None:
    world = World(write(small_history()))
    lines = world.written.lines
    lines[10] = lines[10].replace(b'"actor":"operator/test"', b'"actor":"users/2"')
    changed = World(msgspec.structs.replace(world.written, lines=lines))

    assert 11 not in await World(write(small_history())).positions(Selection(user="ben"))
    assert 11 in await changed.positions(Selection(user="ben"))
    assert 11 not in await changed.positions(Selection(subject="users/2"))


async def test_the_erasure_that_deleted_an_item_is_part_of_its_evidence() -> None:
    world = World(write([*small_history(), ("users/2", UserErased())]))

    files = files_in(await world.pack(Selection(subject="items/1", open=True)))

    kinds = [json.loads(line)["type"] for line in rows_of(files["lines.jsonl"])]
    assert kinds == ["item.created", "user.erased"]
    assert rows_of(files["opened.jsonl"]) == [b'{"position":4,"unreadable":"users/2"}']
    check = checked(files)
    assert check.faults == []
    assert check.remarks == {"unreadable, because no key opens them": [1]}


@pytest.mark.parametrize("cosigned", [1, 2, 7, 32, 41])
async def test_an_older_checkpoint_of_witnesses_is_there_with_what_leads_from_it(
    cosigned: int,
) -> None:
    world = World(write(small_history()))

    files = await with_witness(world, cosigned, ANN)

    assert TreeHead.parse(Note.parse(files["cosigned.txt"].decode())).size == cosigned
    assert "witness/" in files["cosigned.txt"].decode()
    assert faults_in(files) == []
    for name in ("cosigned.txt", "consistency.txt"):
        less = {other: content for other, content in files.items() if other != name}
        assert name in {one.file for one in faults_in(less)}


async def test_signatures_of_witnesses_on_the_newest_checkpoint_are_on_it() -> None:
    world = World(write(small_history()))

    files = await with_witness(world, 42, ANN)

    assert "cosigned.txt" not in files
    assert "witness/" in files["checkpoint.txt"].decode()
    assert faults_in(files) == []


async def test_a_large_pack_is_written_a_few_lines_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    world = World(write(small_history()))
    lines = world.history.lines

    async def counted(positions: Sequence[int]) -> list[bytes]:
        read.append(len(positions))
        return await lines(positions)

    monkeypatch.setattr(world.history, "lines", counted)
    monkeypatch.setattr(writing, "_TWO_GIGABYTES", 1)  # So files have the format of large ones.

    files = files_in(await world.pack(ANN))

    assert faults_in(files) == []
    assert max(read) <= 16 < sum(read)


async def test_a_checkpoint_that_is_cosigned_while_a_pack_begins_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process may sign and submit a newer one than that of the pack."""
    world = World(write(small_history()))
    written = world.written
    part = World(Written(written.lines[:9], written.records[:9], written.keys))
    old = Checkpoints(Tree(part.written.log), world.signing)
    newer = Checkpoints(Tree(written.log), world.signing)

    async def sign() -> Note:
        await world.checkpoints.tree.grow()
        note = await old.current()
        grown = await newer.current()
        await newer.cosign(
            str(Note(grown.text, [*grown.signatures, *WITNESS.sign(grown.text).signatures]))
        )
        return note

    monkeypatch.setattr(world.checkpoints, "current", sign)

    files = files_in(await world.pack(Selection(user="ann", until=9)))

    assert "cosigned.txt" not in files
    assert faults_in(files) == []
