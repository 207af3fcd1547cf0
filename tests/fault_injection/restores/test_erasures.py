"""The laws of erasure over restores, and a planted bug for each."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from hypothesis import settings

from eventapi.cli import vaults
from eventapi.journal.journal import Journal
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents
from tests.fault_injection.restores.erasures import Erasures, merge

TestErasures = Erasures.TestCase
TestErasures.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)


# Controls: the machine with a planted bug, over a story that leads to it


def restored_after_an_erasure(machine: Erasures, *, keys: bool) -> None:
    """A user is erased after log and keys were copied; then the copies are restored."""
    machine.register()
    machine.register()
    machine.write_of("person1")
    machine.copy_log()
    machine.copy_vault()
    machine.erase_of("person1")
    machine.no_copy_of_the_log_yields_an_erased_user()
    machine.restore_of(machine.logs[0], machine.vaults[0] if keys else None)
    machine.no_copy_of_the_log_yields_an_erased_user()
    assert machine.alive() == ["person0"]


def played(keys: bool) -> None:
    with closing(_Ending(Erasures())) as ending:
        restored_after_an_erasure(ending.machine, keys=keys)


class _Ending:
    def __init__(self, machine: Erasures) -> None:
        self.machine = machine

    def close(self) -> None:
        self.machine.teardown()


@pytest.mark.parametrize("keys", [True, False])
def test_the_story_itself_keeps_the_laws(keys: bool) -> None:
    played(keys)


def test_control_without_tombstones_a_restored_key_brings_the_user_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def none(_: SqliteVault) -> dict[str, frozenset[bytes]]:
        return {}

    monkeypatch.setattr(SqliteVault, "erased", none)
    with pytest.raises(AssertionError, match="are back"):
        played(keys=True)


def test_control_a_merge_that_ignores_tombstones_brings_the_user_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ignorant(own: VaultContents, copy: VaultContents) -> VaultContents:
        return VaultContents({**own.keys, **copy.keys})

    async def put(vault: SqliteVault, contents: VaultContents) -> None:
        await vault.put(contents.keys)

    monkeypatch.setattr(vaults, "merged", ignorant)
    monkeypatch.setattr(vaults, "store", put)
    machine = Erasures()
    try:
        machine.register()
        machine.copy_log()
        machine.copy_vault()
        machine.erase_of("person0")
        (machine.directory / "copy").write_bytes(machine.vaults[0].content)
        asyncio.run(merge(machine.vault, machine.directory / "copy"))
        with pytest.raises(AssertionError, match="can be read"):
            machine.no_copy_of_the_log_yields_an_erased_user()
    finally:
        machine.teardown()


def test_control_a_start_that_does_not_erase_again_serves_a_user_without_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(Journal, "_erase_again", nothing)
    with pytest.raises(AssertionError, match="without a key"):
        played(keys=False)
