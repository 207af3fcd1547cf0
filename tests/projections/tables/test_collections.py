"""The tables of all kinds: staging, declarations, and kinds that this code does not know."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import Happened, at, records_of, registered
from eventapi.testing.items import Content, ItemCreated
from events.vocabulary.resources import ResourceType
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.users import UserErased
from projections.state import State
from projections.tables.resources import ResourceTable
from projections.tables.tombstones import Tombstone
from tests.kinds import INVOICE, KINDS, instances_of

ANN, BOB = registered(1, "ann"), registered(2, "bob")
STONE = KINDS.foreign("stone")
PAINT = STONE.event_of("paint")
DECLARED: Happened = (
    "schemas/stones",
    SchemaDeclared(1, "stone", {"type": "object"}, ["weight"], [], ["paint"]),
)
STONE_CREATED: Happened = ("stones/1", STONE.created(1, clear={"weight": 3}, personal="sealed"))
ERASED: Happened = ("users/1", UserErased())


def folded(*happened: Happened) -> State:
    """Fold events of a log with the kinds of these tests into a state."""
    state = State.empty(KINDS)
    for record in records_of(happened):
        state.apply(record)
    return state


def entity(kind: ResourceType, version: int, second: int, **values: Any) -> Any:
    """A resource 1 of user 1, created at second 3."""
    stamps = {"created_at": at(3), "updated_at": at(second), "version": version}
    return kind.entity(id=1, owner=1, **values, **stamps)


# Kinds that this code does not know


def test_declared_foreign_kind_is_folded_by_its_verbs() -> None:
    story = [ANN, DECLARED, STONE_CREATED]
    assert folded(*story)["stones"].by_id[1] == entity(STONE, 3, 3)
    story += [("stones/1", STONE.updated(clear={"weight": 4})), ("stones/1", PAINT())]
    assert folded(*story)["stones"].by_id[1] == entity(STONE, 5, 5)
    story += [("stones/1", STONE.shared(2, "read"))]
    assert folded(*story)["stones"].shares == {1: {2: "read"}}
    story += [("stones/1", STONE.deleted())]
    assert folded(*story)["stones"].deleted == {1: Tombstone(1, 1, at(3), 7)}
    story += [("stones/1", STONE.restored(3, personal="sealed"))]
    assert folded(*story)["stones"].by_id[1] == entity(STONE, 8, 8)


def test_erasure_deletes_the_resources_of_foreign_kinds_too() -> None:
    state = folded(ANN, DECLARED, STONE_CREATED, ERASED)
    assert state["stones"].deleted == {1: Tombstone(1, 1, at(3), 4)}


def test_digest_names_the_owner_and_the_version_of_every_kind() -> None:
    lines = folded(ANN, DECLARED, STONE_CREATED).resources.digest_lines()
    assert list(lines) == ["stones/1 live 1 3"]


def test_foreign_kind_counts_for_the_quota() -> None:
    assert folded(ANN, DECLARED, STONE_CREATED).resources.count(1) == 1


def test_kind_that_was_never_declared_has_no_table() -> None:
    """Its number is not that of another collection's resource."""
    state = folded(ANN, STONE_CREATED)
    assert "stones" not in state.resources
    assert state.digest() == folded(ANN).digest()


def unreadable(kind: ResourceType) -> Happened:
    """A declaration that the code of these tests cannot read."""
    assert kind.declaration is not None
    event = msgspec.structs.replace(kind.declaration, version=2, actions=["pay", "send"])
    return f"schemas/{kind.collection}", event


def contents(number: str = "A-1") -> dict[str, Any]:
    """The two parts of an invoice's content."""
    clear = INVOICE.clear_content(year=2026)
    return {"clear": clear, "personal": INVOICE.content(number=number)}


INVOICE_CREATED: Happened = ("invoices/1", INVOICE.created(1, **contents()))


def test_kind_is_foreign_from_an_unreadable_declaration_on() -> None:
    state = folded(ANN, BOB, INVOICE_CREATED, unreadable(INVOICE))
    foreign = state.vocabulary.foreign("invoice")
    assert "invoice" not in state.vocabulary.kinds
    assert state["invoices"].resource is foreign
    assert state["invoices"].by_id == {1: entity(foreign, 3, 3)}
    assert not state["invoices"].unique


def test_resource_of_a_kind_that_became_foreign_can_change() -> None:
    story = [ANN, BOB, INVOICE_CREATED, unreadable(INVOICE)]
    foreign = folded(*story).vocabulary.foreign("invoice")
    story += [("invoices/1", foreign.updated(clear={"year": "2026/27"}, personal="sealed"))]
    assert folded(*story)["invoices"].by_id == {1: entity(foreign, 5, 5)}
    story += [("invoices/1", foreign.deleted())]
    assert folded(*story)["invoices"].deleted == {1: Tombstone(1, 1, at(3), 6)}


def test_readable_declaration_changes_no_table() -> None:
    assert INVOICE.declaration is not None
    state = folded(ANN, BOB, INVOICE_CREATED, ("schemas/invoices", INVOICE.declaration))
    assert state["invoices"].resource is INVOICE
    assert state["invoices"].by_id[1].number == "A-1"


def test_declarations_are_kept_by_version() -> None:
    assert INVOICE.declaration is not None
    later = unreadable(INVOICE)
    state = folded(("schemas/invoices", INVOICE.declaration), later)
    assert state.resources.schemas["invoice"] == (INVOICE.declaration, later[1])
    assert state.resources.schema("invoice") == later[1]
    assert state.resources.schema("stone") is None


# Staging

_numbers = st.integers(0, 3)
_subjects = st.integers(0, 3).map("invoices/{}".format)
_numbered = st.builds(
    lambda number, year, barcode: {
        "clear": INVOICE.clear_content(year=year),
        "personal": INVOICE.content(number=number, barcode=barcode),
    },
    st.sampled_from("AB"),
    st.integers(1, 2),
    st.none() | st.sampled_from("XY"),
)
_invoice_events = st.one_of(
    st.builds(lambda owner, parts: INVOICE.created(owner, **parts), _numbers, _numbered),
    st.builds(lambda parts: INVOICE.restored(1, **parts), _numbered),
    st.builds(
        INVOICE.updated,
        clear=st.none() | instances_of(INVOICE.clear_changes),
        personal=st.none() | instances_of(INVOICE.changes),
    ),
    st.just(INVOICE.deleted()),
    st.just(INVOICE.actions["pay"](clear=INVOICE.clear_changes(paid=True))),
    st.builds(INVOICE.shared, _numbers, st.sampled_from(["read", "write"])),
    st.builds(INVOICE.unshared, _numbers),
)
_others: st.SearchStrategy[Happened] = st.one_of(
    st.builds(lambda number: (f"users/{number}", UserErased()), _numbers),
    st.builds(
        lambda number, owner: (f"items/{number}", ItemCreated(owner, personal=Content("x"))),
        _numbers,
        _numbers,
    ),
    st.just(DECLARED),
    st.builds(lambda number, owner: (f"stones/{number}", STONE.created(owner)), _numbers, _numbers),
)
histories = st.lists(st.tuples(_subjects, _invoice_events) | _others, max_size=25)
"""Events of several kinds, possible or not: unknown numbers, values that are taken."""


def content_of(table: ResourceTable) -> Any:
    """Everything that a decision can read of a table."""
    return {
        "live": dict(table.by_id),
        "deleted": dict(table.deleted),
        "unique": dict(table.unique),
        "shares": {number: dict(users) for number, users in table.shares.items()},
        "shared with": dict(table.shared_with),
        "last": table.last_id,
        "counts": [table.by_owner.count(owner) for owner in range(4)],
        "of owners": [table.all_of_owner(owner) for owner in range(4)],
    }


def contents_of(state: State) -> Any:
    """Everything that a decision can read of all tables of resources."""
    return {
        "tables": {name: content_of(state[name]) for name in state.resources},
        "schemas": dict(state.resources.schemas),
        "bytes": [state.resources.log_bytes.of(owner) for owner in range(4)],
        "vocabulary": state.vocabulary.types,
    }


@given(histories, st.integers(0, 25), st.integers(1, 3))
def test_lazily_staged_tables_are_equal_to_those_of_an_eager_fold(
    history: list[Happened], cut: int, depth: int
) -> None:
    records = records_of(history)
    base, eager = State.empty(KINDS), State.empty(KINDS)
    for record in records[:cut]:
        base.apply(record)
        eager.apply(record)
    before = contents_of(base)
    draft = base
    for _ in range(depth):
        draft = draft.stage()
    for record in records[cut:]:
        assert draft.apply(record) == eager.apply(record)
    assert contents_of(draft) == contents_of(eager)
    assert (draft.digest(), draft.checksum()) == (eager.digest(), eager.checksum())
    assert contents_of(base) == before


def test_staging_copies_only_the_tables_that_are_used() -> None:
    base = folded(ANN, BOB, INVOICE_CREATED)
    draft = base.stage()
    assert not draft.resources._tables
    assert draft["invoices"].by_id[1] is base["invoices"].by_id[1]
    assert set(draft.resources._tables) == {"invoices"}


def test_control_unknown_collection_is_a_key_error() -> None:
    state = folded(ANN)
    for one in (state, state.stage()):
        with pytest.raises(KeyError):
            one["stones"]


@given(histories)
def test_indexes_of_unique_values_and_shares_agree_with_the_table(
    history: list[Happened],
) -> None:
    table = folded(*history)["invoices"]
    keys = {key for one in table.by_id.values() for key in table.unique_keys(one)}
    assert set(table.unique) <= keys
    for key, number in table.unique.items():
        assert key in set(table.unique_keys(table.by_id[number]))
    pairs = {(number, user) for number, users in table.shares.items() for user in users}
    assert pairs == {(number, user) for user, all_ in table.shared_with.items() for number in all_}
