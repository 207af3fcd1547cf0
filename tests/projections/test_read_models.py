"""Read models fold what is public, stop alone, and depend on nothing but the log."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.resources.registry import Registry
from events.errors import ProjectionFailed
from events.record import Record
from projections.read_models import (
    NO_READ_MODELS,
    ApplicationVocabulary,
    PublicEvent,
    ReadModel,
    ReadModels,
)
from projections.snapshots import Snapshots
from projections.state import State
from tests.projections.invoices import (
    Everything,
    Seen,
    Step,
    events_of,
    model,
    records,
    steps,
    vocabulary,
    written,
)
from tests.projections.read_model_logs import STORY, folded, recomputed, take

# Laws


@given(steps)
def test_an_outsider_folds_the_raw_lines_to_the_same_state(happened: list[Step]) -> None:
    story = written(happened)
    assert events_of(folded(story, vocabulary(model()))) == recomputed(story.lines)


def test_control_the_story_has_clear_values_owners_and_every_kind_of_event() -> None:
    seen = recomputed(written(STORY).lines)
    assert {"cents": 100, "due": "2026-01-01", "paid": False} in [one["clear"] for one in seen]
    assert {"paid": True} in [one["clear"] for one in seen]
    assert {one["owner"] for one in seen} == {None, 1, 2, 3}
    assert {one["type"] for one in seen} >= {
        *("invoice.created", "invoice.updated", "invoice.pay", "invoice.deleted"),
        *("invoice.restored", "invoice.shared", "item.created", "user.erased"),
        *("user.registered", "schema.declared"),
    }


@given(steps, st.data())
def test_snapshot_and_tail_fold_to_the_state_of_the_whole_log(
    happened: list[Step], data: st.DataObject
) -> None:
    story, known = written(happened), vocabulary(model())
    upto = data.draw(st.integers(1, len(story.lines)))
    expected = folded(story, known)
    with tempfile.TemporaryDirectory() as directory:
        snapshots = Snapshots(Path(directory), known)
        take(snapshots, folded(story, known, upto=upto))
        found = folded(story, known, snapshots=snapshots, defer=True)
    assert events_of(found) == events_of(expected)
    assert found.read_models.checksum() == expected.read_models.checksum()


@given(steps, st.sets(st.sampled_from(("users/1", "users/2", "users/3"))))
def test_a_destroyed_key_changes_nothing(happened: list[Step], destroyed: set[str]) -> None:
    story, known = written(happened), vocabulary(model())
    before, after = folded(story, known), folded(story, known, destroyed=destroyed)
    assert events_of(after) == events_of(before)
    assert after.read_models.checksum() == before.read_models.checksum()


def test_control_a_destroyed_key_changes_the_tables() -> None:
    story, known = written(STORY), vocabulary(model())
    before, after = folded(story, known), folded(story, known, destroyed=["users/2"])
    assert after.checksum() != before.checksum()


@given(steps)
def test_an_erasure_changes_nothing_of_the_events_before_it(happened: list[Step]) -> None:
    story, known = written([*happened, ("erase", 2, 1)]), vocabulary(model())
    destroyed = {one.subject for one in folded(story, known).users.by_id.values()}
    for upto in range(len(story.lines) + 1):
        state = folded(story, known, upto=upto, destroyed=destroyed)
        assert events_of(state) == recomputed(story.lines[:upto])


@given(steps)
def test_read_models_change_nothing_of_the_tables(happened: list[Step]) -> None:
    story = written(happened)
    plain, modelled = folded(story, vocabulary()), folded(story, vocabulary(model()))
    assert (plain.digest(), plain.checksum()) == (modelled.digest(), modelled.checksum())


# Failures


@given(steps, st.data())
def test_an_exception_stops_one_read_model_and_nothing_else(
    happened: list[Step], data: st.DataObject
) -> None:
    story = written(happened)
    fails_at = data.draw(st.integers(1, len(story.lines)))
    broken = vocabulary(model(), model("broken", fails_at=fails_at), model("third"))
    state, sound = folded(story, broken), folded(story, vocabulary(model()))
    assert events_of(state) == events_of(sound)
    assert events_of(state, "third") == events_of(sound)
    assert (state.digest(), state.checksum()) == (sound.digest(), sound.checksum())
    failure = state.read_models.failures["broken"]
    assert (failure.position, type(failure.error)) == (fails_at, ValueError)
    with pytest.raises(ProjectionFailed, match=f"'broken' failed at position {fails_at}") as found:
        state.read_models["broken"]
    assert found.value.__cause__ is failure.error


def test_control_without_the_isolation_the_fold_of_the_log_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given code that applies events without catching exceptions, then the replay fails."""

    def unguarded(self: ReadModels, record: Record, owner: int | None) -> None:
        for fold in self.current.values():
            fold.apply(public(record, owner))

    monkeypatch.setattr(ReadModels, "apply", unguarded)
    with pytest.raises(Exception, match="no user"):
        folded(written(STORY), vocabulary(model(fails_at=2)))


def public(record: Record, owner: int | None) -> PublicEvent:
    return PublicEvent(
        record.event.type, record.subject, owner, record.actor, record.time, record.position, {}
    )


class UnspeakableError(Exception):
    """Its text is not to be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(1), "SystemExit: 1"),
        (GeneratorExit(), "GeneratorExit: "),
        (RecursionError("deep"), "RecursionError: deep"),
        (UnspeakableError(), "UnspeakableError: its text cannot be shown"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_any_exception_stops_only_the_read_model(error: BaseException, text: str) -> None:
    class Raising(Everything):
        def apply(self, event: PublicEvent) -> None:
            raise error

    story = written(STORY)
    state = folded(story, vocabulary(model(), ReadModel("raising", Raising, Seen, "1")))
    assert events_of(state) == recomputed(story.lines)
    assert str(state.read_models.failures["raising"]) == text
    assert len(state.read_models.checksum()) == 64


def test_an_interrupt_stops_the_replay() -> None:
    class Interrupted(Everything):
        def apply(self, event: PublicEvent) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folded(written(STORY), vocabulary(ReadModel("a", Interrupted, Seen, "1")))


def test_a_failed_read_model_gets_no_further_event() -> None:
    got: list[int] = []

    class Counting(Everything):
        def apply(self, event: PublicEvent) -> None:
            got.append(event.position)
            super().apply(event)

    known = vocabulary(ReadModel("counting", lambda: Counting(3), Seen, "1"))
    folded(written(STORY), known)
    assert got == [1, 2, 3]


def test_a_state_of_another_type_is_a_failure() -> None:
    class Wrong(Everything):
        def apply(self, event: PublicEvent) -> Any:
            return {"events": 1}

    state = folded(written(STORY), vocabulary(ReadModel("wrong", Wrong, Seen, "1")))
    assert str(state.read_models.failures["wrong"]) == "TypeError: apply made a state of type dict"


def test_a_failure_lasts_until_a_restart() -> None:
    """Given a fault that is gone, when the state moves on, then the read model stays failed."""
    story, faults = written(STORY), [3]

    class Healed(Everything):
        def apply(self, event: PublicEvent) -> None:
            if event.position in faults:
                raise ValueError("a fault of its surroundings")
            super().apply(event)

    known = vocabulary(ReadModel("healed", Healed, Seen, "1"))
    state = folded(story, known, upto=5)
    faults.clear()
    for record in records(story)[5:]:
        state.apply(record)
    with pytest.raises(ProjectionFailed):
        state.read_models["healed"]
    assert events_of(folded(story, known), "healed") == recomputed(story.lines)


def test_a_read_model_cannot_change_the_event_of_another_one() -> None:
    class Rude(Everything):
        def apply(self, event: PublicEvent) -> None:
            event.clear["cents"] = -1  # type: ignore[index]  # the point of the test

    story = written(STORY)
    known = vocabulary(ReadModel("a", Rude, Seen, "1"), model())
    assert events_of(folded(story, known)) == recomputed(story.lines)


# The state


def test_a_returned_state_becomes_the_state() -> None:
    class Last(msgspec.Struct, frozen=True):
        position: int = 0

    class Newest:
        def __init__(self) -> None:
            self.state = Last()

        def apply(self, event: PublicEvent) -> Last:
            return Last(event.position)

    story = written(STORY)
    state = folded(story, vocabulary(ReadModel("newest", Newest, Last, "1")))
    assert state.read_models["newest"].state == Last(len(story.lines))


def test_a_staged_state_runs_no_code_of_an_application() -> None:
    story = written(STORY)
    state = folded(story, vocabulary(model()), upto=6)
    draft = state.stage().stage()
    for record in records(story)[6:]:
        draft.apply(record)
    assert draft.read_models is NO_READ_MODELS
    assert events_of(state) == recomputed(story.lines[:6])


def test_a_state_without_read_models_applies_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("there is no read model")

    monkeypatch.setattr(ReadModels, "apply", never)
    monkeypatch.setattr(State, "owner_of", never)
    state = folded(written(STORY), Registry().vocabulary)
    assert state.read_models is NO_READ_MODELS


def test_two_states_with_different_read_models_in_one_process() -> None:
    story = written(STORY)
    one, other = folded(story, vocabulary(model("one"))), folded(story, vocabulary(model("other")))
    assert (list(one.read_models.current), list(other.read_models.current)) == (["one"], ["other"])
    with pytest.raises(KeyError):
        one.read_models["other"]


def test_another_process_gets_a_vocabulary_without_read_models() -> None:
    """A process that verifies lines must not run code of an application."""
    again = pickle.loads(pickle.dumps(Registry().vocabulary))  # noqa: S301 - our own bytes
    assert not isinstance(again, ApplicationVocabulary)
