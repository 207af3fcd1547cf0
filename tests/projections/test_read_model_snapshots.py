"""Read models in snapshots: only those whose code changed are folded anew."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.commands.resources import Create
from eventapi.journal.journal import Journal
from eventapi.resources import Clear, Resource, action
from eventapi.resources.registry import Registry
from events.errors import ProjectionFailed, ProjectionNotReady
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections import replay as replay_module
from projections.read_models import (
    PublicEvent,
    ReadModel,
)
from projections.replay import fold_read_models, replay
from projections.snapshots import Snapshots
from projections.state import State
from tests.projections.invoices import (
    Everything,
    Seen,
    Step,
    Story,
    events_of,
    model,
    records,
    runtime,
    steps,
    vocabulary,
    written,
)
from tests.projections.read_model_logs import STORY, folded, recomputed, take


class Counted(Everything):
    """Remembers what each kind of code folds in this process."""

    applied: list[tuple[str, int]]

    def __init__(self, name: str, applied: list[tuple[str, int]]) -> None:
        super().__init__()
        self._name, self._applied = name, applied

    def apply(self, event: PublicEvent) -> None:
        self._applied.append((self._name, event.position))
        super().apply(event)


def counted(name: str, code: str, applied: list[tuple[str, int]]) -> ReadModel:
    return ReadModel(name, lambda: Counted(name, applied), Seen, code)


def test_only_the_read_model_whose_code_changed_is_folded_anew(tmp_path: Path) -> None:
    story, applied = written(STORY), list[tuple[str, int]]()
    take(
        Snapshots(tmp_path, vocabulary()),
        folded(story, vocabulary(model("same"), model("changed")), upto=8),
    )
    known = vocabulary(counted("same", "1", applied), counted("changed", "2", applied))
    state = folded(story, known, snapshots=Snapshots(tmp_path, known))
    end = len(story.lines)
    assert [at for name, at in applied if name == "same"] == [*range(9, end + 1)]
    assert [at for name, at in applied if name == "changed"] == [*range(1, end + 1)]
    assert events_of(state, "same") == events_of(state, "changed") == recomputed(story.lines)


def test_a_new_read_model_is_folded_from_zero(tmp_path: Path) -> None:
    story, known = written(STORY), vocabulary(model("old"), model("new"))
    take(Snapshots(tmp_path, known), folded(story, vocabulary(model("old")), upto=8))
    state = folded(story, known, snapshots=Snapshots(tmp_path, known))
    assert events_of(state, "new") == recomputed(story.lines)


def test_a_read_model_that_was_removed_leaves_the_snapshot_usable(tmp_path: Path) -> None:
    story = written(STORY)
    snapshots = Snapshots(tmp_path, vocabulary())
    take(snapshots, folded(story, vocabulary(model()), upto=8))
    found = snapshots.newest(Keyring(), position=8)
    assert found is not None
    assert found.position == 8


def test_while_it_is_folded_anew_the_rest_is_served(tmp_path: Path) -> None:
    story, known = written(STORY), vocabulary(model("same"), model("changed", code="2"))
    snapshots = Snapshots(tmp_path, known)
    take(snapshots, folded(story, vocabulary(model("same"), model("changed")), upto=8))
    state = folded(story, known, snapshots=snapshots, defer=True)
    assert events_of(state, "same") == recomputed(story.lines)
    with pytest.raises(ProjectionNotReady, match="'changed' is being computed anew"):
        state.read_models["changed"]
    asyncio.run(fold_read_models(story.log(), state, known))
    assert events_of(state, "changed") == recomputed(story.lines)


def test_a_failure_of_the_fold_anew_stops_only_that_read_model(tmp_path: Path) -> None:
    story, known = written(STORY), vocabulary(model("same"), model("a", "2", 4), model("b", "2"))
    snapshots = Snapshots(tmp_path, known)
    take(snapshots, folded(story, vocabulary(model("same")), upto=8))
    state = folded(story, known, snapshots=snapshots)
    assert events_of(state, "same") == events_of(state, "b") == recomputed(story.lines)
    with pytest.raises(ProjectionFailed, match="'a' failed at position 4"):
        state.read_models["a"]
    assert state.read_models.behind == []


def test_older_code_folds_events_of_a_newer_declaration_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a log whose later lines only newer code reads, then older code folds what is clear."""
    monkeypatch.setattr(replay_module, "LINES_PER_TURN", 1)
    story = asyncio.run(write_newer(written([("create", 1, 1)])))
    known = vocabulary(model(code="2"))
    snapshots = Snapshots(tmp_path, known)
    take(snapshots, folded(story, vocabulary(model())))
    state = folded(story, known, snapshots=snapshots)
    assert events_of(state) == recomputed(story.lines)
    assert events_of(state)[-1]["clear"]["amount"] == 5


async def write_newer(story: Story) -> Story:
    """Append an event as a newer version of the application does, which renamed a field."""

    class Invoice(Resource):
        shareable = True
        renamed = {"cents": "amount"}  # noqa: RUF012 - as applications write it

        customer: str
        amount: Clear[int]
        due: Clear[date | None] = None
        note: str = ""
        paid: Clear[bool] = False

        @action
        def pay(self, *, by: str = "") -> Any:
            return self

    registry, log = Registry([Invoice]), story.log()
    journal = Journal(log, await story.vault_without(), registry.vocabulary, runtime(365))
    await journal.start()
    try:
        values = msgspec.structs.asdict(Invoice(customer="c", amount=5))
        await journal.execute(Create(registry.by_collection["invoices"], 1, values))
    finally:
        await journal.close()
    return Story([line async for run in log.read() for line in run], story.vault, story.all_keys)


@given(steps, st.data())
def test_events_that_come_meanwhile_are_folded_once(
    happened: list[Step], data: st.DataObject
) -> None:
    """Given a read model that is behind, when the log grows, then it catches up and is current."""
    story, known = written(happened), vocabulary(model(code="2"))
    cut = data.draw(st.integers(1, len(story.lines)))
    per_turn = data.draw(st.integers(1, 4))

    async def run() -> State:
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            patch.setattr(replay_module, "LINES_PER_TURN", per_turn)
            snapshots = Snapshots(Path(directory), known)
            before = await replay(story.log(cut), Keyring(), MemoryVault(), vocabulary(model()))
            take(snapshots, before)
            log = story.log(cut)
            state = await replay(
                log, Keyring(), MemoryVault(), known, snapshots=snapshots, defer_read_models=True
            )
            task = asyncio.create_task(fold_read_models(log, state, known))
            for record in records(story)[cut:]:
                await asyncio.sleep(0)
                await append(log, story.lines[record.position - 1], record)
                state.apply(record)
            await task
        return state

    state = asyncio.run(run())
    assert events_of(state) == recomputed(story.lines)


async def append(log: MemoryLog, line: bytes, record: Record) -> None:
    await log.append([line], Head(record.position, record.hash))


@pytest.mark.parametrize(
    "spoil", [lambda: {object()}, object, lambda: 2**80], ids=["set", "object", "number"]
)
def test_a_state_that_a_snapshot_cannot_have_is_left_out(
    tmp_path: Path, spoil: Callable[[], object]
) -> None:
    class Strange(Everything):
        def apply(self, event: PublicEvent) -> None:
            self.state.events = [spoil()]

    story = written(STORY)
    known = vocabulary(model(), ReadModel("strange", Strange, Seen, "1"))
    snapshots = Snapshots(tmp_path, known)
    take(snapshots, folded(story, known))
    found = folded(story, known, snapshots=snapshots, defer=True)
    assert [one.name for one in found.read_models.behind] == ["strange"]
    assert events_of(found) == recomputed(story.lines)


def test_the_sum_shows_every_difference() -> None:
    story = written(STORY)
    states = [
        folded(story, vocabulary(model())),
        folded(story, vocabulary(model()), upto=5),
        folded(story, vocabulary(model("another"))),
        folded(story, vocabulary(model(), model("another"))),
        folded(story, vocabulary(model(fails_at=3))),
        folded(story, vocabulary(model(fails_at=4))),
        folded(story, vocabulary()),
    ]
    assert len({state.read_models.checksum() for state in states}) == len(states)
