"""No two checkpoints under one key contradict each other, whatever is restored, lost or copied."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from events.transparency.checkpoints import Checkpoints
from events.transparency.signing import file, register
from tests.fault_injection.restores.databases import DatabaseRestores
from tests.fault_injection.restores.files import FILES, Restores
from tests.fault_injection.restores.judge import Contradiction
from tests.servers.postgresql import PostgreSQL

QUICK = settings(max_examples=12, stateful_step_count=15, deadline=None)


def test_no_order_of_copies_and_restores_leads_to_a_contradiction() -> None:
    run_state_machine_as_test(Restores, settings=QUICK)
    assert Restores.totals["compared"]


def test_no_order_of_dumps_and_loads_leads_to_a_contradiction(postgresql: PostgreSQL) -> None:
    DatabaseRestores.server = postgresql
    few = settings(max_examples=6, stateful_step_count=10, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(DatabaseRestores, settings=few)
    assert DatabaseRestores.totals["compared"]


def _knows_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "file_identity", lambda _: "anywhere")


def _compares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def size(self: Checkpoints, _: object) -> int:
        return await self.tree.grow()

    monkeypatch.setattr(Checkpoints, "_continued_size", size)


def _records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    create = register.create_register
    monkeypatch.setattr(file, "create_register", lambda path, key, _: create(path, key, None))


def _restored_from_a_copy(world: Restores) -> None:
    """Monday's copy of the directory is put back on Tuesday, and writes go on."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    world.put_the_directory_back("b", 0)
    world.write_and_sign("b", 4)


def _put_back_over_the_files(world: Restores) -> None:
    """Monday's files are copied over Tuesday's, which keep their inodes."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    for suffix in FILES:
        world.put_a_file_back("a", 0, suffix)
    world.write_and_sign("a", 4)


def _put_back_in_place(world: Restores) -> None:
    """Only the log is put back, and the key and what it signed stay."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    world.put_a_file_back("a", 0, "")
    world.write_and_sign("a", 4)


def _cut_without_a_checkpoint(world: Restores) -> None:
    """The log is cut, and the checkpoint is lost with it: only the register can tell."""
    world.lose_a_file("a", "checkpoint")
    world.write_and_sign("a", 4)
    world.truncate("a", 5)
    world.lose_a_file("a", "checkpoint")
    world.write_and_sign("a", 4)


@pytest.mark.parametrize(
    ("planted", "story"),
    [
        (_knows_no_place, _restored_from_a_copy),
        (_knows_no_place, _put_back_over_the_files),
        (_compares_nothing, _put_back_in_place),
        (_records_nothing, _cut_without_a_checkpoint),
    ],
)
def test_control_a_planted_bug_is_found(
    planted: Callable[[pytest.MonkeyPatch], None],
    story: Callable[[Restores], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lived() -> None:
        world = Restores()
        try:
            world.begin()
            story(world)
        finally:
            world.teardown()

    lived()
    planted(monkeypatch)
    with pytest.raises(Contradiction):
        lived()
