"""The table of a declared kind: given what happened, then what there is."""

from __future__ import annotations

from typing import Any

import pytest

from eventapi.testing.given import Happened, at, records_of, registered
from events.record import Event
from events.vocabulary.users import UserErased
from projections.state import State
from projections.tables.resources import ResourceTable
from projections.tables.tombstones import Tombstone
from tests.kinds import INVOICE, KINDS

ANN, BOB, EVE = registered(1, "ann"), registered(2, "bob"), registered(3, "eve")
DELETED: Happened = ("invoices/1", INVOICE.deleted())
ANN_ERASED: Happened = ("users/1", UserErased())
BOB_ERASED: Happened = ("users/2", UserErased())


def folded(*happened: Happened) -> State:
    """Fold events of a log with invoices into a state."""
    state = State.empty(KINDS)
    for record in records_of(happened):
        state.apply(record)
    return state


def invoices(*happened: Happened) -> ResourceTable:
    """The table of invoices after events."""
    return folded(*happened)["invoices"]


def parts(**values: Any) -> dict[str, Any]:
    """Values of a whole content, as the two parts of an event."""
    given = {"number": "A-1", "year": 2026, "barcode": None, "note": "", "paid": False} | values
    return {
        "clear": INVOICE.clear_content(**{one.name: given[one.name] for one in INVOICE.clear}),
        "personal": INVOICE.content(**{one.name: given[one.name] for one in INVOICE.sealed}),
    }


def created(id_: int, owner: int, **values: Any) -> Happened:
    """The creation of an invoice."""
    return f"invoices/{id_}", INVOICE.created(owner, **parts(**values))


def updated(id_: int, **values: Any) -> Happened:
    """The change of sealed values of an invoice."""
    return f"invoices/{id_}", INVOICE.updated(personal=INVOICE.changes(**values))


def restored(id_: int, **values: Any) -> Happened:
    """The restoration of an invoice."""
    return f"invoices/{id_}", INVOICE.restored(4, **parts(**values))


def shared(number: int, user: int, can: str = "read") -> Happened:
    """An invoice is shared with a user."""
    return f"invoices/{number}", INVOICE.shared(user, can)


def unshared(number: int, user: int) -> Happened:
    """An invoice is not shared with a user any more."""
    return f"invoices/{number}", INVOICE.unshared(user)


# Clear and sealed fields


def test_created_resource_has_its_sealed_and_its_clear_values() -> None:
    table = invoices(ANN, created(1, 1, note="for ann", paid=True))
    assert table.by_id[1] == INVOICE.entity(
        id=1,
        number="A-1",
        barcode=None,
        note="for ann",
        year=2026,
        paid=True,
        owner=1,
        created_at=at(2),
        updated_at=at(2),
        version=2,
    )


def test_change_of_clear_values_leaves_sealed_ones_and_the_reverse() -> None:
    paid: Happened = ("invoices/1", INVOICE.updated(clear=INVOICE.clear_changes(paid=True)))
    one = invoices(ANN, created(1, 1, note="old"), paid, updated(1, note="new")).by_id[1]
    assert (one.paid, one.note, one.number, one.year) == (True, "new", "A-1", 2026)
    assert (one.updated_at, one.version) == (at(4), 4)


def test_change_to_none_is_not_taken_for_no_change() -> None:
    one = invoices(ANN, created(1, 1, barcode="4006381333931"), updated(1, barcode=None)).by_id[1]
    assert one.barcode is None


def test_action_changes_the_values_that_its_event_has() -> None:
    event = INVOICE.actions["pay"](
        clear=INVOICE.clear_changes(paid=True),
        personal=INVOICE.arguments(note="cash", arguments_={"how": "cash"}),
    )
    one = invoices(ANN, created(1, 1), ("invoices/1", event)).by_id[1]
    assert (one.paid, one.note, one.version) == (True, "cash", 3)


def test_action_that_changes_nothing_is_a_new_version() -> None:
    one = invoices(ANN, created(1, 1), ("invoices/1", INVOICE.actions["pay"]())).by_id[1]
    assert (one.paid, one.updated_at, one.version) == (False, at(3), 3)


def test_without_the_key_only_sealed_values_are_blank() -> None:
    event = INVOICE.created(1, clear=INVOICE.clear_content(year=2026, paid=True), personal=None)
    one = invoices(ANN, ("invoices/1", event)).by_id[1]
    assert (one.number, one.barcode, one.note) == ("", None, "")
    assert (one.year, one.paid) == (2026, True)


def test_restored_resource_has_all_of_its_values() -> None:
    one = invoices(ANN, created(1, 1), DELETED, restored(1, note="again", paid=True)).by_id[1]
    assert (one.note, one.paid, one.created_at, one.version) == ("again", True, at(2), 4)


@pytest.mark.parametrize(
    "event",
    [
        INVOICE.updated(personal=INVOICE.changes(note="x")),
        INVOICE.deleted(),
        INVOICE.restored(1, **parts()),
        INVOICE.shared(2, "read"),
        INVOICE.unshared(2),
        INVOICE.actions["pay"](),
    ],
    ids=lambda event: event.type,
)
def test_event_of_an_unknown_resource_changes_none(event: Event) -> None:
    table = invoices(ANN, created(1, 1), ("invoices/7", event))
    assert table.by_id == invoices(ANN, created(1, 1)).by_id
    assert not table.deleted
    assert not table.shares
    assert not table.is_used(7)


# Unique values


def holder(table: ResourceTable, number: str = "A-1", owner: int = 1) -> int | None:
    """The invoice of an owner that has a number in 2026."""
    return table.unique.get((0, owner, (number, 2026)))


def test_unique_values_are_those_of_one_owner() -> None:
    table = invoices(ANN, BOB, created(1, 1), created(2, 2))
    assert (holder(table), holder(table, owner=2)) == (1, 2)


def test_global_unique_values_are_those_of_all_owners() -> None:
    table = invoices(ANN, created(1, 1, barcode="4006"))
    assert table.unique[1, 0, ("4006",)] == 1


def test_none_makes_no_unique_key() -> None:
    table = invoices(ANN, created(1, 1), created(2, 1, number="A-2"))
    assert {key[0] for key in table.unique} == {0}


def test_change_of_a_sealed_or_a_clear_part_moves_the_unique_key() -> None:
    table = invoices(ANN, created(1, 1), updated(1, number="A-2"))
    assert (holder(table), holder(table, "A-2")) == (None, 1)
    later: Happened = ("invoices/1", INVOICE.updated(clear=INVOICE.clear_changes(year=2027)))
    table = invoices(ANN, created(1, 1), later)
    assert set(table.unique) == {(0, 1, ("A-1", 2027))}


def test_change_of_another_field_keeps_the_unique_key() -> None:
    assert holder(invoices(ANN, created(1, 1), updated(1, note="x"))) == 1


def test_deletion_frees_unique_values_and_restoration_takes_them() -> None:
    assert not invoices(ANN, created(1, 1, barcode="4006"), DELETED).unique
    table = invoices(ANN, created(1, 1, barcode="4006"), DELETED, restored(1, barcode="4006"))
    assert (holder(table), table.unique[1, 0, ("4006",)]) == (1, 1)


def test_deletion_does_not_free_values_that_another_resource_took() -> None:
    """Imports and older code can make two resources with one value."""
    table = invoices(ANN, created(1, 1), created(2, 1), DELETED)
    assert holder(table) == 2


def test_erasure_frees_the_unique_values_of_its_user_only() -> None:
    table = invoices(ANN, BOB, created(1, 1, barcode="4006"), created(2, 2), ANN_ERASED)
    assert table.unique == {(0, 2, ("A-1", 2026)): 2}


def test_checksum_covers_the_index_of_unique_values() -> None:
    state, other = (folded(ANN, created(1, 1)) for _ in range(2))
    assert state.checksum() == other.checksum()
    other["invoices"].unique.clear()
    assert state.checksum() != other.checksum()


# Shares


def test_shared_resource_is_in_both_indexes_and_has_a_new_version() -> None:
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2))
    assert table.shares == {1: {2: "read"}}
    assert table.shared_with == {2: {1}}
    assert table.by_id[1].version == 4


def test_second_share_replaces_the_first() -> None:
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2), shared(1, 2, "write"))
    assert table.shares == {1: {2: "write"}}


def test_unshared_resource_stays_shared_with_others() -> None:
    story = ANN, BOB, EVE, created(1, 1), shared(1, 2), shared(1, 3), unshared(1, 2)
    assert invoices(*story).shares == {1: {3: "read"}}
    assert invoices(*story).shared_with == {3: {1}}
    table = invoices(*story, unshared(1, 3))
    assert not table.shares
    assert not table.shared_with


def test_shares_outlive_a_deletion_and_hold_after_a_restoration() -> None:
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2), DELETED)
    assert table.shares == {1: {2: "read"}}
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2), DELETED, restored(1))
    assert table.shares == {1: {2: "read"}}
    assert table.shared_with == {2: {1}}


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_share_of_a_deleted_resource_can_end(depth: int) -> None:
    story = [ANN, BOB, EVE, created(1, 1), shared(1, 2), shared(1, 3), DELETED]
    draft = base = folded(*story)
    for _ in range(depth):
        draft = draft.stage()
    draft.apply(records_of([*story, unshared(1, 2)])[-1])
    assert {number: dict(users) for number, users in draft["invoices"].shares.items()} == {
        1: {3: "read"}
    }
    assert dict(draft["invoices"].shared_with) == {3: {1}}
    assert draft["invoices"].deleted[1].version == 7
    if depth:
        assert base["invoices"].shares == {1: {2: "read", 3: "read"}}


def test_erased_user_has_no_shares_any_more() -> None:
    table = invoices(ANN, BOB, created(1, 1), created(2, 1), shared(1, 2), shared(2, 2), BOB_ERASED)
    assert not table.shares
    assert not table.shared_with
    assert set(table.by_id) == {1, 2}


def test_resources_of_an_erased_owner_are_shared_with_nobody() -> None:
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2), ANN_ERASED)
    assert not table.shares
    assert not table.shared_with
    assert table.deleted == {1: Tombstone(1, 1, at(3), 5)}


def test_deleted_resource_of_an_erased_owner_is_shared_with_nobody() -> None:
    table = invoices(ANN, BOB, created(1, 1), shared(1, 2), DELETED, ANN_ERASED)
    assert not table.shares
    assert not table.shared_with


@pytest.mark.parametrize("depth", [1, 2])
def test_shares_of_a_resource_deleted_before_staging_end_with_an_erasure(depth: int) -> None:
    story = [ANN, BOB, created(1, 1), shared(1, 2), DELETED]
    draft = base = folded(*story)
    for _ in range(depth):
        draft = draft.stage()
    draft.apply(records_of([*story, ANN_ERASED])[-1])
    assert dict(draft["invoices"].shares) == {}
    assert dict(draft["invoices"].shared_with) == {}
    assert base["invoices"].shares == {1: {2: "read"}}
