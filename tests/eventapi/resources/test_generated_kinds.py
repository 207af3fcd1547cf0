"""The laws of the fold and of the past, for any declaration and any history of it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from eventapi.queries.history import History
from eventapi.resources import Resource
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing.given import Happened, folded_records, records_of, registered, state_of
from eventapi.testing.resources import created, shared, updated
from eventapi.testing.sample_log import Written, erased_users, key_of, write
from eventapi.testing.strategies import declarations, sound_histories, wild_histories
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.resources import (
    Acted,
    Created,
    Deleted,
    Entity,
    Restored,
    Shared,
    Unshared,
    Updated,
)
from events.vocabulary.users import UserErased
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.resources import ResourceTable
from projections.tables.tombstones import Tombstone
from tests.events.stores import Store, new_store

ROOT = Path(__file__).parents[3]
REPLAYER = ROOT / "docs" / "replay.mjs"
_random = Random(3)
_names = count()


class Case:
    """A registry with one drawn kind, a history of it, and its log."""

    def __init__(self, registry: Registry, history: Sequence[Happened]) -> None:
        self.registry = registry
        self.resource: Declared = registry.resources[1]
        self.history = history
        self.written: Written = write(history)
        self.state = self.fold(len(history))

    def __repr__(self) -> str:
        fields = self.resource.cls.__annotations__
        return f"Case({fields}, {self.resource.cls.unique}, {self.history})"

    def fold(self, position: int) -> State:
        """The fold of the records up to a position."""
        return folded_records(self.written.records[:position], self.resource.type)

    def replay(self, *, destroyed: Sequence[str] = (), position: int | None = None) -> State:
        """Decode and fold the lines up to a position, after some keys are destroyed."""

        async def run() -> State:
            vault = await self.written.vault(destroyed)
            vocabulary = self.registry.vocabulary
            log = self.written.log
            return await replay(log, Keyring(), vault, vocabulary, position=position)

        return asyncio.run(run())


@st.composite
def cases(draw: st.DrawFn, *, max_size: int = 25) -> Case:
    """A drawn declaration with a drawn history of it."""
    registry = Registry([draw(declarations())])
    return Case(registry, draw(sound_histories(registry, max_size=max_size)))


def sums(state: State) -> tuple[str, str]:
    return state.digest(), state.checksum()


@pytest.mark.long
@given(cases(), st.data())
def test_the_fold_of_a_prefix_and_the_rest_is_the_fold(case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(case.history)))
    state = case.fold(cut)
    for record in case.written.records[cut:]:
        state.apply(record)
    assert sums(state) == sums(case.state)


@given(cases())
def test_replay_restores_the_live_state(case: Case) -> None:
    """Also the values, so that a value on a line is what the command had."""
    replayed = case.replay()
    assert sums(replayed) == sums(case.state)
    table = case.resource.collection
    assert dict(replayed[table].by_id) == dict(case.state[table].by_id)
    assert dict(replayed[table].unique) == dict(case.state[table].unique)


@pytest.mark.long
@given(cases(), st.data())
def test_staged_events_do_not_change_the_base(case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(case.history)))
    base = case.fold(cut)
    before, draft = sums(base), base.stage()
    for record in case.written.records[cut:]:
        draft.apply(record)
    assert sums(base) == before
    assert draft.checksum() == case.state.checksum()


@given(cases(), st.data())
def test_a_snapshot_and_the_tail_give_the_fold(
    tmp_path_factory: pytest.TempPathFactory, case: Case, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(case.history)))
    vocabulary = case.registry.vocabulary
    snapshots = Snapshots(tmp_path_factory.mktemp(f"snapshots{next(_names)}"), vocabulary)
    keyring = keyring_of(case.written)
    with snapshots.locked():
        snapshots.write(case.fold(cut), keyring, _random.randbytes)
    state = snapshots.newest(keyring, position=cut)
    assert state is not None
    for record in case.written.records[cut:]:
        state.apply(record)
    assert sums(state) == sums(case.state)


@given(cases(), st.data())
def test_an_erasure_leaves_the_digest_at_every_earlier_position(
    case: Case, data: st.DataObject
) -> None:
    destroyed = sorted(erased_users(case.state))
    assert sums(case.replay(destroyed=destroyed)) == sums(case.state)
    position = data.draw(st.integers(0, len(case.history)))
    then = case.replay(destroyed=destroyed, position=position)
    assert then.digest() == case.fold(position).digest()


@pytest.mark.long
@given(cases(), st.integers(0, 30))
def test_a_stranger_folds_the_log_to_the_same_digest(case: Case, position: int) -> None:
    """With items only in its vocabulary, and without any key."""
    stranger = Registry()

    async def run() -> State:
        empty, log = MemoryVault(), case.written.log
        return await replay(log, Keyring(), empty, stranger.vocabulary, position=position)

    assert asyncio.run(run()).digest() == case.fold(position).digest()


@pytest.mark.long
@given(st.data())
def test_the_fold_never_raises_on_an_event_of_a_declared_kind(data: st.DataObject) -> None:
    registry = Registry([data.draw(declarations())])
    history = data.draw(wild_histories(registry))
    state = folded_records(records_of(history), registry.resources[1].type)
    assert state.position == len(history)
    sums(state)


def keyring_of(written: Written) -> Keyring:
    keyring = Keyring()
    for subject in written.keys:
        keyring.add(subject, key_of(subject))
    return keyring


def reader_of(case: Case) -> History:
    log, keyring = case.written.log, keyring_of(case.written)
    return History(log, keyring, MemoryVault(), None, lambda: case.state.vocabulary)


def everything_in(table: ResourceTable) -> list[Entity | Tombstone]:
    """The resources of a table, live or deleted."""
    return [*table.by_id.values(), *table.deleted.values()]


class Model:
    """The values, owners and shares of a kind in plain dictionaries."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.values: dict[int, dict[str, Any]] = {}
        self.owners: dict[int, int] = {}
        self.shares: dict[int, dict[int, str]] = {}

    def apply(self, record: Record) -> None:
        """Apply an event in the most direct way."""
        collection, _, name = record.subject.partition("/")
        if record.event.type == "user.erased":
            self._erase(int(name))
        if collection != self.collection:
            return
        event, number = record.event, int(name)
        if isinstance(event, Created):
            self.owners[number] = event.owner
        if isinstance(event, Created | Restored):
            self.values[number] = self._set(event)
        elif isinstance(event, Updated | Acted):
            self.values[number] |= self._set(event)
        elif isinstance(event, Deleted):
            del self.values[number]
        elif isinstance(event, Shared):
            self.shares.setdefault(number, {})[event.user] = event.can
        elif isinstance(event, Unshared):
            del self.shares[number][event.user]

    def _set(self, event: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for part in (event.clear, event.personal):
            if part is not None:
                found |= msgspec.structs.asdict(part)
        found.pop("arguments_", None)
        return {name: value for name, value in found.items() if value is not UNSET}

    def _erase(self, user: int) -> None:
        for number, owner in self.owners.items():
            if owner == user:
                self.values.pop(number, None)
                self.shares.pop(number, None)
        for users in self.shares.values():
            users.pop(user, None)


def values_in(entities: Mapping[int, Any], names: Sequence[str]) -> dict[int, dict[str, Any]]:
    return {
        number: {name: getattr(entity, name) for name in names}
        for number, entity in entities.items()
    }


@given(cases())
async def test_every_past_position_equals_a_plain_model(case: Case) -> None:
    """State, shares, `as_of` and `history`, at every position of the log."""
    resource, written = case.resource, case.written
    table = case.state[resource.collection]
    reader = reader_of(case)
    everything = everything_in(table)
    erased = {int(subject.partition("/")[2]) for subject in erased_users(case.state)}
    model = Model(resource.collection)
    for record in written.records:
        model.apply(record)
        then = case.fold(record.position)[resource.collection]
        assert values_in(then.by_id, resource.names) == model.values
        shares = {number: users for number, users in model.shares.items() if users}
        assert {number: dict(users) for number, users in then.shares.items()} == shares
        assert dict(then.unique) == unique_of(then)
        past = await reader.entities_at(record.position, everything, table)
        readable = {
            number: values
            for number, values in model.values.items()
            if model.owners[number] not in erased
        }
        found = values_in(past, resource.names)
        assert {number: found[number] for number in readable} == readable


@pytest.mark.long
@given(cases())
async def test_the_history_of_a_resource_has_exactly_its_records(case: Case) -> None:
    table = case.state[case.resource.collection]
    reader = reader_of(case)
    erased = {int(subject.partition("/")[2]) for subject in erased_users(case.state)}
    for one in everything_in(table):
        if one.owner in erased:
            continue
        found = await reader.records(table.versions.of(one.version))
        subject = case.resource.type.subject(one.id)
        expected = [record for record in case.written.records if record.subject == subject]
        assert found == [replace(record, end=0) for record in expected]


def unique_of(table: ResourceTable) -> dict[Any, int]:
    """The unique values of the live resources of a table, which no two of them share."""
    keys = [(key, one.id) for one in table.by_id.values() for key in table.unique_keys(one)]
    assert len(dict(keys)) == len(keys)
    return dict(keys)


async def appended(store: Store, written: Written) -> None:
    """Append the lines of a history to a store, and keep its keys."""
    log, vault = await store.open_log(), await store.open_vault()
    await vault.put(written.keys)
    async with log.exclusive(30) as appender:
        last = written.records[-1]
        await appender.append(written.lines, Head(last.position, last.hash))
    await vault.close()
    await log.close()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["files", "closing", "postgresql", "mariadb"])
@settings(max_examples=15)
@given(case=cases())
def test_every_store_gives_the_same_state(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    store = new_store(kind, request, tmp_path_factory.mktemp(f"store{next(_names)}"))

    async def run() -> State:
        await appended(store, case.written)
        log, vault = await store.open_log(), await store.open_vault()
        try:
            return await replay(log, Keyring(), vault, case.registry.vocabulary)
        finally:
            await vault.close()
            await log.close()

    assert sums(asyncio.run(run())) == sums(case.state)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="node is absent: apt-get install nodejs")
@settings(max_examples=20)
@given(case=cases(), position=st.integers(1, 30))
def test_node_folds_kinds_it_has_never_heard_of(
    tmp_path_factory: pytest.TempPathFactory, case: Case, position: int
) -> None:
    file = tmp_path_factory.mktemp(f"node{next(_names)}") / "events.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in case.written.lines))
    position = min(position, len(case.history))
    ran = subprocess.run(
        ["node", REPLAYER, file, str(position)], capture_output=True, text=True, check=False
    )
    digest = case.fold(position).digest()
    assert (ran.stdout.split()[-1:], ran.stderr) == ([digest], "")


class Note(Resource):
    """A kind for the controls."""

    shareable = True

    text: str


NOTE = created(Note(text="one"), 1, owner=1)
SHARED = [registered(1, "ann"), registered(2, "bob"), NOTE, shared(Note, 1, user=2, can="read")]


@pytest.mark.parametrize("erased", ["users/1", "users/2"])
def test_an_erasure_ends_shares_of_the_user_and_with_the_user(erased: str) -> None:
    """Drawn histories seldom have both."""
    table = state_of(*SHARED, (erased, UserErased()))["notes"]
    assert (dict(table.shares), dict(table.shared_with)) == ({}, {})
    assert state_of(*SHARED)["notes"].shares == {1: {2: "read"}}


def test_a_snapshot_has_the_shares(tmp_path: Path) -> None:
    written = write(SHARED)
    state = folded_records(written.records)
    snapshots, keyring = Snapshots(tmp_path, state.vocabulary), keyring_of(written)
    with snapshots.locked():
        snapshots.write(state, keyring, _random.randbytes)
    loaded = snapshots.newest(keyring, position=len(SHARED))
    assert loaded is not None
    assert sums(loaded) == sums(state)
    assert loaded["notes"].shared_with == {2: {1}}


def test_control_another_value_shows_in_the_checksum_alone() -> None:
    """The laws compare something: the values, and in the digest the versions."""
    ann = registered(1, "ann")
    one, other = (state_of(ann, created(Note(text=text), 1, owner=1)) for text in ("one", "two"))
    assert one.checksum() != other.checksum()
    assert one.digest() == other.digest()
    later = state_of(ann, created(Note(text="one"), 1, owner=1), updated(Note, 1, text="one"))
    assert later.digest() != one.digest()
