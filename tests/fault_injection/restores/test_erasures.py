"""Short form of the erasure campaign, with a control for each guard."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from hypothesis import settings

from eventapi.cli import vaults
from eventapi.journal.journal import Journal
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents
from tests.fault_injection.restores.erasures import Erasures, merge_copy

TestErasures = Erasures.TestCase
TestErasures.settings = settings(max_examples=20, stateful_step_count=12, deadline=None)


# Controls: a planted bug, and the steps that reveal it


def restore_after_erasure(machine: Erasures, *, keys: bool) -> None:
    """Copy log and vault, erase a user, then restore the copies."""
    machine.register()
    machine.register()
    machine.create_item_of("user1")
    machine.copy_log()
    machine.copy_vault()
    machine.erase_user("user1")
    machine.no_copy_of_the_log_yields_an_erased_user()
    machine.restore_copies(machine.logs[0], machine.vaults[0] if keys else None)
    machine.no_copy_of_the_log_yields_an_erased_user()
    assert machine.active_users() == ["user0"]


def play(keys: bool) -> None:
    with closing(_Teardown(Erasures())) as teardown:
        restore_after_erasure(teardown.machine, keys=keys)


class _Teardown:
    def __init__(self, machine: Erasures) -> None:
        self.machine = machine

    def close(self) -> None:
        self.machine.teardown()


@pytest.mark.parametrize("keys", [True, False])
def test_steps_of_the_controls_pass_without_a_bug(keys: bool) -> None:
    play(keys)


def test_control_without_tombstones_a_restored_key_revives_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def none(_: SqliteVault) -> dict[str, frozenset[bytes]]:
        return {}

    monkeypatch.setattr(SqliteVault, "tombstones", none)
    with pytest.raises(AssertionError, match="are back"):
        play(keys=True)


def test_control_merge_without_tombstones_revives_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def merge_keys_only(own: VaultContents, copy: VaultContents) -> VaultContents:
        return VaultContents({**own.keys, **copy.keys})

    async def put(vault: SqliteVault, contents: VaultContents) -> None:
        await vault.put(contents.keys)

    monkeypatch.setattr(vaults, "merge", merge_keys_only)
    monkeypatch.setattr(vaults, "store_contents", put)
    machine = Erasures()
    try:
        machine.register()
        machine.copy_log()
        machine.copy_vault()
        machine.erase_user("user0")
        (machine.directory / "copy").write_bytes(machine.vaults[0].content)
        asyncio.run(merge_copy(machine.vault, machine.directory / "copy"))
        with pytest.raises(AssertionError, match="can be read"):
            machine.no_copy_of_the_log_yields_an_erased_user()
    finally:
        machine.teardown()


def test_control_start_that_does_not_repeat_erasures_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def skip(*_: object) -> None:
        pass

    monkeypatch.setattr(Journal, "_write_now", skip)
    with pytest.raises(AssertionError, match="without a key"):
        play(keys=False)
