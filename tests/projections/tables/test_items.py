"""The table of items: given what happened, then what there is."""

from __future__ import annotations

import pytest

from eventapi.testing.given import at, created, records_of, registered, state_of
from eventapi.testing.items import (
    Content,
    ContentChanges,
    Item,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from events.record import Event
from events.vocabulary.users import UserErased
from projections.tables.tombstones import Tombstone

ANN = registered(1, "ann")
ITEM = created(1, 1)
DELETED = ("items/1", ItemDeleted())
RESTORED = ("items/1", ItemRestored(2, personal=Content("again")))


def test_a_created_item_is_its_owners() -> None:
    state = state_of(ANN, ITEM)
    assert state["items"].by_id[1] == Item(1, "a title", "a description", 1, at(2), at(2), 2)
    assert list(state["items"].by_owner[1]) == [1]
    assert state["items"].last_id == 1


def test_an_imported_item_keeps_its_age_and_its_number() -> None:
    event = ItemCreated(1, created_at=at(-5), personal=Content("old"))
    state = state_of(ANN, ("items/9", event), ("items/4", event))
    assert state["items"].by_id[9].created_at == at(-5)
    assert state["items"].by_id[9].updated_at == at(2)
    assert list(state["items"].by_owner[1]) == [4, 9]
    assert state["items"].last_id == 9


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    state = state_of(ANN, ITEM, ("items/1", ItemUpdated(personal=ContentChanges(title="new"))))
    assert state["items"].by_id[1] == Item(1, "new", "a description", 1, at(2), at(3), 3)
    state = state_of(ANN, ITEM, ("items/1", ItemUpdated(personal=ContentChanges(description=None))))
    assert state["items"].by_id[1] == Item(1, "a title", None, 1, at(2), at(3), 3)


def test_deleted_item_leaves_a_tombstone_without_content() -> None:
    state = state_of(ANN, ITEM, DELETED)
    assert not state["items"].by_id
    assert state["items"].deleted == {1: Tombstone(1, 1, at(2), 3)}
    assert list(state["items"].by_owner[1]) == []


def test_the_number_of_a_deleted_item_stays_used() -> None:
    state = state_of(ANN, ITEM, DELETED)
    assert state["items"].is_used(1)
    assert not state["items"].is_used(2)
    assert state["items"].last_id == 1


def test_a_restored_item_is_back_with_its_age_and_owner() -> None:
    state = state_of(ANN, ITEM, DELETED, RESTORED)
    assert state["items"].by_id[1] == Item(1, "again", None, 1, at(2), at(4), 4)
    assert not state["items"].deleted
    assert list(state["items"].by_owner[1]) == [1]


def test_an_item_that_is_there_can_be_restored_to_an_earlier_content() -> None:
    state = state_of(ANN, ITEM, RESTORED)
    assert state["items"].by_id[1].title == "again"
    assert list(state["items"].by_owner[1]) == [1]


def test_an_owners_items_stay_in_the_order_of_their_numbers() -> None:
    state = state_of(ANN, created(1, 1), created(2, 1), created(3, 1), DELETED, RESTORED)
    assert list(state["items"].by_owner[1]) == [1, 2, 3]


def test_a_second_deletion_changes_nothing() -> None:
    state = state_of(ANN, ITEM, DELETED, DELETED)
    assert state["items"].deleted == {1: Tombstone(1, 1, at(2), 3)}


def test_erasing_an_owner_deletes_only_that_owners_items() -> None:
    state = state_of(
        ANN,
        registered(2, "bob"),
        created(1, 1),
        created(2, 2),
        created(3, 1),
        ("users/1", UserErased()),
    )
    assert set(state["items"].by_id) == {2}
    assert {number: stone.version for number, stone in state["items"].deleted.items()} == {
        1: 6,
        3: 6,
    }
    assert list(state["items"].by_owner[1]) == []


def test_an_item_whose_key_is_destroyed_is_empty_and_still_counted() -> None:
    state = state_of(ANN, ("items/1", ItemCreated(1, personal=None)))
    assert state["items"].by_id[1].title == ""
    assert state["items"].by_id[1].description is None


@pytest.mark.parametrize(
    "event",
    [
        ItemUpdated(personal=ContentChanges(title="x")),
        ItemDeleted(),
        ItemRestored(1, personal=Content("x")),
    ],
    ids=lambda event: event.type,
)
def test_event_of_an_unknown_item_changes_no_item(event: Event) -> None:
    state = state_of(ANN, ITEM, ("items/7", event))
    assert state["items"].by_id == state_of(ANN, ITEM)["items"].by_id
    assert not state["items"].deleted
    assert not state["items"].is_used(7)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_erasing_an_owner_in_a_staged_state_deletes_items_of_the_base(depth: int) -> None:
    """A wish of several commands is decided in a draft over the batch's draft."""
    base = state_of(ANN, created(1, 1))
    draft = base
    for _ in range(depth):
        draft = draft.stage()
    draft.apply(records_of([ANN, created(1, 1), ("users/1", UserErased())])[-1])
    assert not draft["items"].by_id
    assert set(draft["items"].deleted) == {1}
    assert set(base["items"].by_id) == {1}
