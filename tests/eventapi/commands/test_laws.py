"""The laws of deciding, for any command after any history."""

from __future__ import annotations

import hypothesis
import pytest

from eventapi.commands.command import Command, Decision
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import SOURCE, Given, Happened, at, given, profile, registered
from eventapi.testing.items import ITEMS
from eventapi.testing.strategies import commands, sound_histories
from events.errors import Refusal
from events.record import Record
from projections.state import State


def answer(state: State, command: Command) -> Decision | str:
    """The decision, or the text of the refusal."""
    try:
        return command.decide(state)
    except Refusal as refusal:
        return repr(refusal)


@hypothesis.given(sound_histories(), commands)
def test_deciding_does_not_change_the_state(history: list[Happened], command: Command) -> None:
    """Whether it is granted or refused: `When` compares both sums before and after."""
    Given(history).when(command)


def test_control_decision_that_changes_the_state_fails() -> None:
    """The control for the comparison above."""

    class Impure:
        def decide(self, state: State) -> Decision:
            state.users.last_id += 1
            return RegisterUser(profile("bob")).decide(state)

    with pytest.raises(AssertionError, match="deciding changed the state"):
        given(registered(1, "ann")).when(Impure())


@hypothesis.given(sound_histories(), commands)
def test_staged_state_decides_like_its_base(history: list[Happened], command: Command) -> None:
    state = Given(history).state
    expected = answer(state, command)
    assert answer(state.stage(), command) == expected
    assert answer(state.stage().stage(), command) == expected


@hypothesis.given(sound_histories(), commands)
def test_every_decision_can_be_written_and_folded(
    history: list[Happened], command: Command
) -> None:
    """Its event is in the vocabulary, and personal values come with the user they belong to."""
    state = Given(history).state
    decision = answer(state, command)
    if isinstance(decision, str):
        return
    assert type(decision.event) in ITEMS.events
    assert bool(decision.sealedfor) == (getattr(decision.event, "personal", None) is not None)
    before = state.digest()
    record = Record(
        state.position + 1, SOURCE, decision.subject, at(99), decision.actor, decision.event
    )
    state.apply(record)
    assert state.digest() != before


@hypothesis.given(sound_histories(), commands)
def test_no_decision_is_sealed_for_an_erased_user(
    history: list[Happened], command: Command
) -> None:
    """The key will be destroyed, and sealed values would be lost."""
    state = Given(history).state
    decision = answer(state, command)
    if isinstance(decision, Decision) and decision.sealedfor:
        users = state.users.by_id.values()
        alive = {user.subject for user in users if user.status != "erased"}
        new = {decision.subject} if isinstance(command, RegisterUser) else set()
        assert decision.sealedfor in alive | new
