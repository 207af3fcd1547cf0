"""The toolkit itself: short names, and kinds that follow from what is used."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from hypothesis import given as for_all
from msgspec import Meta, structs

from eventapi.commands.command import Command
from eventapi.resources import Clear, Refused, Resource, action
from eventapi.resources.declared import declare
from eventapi.resources.items import Item
from eventapi.resources.registry import Registry
from eventapi.testing import (
    Happened,
    act,
    acted,
    create,
    created,
    delete,
    deleted,
    given,
    registered,
    restore,
    restored,
    share,
    shared,
    unshare,
    unshared,
    update,
    updated,
)
from eventapi.testing.given import at
from eventapi.testing.kinds import vocabulary_of
from eventapi.testing.strategies import resource_commands, resources, sound_histories
from events.errors import Forbidden, NotFound
from events.vocabulary.users import UserErased


class Pot(Resource):
    """A plant pot."""

    shareable = True

    name: Annotated[str, Meta(min_length=1)]
    liters: Clear[int] = 0

    @action
    def water(self, *, liters: Annotated[int, Meta(ge=1)] = 1) -> Pot:
        """Pour water."""
        if self.liters + liters > 9:
            raise Refused("the pot is full")
        return structs.replace(self, liters=self.liters + liters)


class Shed(Resource):
    """Another kind, which knows nothing of the first one."""

    name: str


ANN, BEN = registered(1, "ann"), registered(2, "ben")
POT = Pot(name="Basil")
MADE = created(POT, 1, owner=1)


def test_every_command_leads_to_the_event_of_its_name() -> None:
    given(ANN).when(create(POT, caller=1)).then(MADE)
    before = given(ANN, BEN, MADE)
    before.when(update(Pot, 1, caller=1, name="Mint")).then(updated(Pot, 1, name="Mint"))
    before.when(delete(Pot, 1, caller=1)).then(deleted(Pot, 1))
    before.when(share(Pot, 1, "ben", "write", caller=1)).then(shared(Pot, 1, user=2, can="write"))
    before.when(restore(POT, 1, as_of=3, caller=1)).then(restored(POT, 1, as_of=3))
    with_share = given(ANN, BEN, MADE, shared(Pot, 1, user=2, can="read"))
    with_share.when(unshare(Pot, 1, "ben", caller=1)).then(unshared(Pot, 1, user=2))
    with_share.when(delete(Pot, 1, caller=2)).refused(Forbidden)


def test_an_action_has_its_defaults_in_the_event() -> None:
    expected = acted(Pot, 1, "water", {"liters": 1}, liters=1)
    given(ANN, MADE).when(act(Pot, 1, "water", caller=1)).then(expected)
    given(ANN, MADE).when(act(Pot, 1, "water", caller=1, liters=10)).refused(Refused)


def test_a_wrong_argument_is_an_error_of_the_test() -> None:
    with pytest.raises(msgspec.ValidationError):
        act(Pot, 1, "water", caller=1, liters=0)


def test_control_another_event_and_another_refusal_fail() -> None:
    result = given(ANN, MADE).when(update(Pot, 1, caller=1, name="Mint"))
    with pytest.raises(AssertionError):
        result.then(updated(Pot, 1, name="Sage"))
    with pytest.raises(AssertionError):
        result.then(updated(Pot, 2, name="Mint"))
    with pytest.raises(AssertionError):
        result.refused(NotFound)
    with pytest.raises(AssertionError):
        given(ANN, MADE).when(delete(Pot, 2, caller=1)).then(deleted(Pot, 2))


def test_kinds_follow_from_events_and_from_the_command() -> None:
    before = given(ANN, created(Shed(name="old"), 1, owner=1)).at(99)
    before.when(create(POT, caller=1)).then(MADE)
    assert before.state.now == at(99)
    assert sorted(before.state.resources) == ["items", "pots", "sheds"]
    given(ANN, created(Item(title="a"), 3, owner=1)).when(delete(Item, 3, caller=1)).then(
        deleted(Item, 3)
    )


def test_an_erasure_takes_every_kind() -> None:
    before = given(ANN, BEN, MADE, ("users/1", UserErased()))
    before.when(update(Pot, 1, caller=2, name="Mint")).refused(NotFound)


def test_two_declarations_of_one_kind_are_an_error() -> None:
    other = declare(Pot).type
    with pytest.raises(ValueError, match="two declarations of 'pot'"):
        vocabulary_of([MADE[1]], other)


@for_all(resources(Pot))
def test_drawn_resources_are_valid(pot: Pot) -> None:
    given(ANN).when(create(pot, caller=1)).then(created(pot, 1, owner=1))


GARDEN = Registry([Pot, Shed])


@for_all(sound_histories(GARDEN, max_size=15), resource_commands(GARDEN))
def test_a_command_about_any_kind_is_decided_or_refused(
    history: list[Happened], command: Command
) -> None:
    """Deciding raises nothing but a refusal, and does not change the state."""
    given(*history).when(command)
