"""Short form of the restore campaign: no two checkpoints under one key contradict."""

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


def test_no_sequence_of_copies_and_restores_signs_a_contradiction() -> None:
    run_state_machine_as_test(Restores, settings=QUICK)
    assert Restores.totals["compared"]


def test_no_sequence_of_dumps_and_loads_signs_a_contradiction(postgresql: PostgreSQL) -> None:
    DatabaseRestores.server = postgresql
    few = settings(max_examples=6, stateful_step_count=10, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(DatabaseRestores, settings=few)
    assert DatabaseRestores.totals["compared"]


def _ignore_file_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "file_identity", lambda _: "anywhere")


def _skip_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    async def size(self: Checkpoints, _: object) -> int:
        return await self.tree.grow()

    monkeypatch.setattr(Checkpoints, "_require_continuation", size)


def _skip_register(monkeypatch: pytest.MonkeyPatch) -> None:
    create = register.create_register
    monkeypatch.setattr(file, "create_register", lambda path, key, _: create(path, key, None))


def _restore_a_copy_elsewhere(world: Restores) -> None:
    """Restore an older copy of the directory on another machine, and continue writing."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    world.put_the_directory_back("b", 0)
    world.write_and_sign("b", 4)


def _overwrite_with_old_files(world: Restores) -> None:
    """Copy older files over newer ones, which keep their inodes."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    for suffix in FILES:
        world.put_a_file_back("a", 0, suffix)
    world.write_and_sign("a", 4)


def _restore_only_the_log(world: Restores) -> None:
    """Restore the log only; key and issued checkpoints stay."""
    world.copy_the_directory("a")
    world.write_and_sign("a", 4)
    world.put_a_file_back("a", 0, "")
    world.write_and_sign("a", 4)


def _truncate_without_a_checkpoint(world: Restores) -> None:
    """Truncate the log and lose the checkpoint, so that only the register shows it."""
    world.lose_a_file("a", "checkpoint")
    world.write_and_sign("a", 4)
    world.truncate("a", 5)
    world.lose_a_file("a", "checkpoint")
    world.write_and_sign("a", 4)


@pytest.mark.parametrize(
    ("plant", "steps"),
    [
        (_ignore_file_identity, _restore_a_copy_elsewhere),
        (_ignore_file_identity, _overwrite_with_old_files),
        (_skip_comparison, _restore_only_the_log),
        (_skip_register, _truncate_without_a_checkpoint),
    ],
)
def test_control_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    steps: Callable[[Restores], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_steps() -> None:
        world = Restores()
        try:
            world.begin()
            steps(world)
        finally:
            world.teardown()

    run_steps()
    plant(monkeypatch)
    with pytest.raises(Contradiction):
        run_steps()
