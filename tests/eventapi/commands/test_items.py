"""The rules of the commands about items."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.testing.given import Happened, at, created, given, registered
from eventapi.testing.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemUpdated,
    create_item,
    delete_item,
    import_item,
    restore_item,
    update_item,
)
from events.errors import NotFound, PreconditionFailed, Unauthenticated
from events.vocabulary.users import UserDisabled, UserErased

ANN, BOB = registered(1, "ann"), registered(2, "bob")
ITEM = created(1, 1)
DELETED = ("items/1", ItemDeleted())
MILK = Content("Buy milk", "two bottles")


def test_item_gets_the_next_number_and_its_owner() -> None:
    decision = (
        given(ANN, BOB, ITEM)
        .when(create_item(2, MILK))
        .then("items/2", ItemCreated(2, personal=MILK))
    )
    assert decision.actor == decision.sealedfor == "users/2"


def test_the_number_of_a_deleted_item_is_never_used_again() -> None:
    event = ItemCreated(1, personal=MILK)
    given(ANN, ITEM, DELETED).when(create_item(1, MILK)).then("items/2", event)


def test_the_numbers_of_an_erased_owner_are_never_used_again() -> None:
    event = ItemCreated(2, personal=MILK)
    given(ANN, BOB, ITEM, ("users/1", UserErased())).when(create_item(2, MILK)).then(
        "items/2", event
    )


@pytest.mark.parametrize(
    "story",
    [(), (ANN, ("users/1", UserErased())), (ANN, ("users/1", UserDisabled()))],
    ids=["unknown", "erased", "disabled"],
)
def test_disabled_or_erased_user_cannot_create_items(story: tuple[Happened, ...]) -> None:
    """The account may have gone between the check of the token and the decision."""
    given(*story).when(create_item(1, MILK)).refused(Unauthenticated)


def test_an_imported_item_keeps_its_number_and_age() -> None:
    wish = import_item("ANN", MILK, at(-9), number=7, above=7, actor="operator/root")
    event = ItemCreated(1, created_at=at(-9), personal=MILK)
    decision = given(ANN).when(wish).then("items/7", event)
    assert (decision.actor, decision.sealedfor) == ("operator/root", "users/1")


@pytest.mark.parametrize(
    ("story", "number"),
    [((ANN, ITEM), 10), ((ANN, ITEM, DELETED), 10), ((ANN, ITEM, created(30, 1)), 31)],
    ids=["in use", "deleted", "behind the last"],
)
def test_an_imported_item_whose_number_was_used_gets_one_above_all(
    story: tuple[Happened, ...], number: int
) -> None:
    wish = import_item("ann", MILK, at(-9), number=1, above=9, actor="operator/root")
    event = ItemCreated(1, created_at=at(-9), personal=MILK)
    given(*story).when(wish).then(f"items/{number}", event)


def test_an_imported_item_without_a_number_gets_one_above_those_of_the_file() -> None:
    odd = Content("", "\x00" * 3)
    item = import_item("ann", odd, None, number=None, above=9, actor="operator/root")
    given(ANN).when(item).then("items/10", ItemCreated(1, personal=odd))


def test_import_for_an_unknown_user_is_refused() -> None:
    wish = import_item("eve", MILK, at(-9), number=1, above=1, actor="operator/root")
    given(ANN).when(wish).refused(NotFound)


def test_an_update_names_what_changes_and_nothing_else() -> None:
    changes = ContentChanges(title="New", description=UNSET)
    decision = (
        given(ANN, ITEM)
        .when(update_item(1, 1, title="New"))
        .then("items/1", ItemUpdated(personal=changes))
    )
    assert decision.actor == decision.sealedfor == "users/1"


def test_description_can_be_removed() -> None:
    changes = ContentChanges(description=None)
    given(ANN, ITEM).when(update_item(1, 1, description=None)).then(
        "items/1", ItemUpdated(personal=changes)
    )


def test_an_item_is_deleted_by_its_owner() -> None:
    decision = given(ANN, ITEM).when(delete_item(1, 1)).then("items/1", ItemDeleted())
    assert (decision.actor, decision.sealedfor) == ("users/1", "")


WISHES: list[Command] = [
    update_item(1, 1, title="New"),
    delete_item(1, 1),
    update_item(1, 1, title="New", versions=frozenset({3})),
    delete_item(1, 1, versions=frozenset()),
]


@pytest.mark.parametrize(
    "wish",
    [*WISHES, restore_item(1, 1, 2, MILK)],
    ids=["update", "delete", "update of a version", "delete of no version", "restore"],
)
@pytest.mark.parametrize("end", [UserErased(), UserDisabled()], ids=["erased", "disabled"])
@pytest.mark.parametrize("before", [(ITEM,), (ITEM, DELETED)], ids=["alive", "deleted"])
def test_disabled_or_erased_user_cannot_change_items(
    wish: Command, end: UserErased | UserDisabled, before: tuple[Happened, ...]
) -> None:
    """The key of an erased user is gone, too, so that nothing can be sealed for them."""
    given(ANN, BOB, *before, ("users/1", end)).when(wish).refused(Unauthenticated)


@pytest.mark.parametrize(
    "wish", WISHES, ids=["update", "delete", "update of a version", "delete of no version"]
)
@pytest.mark.parametrize(
    "story",
    [
        (ANN, BOB, created(1, 2)),
        (ANN, BOB, created(1, 2), DELETED),
        (ANN, ITEM, DELETED),
    ],
    ids=["another's", "another's deleted", "deleted"],
)
def test_item_of_another_user_is_refused_exactly_like_a_missing_one(
    story: tuple[Happened, ...], wish: Command
) -> None:
    """The precondition is not checked first, because it would reveal that the item exists."""
    refusal = given(*story).when(wish).refused(NotFound)
    assert str(refusal) == str(given(ANN).when(wish).refused(NotFound))


@pytest.mark.parametrize("versions", [None, frozenset({2}), frozenset({1, 2, 99})], ids=str)
def test_change_with_an_accepted_version_is_allowed(
    versions: frozenset[int] | None,
) -> None:
    given(ANN, ITEM).when(delete_item(1, 1, versions)).then("items/1", ItemDeleted())
    given(ANN, ITEM).when(update_item(1, 1, title="New", versions=versions)).then(
        "items/1", ItemUpdated(personal=ContentChanges(title="New"))
    )


@pytest.mark.parametrize("versions", [frozenset(), frozenset({1}), frozenset({1, 3})], ids=str)
def test_other_version_is_a_failed_precondition(
    versions: frozenset[int],
) -> None:
    given(ANN, ITEM).when(delete_item(1, 1, versions)).refused(PreconditionFailed)
    wish = update_item(1, 1, title="New", versions=versions)
    given(ANN, ITEM).when(wish).refused(PreconditionFailed)


def test_the_version_is_the_position_of_the_items_last_event() -> None:
    updated = ("items/1", ItemUpdated(personal=ContentChanges(title="New")))
    story = (ANN, ITEM, updated, BOB)
    given(*story).when(delete_item(1, 1, frozenset({3}))).then("items/1", ItemDeleted())
    given(*story).when(delete_item(1, 1, frozenset({2, 4}))).refused(PreconditionFailed)
