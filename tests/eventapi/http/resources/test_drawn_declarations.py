"""Any declaration, over HTTP: every answer is that of a plain model, now, in the past, after a restart."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct, structs

from eventapi.resources import Clear, Global, Resource
from eventapi.resources.declared import Declared
from eventapi.resources.registry import Registry
from eventapi.testing.strategies import declarations, resources
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.tables import resources as tables
from projections.tables.resources import ResourceTable
from tests.eventapi.http.resources.drawn_model import Step
from tests.eventapi.http.resources.drawn_run import ROLES, Run

REPLAYER: Final = Path(__file__).parents[4] / "docs" / "replay.mjs"
EXAMPLES: Final = min(200, settings().max_examples // 2)
"""5 in `make test`, 12 in `make test-all`, and 200 with the profile `long`."""

ERASE, SNAPSHOT, RESTART = "erase", "snapshot", "restart"
_names = count()


class Case(Struct, frozen=True):
    """A registry with one drawn kind, values of it, and what happens."""

    registry: Registry
    pool: Sequence[dict[str, Any]]
    happenings: Sequence[Any]

    def __repr__(self) -> str:
        cls = self.registry.resources[1].cls
        rules = (cls.unique, cls.access, cls.shareable)
        return f"Case({cls.__annotations__}, {rules}, {self.pool}, {self.happenings})"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A drawn declaration, and writes with few different values, so that they meet."""
    registry = Registry([draw(declarations())])
    kind = registry.resources[1]
    pool = draw(st.lists(resources(kind), min_size=1, max_size=4))
    values = [as_read(kind, one) for one in pool]
    step = steps_of(kind, values)
    creation = st.builds(
        Step, st.just("create"), st.sampled_from([*ROLES]), values=st.sampled_from(values)
    )
    batch = st.tuples(st.sampled_from([*ROLES]), st.lists(step, min_size=2, max_size=4)).map(
        lambda drawn: [structs.replace(one, user=drawn[0]) for one in drawn[1]]
    )
    first = draw(st.lists(creation, min_size=1, max_size=3))
    others = draw(
        st.lists(
            st.one_of(step, step, step, step, batch, st.sampled_from([SNAPSHOT, RESTART])),
            min_size=5,
            max_size=14,
        )
    )
    erasures = draw(st.lists(st.sampled_from(["ann", "ben"]), max_size=1))
    at = draw(st.integers(0, len(others)))
    erased = [(ERASE, one) for one in erasures]
    return Case(registry, values, [*first, *others[:at], *erased, *others[at:]])


def as_read(kind: Declared, value: Any) -> dict[str, Any]:
    """Values with the types of the log, whose nested Structs are other classes."""
    types = {field.name: field.type for field in kind.type.fields}
    found = msgspec.to_builtins(value)
    return {name: msgspec.convert(found[name], types[name]) for name in types}


def steps_of(kind: Declared, pool: Sequence[dict[str, Any]]) -> st.SearchStrategy[Step]:
    """Writes of any user to any row."""
    users, numbers = st.sampled_from([*ROLES]), st.integers(-1, 5)
    values, name = st.sampled_from(pool), st.sampled_from([*ROLES])
    can, as_of = st.sampled_from(["read", "write"]), st.integers(1, 30)
    found = [
        st.builds(Step, st.just("create"), users, values=values),
        st.builds(Step, st.just("replace"), users, numbers, values=values),
        st.builds(Step, st.just("delete"), users, numbers),
        st.builds(Step, st.just("restore"), users, numbers, as_of=st.just(0) | as_of),
    ]
    # A patch of an object is merged, which tests of merge patches are about.
    parts = [
        {name: value}
        for one in pool
        for name, value in one.items()
        if not isinstance(value, dict | Struct)
    ]
    if parts:
        found.append(
            st.builds(Step, st.just("change"), users, numbers, values=st.sampled_from(parts))
        )
    if kind.actions:
        field = inspect.getclosurevars(kind.actions["change"].call).nonlocals["field"]
        argument = values.map(lambda one: {field: one[field]})
        found.append(st.builds(Step, st.just("act"), users, numbers, values=argument))
    if kind.shareable:
        found += [
            st.builds(Step, st.just("share"), users, numbers, other=name, can=can),
            st.builds(Step, st.just("unshare"), users, numbers, other=name),
        ]
    return st.one_of(found)


def play(run: Run, happening: Any) -> None:
    """Let one thing happen."""
    match happening:
        case Step():
            # The restoration of a moment that is to come is another error.
            at = min(happening.as_of, run.log.position)
            run.write(structs.replace(happening, as_of=at))
        case (what, user) if what == ERASE:
            run.erase(user)
        case "snapshot":
            run.snapshot()
        case "restart":
            run.restart()
        case _:
            # A restoration in a batch has content from before the batch; see the tests of batches.
            run.write(*[one for one in happening if one.what != "restore"] or happening[:1])


def play_all(case: Case, directory: Path) -> Run:
    """Let everything happen, and compare every answer with the model, also after a restart."""
    snapshots = Snapshots(directory, case.registry.vocabulary)
    with Run(case.registry.resources[1].cls, snapshots, case.registry) as run:
        for happening in case.happenings:
            play(run, happening)
        run.check()
        run.check_filters(case.pool[0])
        run.restart()
        run.check()
        check_digest(run, directory)
    return run


def check_digest(run: Run, directory: Path) -> None:
    """Compare the digest with that of a stranger, who has neither the declaration nor a key."""
    auditor = run.callers["eve"]
    for position in (run.log.position, run.log.position // 2):
        state = auditor.get(f"/audit/state?as_of={position}").json()
        assert state["digest"] == stranger_digest(run.api.log_lines(0, position), directory)


def stranger_digest(lines: Sequence[bytes], directory: Path) -> str:
    """By `docs/replay.mjs`; without Node by a fold that knows items only."""
    if shutil.which("node") is None:
        log = MemoryLog(lines, Head(len(lines), sha256(lines[-1]).digest()))
        stranger = replay(log, Keyring(), MemoryVault(), Registry().vocabulary)
        return asyncio.run(stranger).digest()
    file = directory / "events.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    ran = subprocess.run(["node", REPLAYER, file], capture_output=True, text=True, check=False)
    assert not ran.stderr
    return ran.stdout.split()[-1]


@settings(max_examples=EXAMPLES)
@given(cases())
def test_every_answer_about_any_declared_kind_is_that_of_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, case: Case
) -> None:
    play_all(case, tmp_path_factory.mktemp(f"drawn{next(_names)}"))


class Card(Resource):
    """A kind for the controls."""

    unique = (Global("code"),)
    shareable = True

    code: str
    note: str = ""
    number: Clear[int] = 0


CARD: Final = {"code": "a", "note": "", "number": 0}
EVERY_STEP: Final = (
    Step("create", "ann", values=CARD),
    Step("create", "ben", values=CARD | {"code": "b"}),
    Step("replace", "ann", 1, values=CARD | {"note": "x", "number": 1}),
    Step("change", "ben", 2, values={"code": "a"}),
    Step("share", "ann", 1, other="ben", can="write"),
    Step("change", "ben", 1, values={"number": 2}),
    [Step("delete", "ann", 1), Step("create", "ann", values=CARD), Step("delete", "ann", -1)],
    Step("restore", "ann", 1),
    "snapshot",
    Step("restore", "ann", 1, as_of=5),
    Step("unshare", "ann", 1, other="ben"),
    Step("change", "ben", 1, values={"number": 3}),
    Step("share", "ann", 1, other="ben"),
    Step("delete", "ann", 1),
    Step("unshare", "ann", 1, other="ben"),
    Step("restore", "ann", 1),
    (ERASE, "ben"),
)


def card_case() -> Case:
    return Case(Registry([Card]), [CARD], EVERY_STEP)


def test_every_step_of_the_controls_is_that_of_the_model(tmp_path: Path) -> None:
    """Without a planted bug nothing differs."""
    run = play_all(card_case(), tmp_path)
    assert {verb for _, _, verb, *_ in run.model.rows[1]["history"]} == {
        *("created", "updated", "shared", "unshared", "deleted", "restored")
    }


def forget_a_field(table: ResourceTable, number: int, record: Record, event: Any) -> Any:
    """Planted: the fold of a change forgets a clear field."""
    return ResourceTable.on_updated(table, number, record, structs.replace(event, clear=UNSET))


def keep_shares(table: ResourceTable, number: int, record: Record, _: Any) -> Any:
    """Planted: the end of a share leaves the share."""
    return table._touch(number, record)


def leave_alive(table: ResourceTable, number: int, record: Record, _: Any) -> Any:
    """Planted: a deletion only counts as a change."""
    return table._touch(number, record)


@pytest.mark.parametrize(
    ("verb", "bug"),
    [("updated", forget_a_field), ("unshared", keep_shares), ("deleted", leave_alive)],
)
def test_control_a_bug_of_the_fold_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str, bug: Any
) -> None:
    monkeypatch.setitem(tables._ON, verb, bug)
    with pytest.raises(AssertionError):
        play_all(card_case(), tmp_path)
