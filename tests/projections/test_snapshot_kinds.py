"""A snapshot keeps the resources of declared and of foreign kinds."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import Happened, records_of, registered
from events.codec import decode, encode
from events.record import GENESIS, Record
from events.sealing import Keyring
from events.vocabulary.resources import ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.vocabulary import Vocabulary
from projections.snapshots import Snapshots
from projections.state import State
from tests.kinds import EVERYTHING, INVOICE, KINDS, instances_of

ANN, BOB = registered(1, "ann"), registered(2, "bob")
STONE = KINDS.foreign("stone")
DECLARED: Happened = (
    "schemas/stones",
    SchemaDeclared(1, "stone", {"type": "object"}, ["weight"], [], []),
)

_random = Random(7)


def keyring(*users: int) -> Keyring:
    """The keys of some users."""
    found = Keyring()
    for user in users:
        found.add(f"users/{user}", bytes([user]) * 32)
    return found


BOTH = keyring(1, 2)


def folded(*happened: Happened) -> State:
    """Fold events of a log with the kinds of these tests into a state."""
    state = State.empty(KINDS)
    for record in records_of(happened):
        state.apply(record)
    return state


def reloaded(state: State, keys: Keyring = BOTH) -> State:
    """The state from a snapshot, read with some of the keys."""
    with TemporaryDirectory() as directory:
        Snapshots(Path(directory), KINDS).write(state, BOTH, _random.randbytes)
        found = Snapshots(Path(directory), KINDS).newest(keys, position=state.position)
    assert found is not None
    return found


def assert_equal(one: State, other: State) -> None:
    """Assert that two states have the same tables of resources, and the same sums."""
    assert set(one.resources) == set(other.resources)
    for collection in one.resources:
        ours, theirs = one[collection], other[collection]
        assert ours.by_id == theirs.by_id
        assert ours.deleted == theirs.deleted
        assert ours.unique == theirs.unique
        assert ours.shares == theirs.shares
        assert ours.shared_with == theirs.shared_with
        assert ours.last_id == theirs.last_id
        assert ours.resource is theirs.resource
        for owner in (1, 2):
            assert ours.all_of_owner(owner) == theirs.all_of_owner(owner)
    assert (one.digest(), one.checksum()) == (other.digest(), other.checksum())


def invoice(owner: int, number: str, **values: Any) -> Any:
    """The creation of an invoice."""
    return INVOICE.created(
        owner,
        clear=INVOICE.clear_content(year=2026),
        personal=INVOICE.content(number=number, **values),
    )


STORY: list[Happened] = [
    ANN,
    BOB,
    ("invoices/1", invoice(1, "A-1", barcode="4006", note="a secret of ann")),
    ("invoices/2", invoice(2, "A-1", note="a secret of bob")),
    ("invoices/3", invoice(1, "A-2")),
    ("invoices/1", INVOICE.shared(2, "write")),
    ("invoices/3", INVOICE.shared(2, "read")),
    ("invoices/3", INVOICE.deleted()),
    DECLARED,
    ("stones/5", STONE.created(2, clear={"weight": 3}, personal="sealed")),
    ("stones/5", STONE.shared(1, "read")),
    ("stones/6", STONE.created(1)),
    ("stones/6", STONE.deleted()),
]


def test_declared_and_foreign_kinds_survive_a_snapshot() -> None:
    state = folded(*STORY)
    again = reloaded(state)
    assert_equal(again, state)
    assert dict(again.resources.schemas) == {"stone": [DECLARED[1]]}


@given(instances_of(EVERYTHING.content), instances_of(EVERYTHING.clear_content))
def test_value_of_every_type_survives_a_snapshot(sealed: Any, clear: Any) -> None:
    state = folded(ANN, ("everything/1", EVERYTHING.created(1, clear=clear, personal=sealed)))
    assert_equal(reloaded(state), state)
    (one,) = reloaded(state)["everything"].by_id.values()
    for part in (sealed, clear):
        for name in part.__struct_fields__:
            assert type(getattr(one, name)) is type(getattr(part, name)), name


@given(instances_of(EVERYTHING.content), instances_of(EVERYTHING.clear_content))
def test_value_of_every_type_survives_the_log(sealed: Any, clear: Any) -> None:
    event = EVERYTHING.created(1, clear=clear, personal=sealed)
    record = Record(1, "s", "everything/1", "t", "users/1", event, "users/1")
    line, _ = encode(record, GENESIS, BOTH, bytes(12))
    (read,) = decode([line], BOTH, KINDS)
    assert read.event == event


def test_without_a_key_only_sealed_values_are_blank() -> None:
    again = reloaded(folded(*STORY), keyring(2))
    one = again["invoices"].by_id[1]
    assert (one.number, one.barcode, one.note) == ("", None, "")
    assert (one.year, one.paid, one.owner, one.version) == (2026, False, 1, 6)
    assert again["invoices"].by_id[2].note == "a secret of bob"
    assert again.digest() == folded(*STORY).digest()


def test_clear_values_are_readable_in_a_snapshot_and_sealed_ones_are_not(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, KINDS)
    snapshots.write(folded(*STORY), BOTH, _random.randbytes)
    (file,) = tmp_path.glob("*.snapshot")
    content = file.read_bytes()
    for text in (b"A-1", b"4006", b"secret of"):
        assert text not in content
    assert msgspec.msgpack.encode(2026) in content


def unreadable() -> Happened:
    """A declaration of invoices that the code of these tests cannot read."""
    assert INVOICE.declaration is not None
    event = msgspec.structs.replace(INVOICE.declaration, version=2, actions=["pay", "send"])
    return "schemas/invoices", event


def test_kind_that_became_foreign_survives_a_snapshot() -> None:
    state = folded(*STORY, unreadable())
    again = reloaded(state)
    assert_equal(again, state)
    assert "invoice" not in again.vocabulary.kinds


def test_kind_can_become_foreign_between_two_snapshots() -> None:
    """What a snapshot remembers about the old fields must not end in the next one."""
    state = folded(*STORY)
    reloaded(state)
    state.apply(records_of([*STORY, unreadable()])[-1])
    assert_equal(reloaded(state), state)


@pytest.mark.parametrize("kinds", [[], [INVOICE]])
def test_snapshot_of_another_vocabulary_is_not_used(
    tmp_path: Path, kinds: list[ResourceType]
) -> None:
    Snapshots(tmp_path, KINDS).write(folded(*STORY), BOTH, _random.randbytes)
    assert Snapshots(tmp_path, KINDS).newest(BOTH, position=99) is not None
    assert Snapshots(tmp_path, Vocabulary(kinds)).newest(BOTH, position=99) is None


@given(st.integers(0, len(STORY)))
def test_fold_goes_on_from_a_snapshot(cut: int) -> None:
    again = reloaded(folded(*STORY[:cut]))
    for record in records_of(STORY)[cut:]:
        again.apply(record)
    assert_equal(again, folded(*STORY))
