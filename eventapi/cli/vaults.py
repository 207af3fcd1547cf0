"""Read and merge copies of the vault; erasures are copied with the keys."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from eventapi.bootstrap import storage
from eventapi.bootstrap.storage import async_closing
from eventapi.cli.failures import NegativeResult
from eventapi.commands.users import named
from eventapi.configuration.settings import Settings
from events.messages.commands import ERASED_USER_ALIVE, KEYS_OF_OTHER_LOG, OTHER_KEY
from events.messages.erasures import users_without_keys
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents, contents_of, may_be_destroyed, merge
from projections.state import State
from projections.tables.users import User


async def read_vault(settings: Settings) -> VaultContents:
    """Read the vault beside the log; raises `VaultUnavailable` if it is missing."""
    async with storage.open_vault_for_reading(settings) as vault:
        return await contents_of(vault)


def join_readings(earlier: VaultContents, later: VaultContents) -> VaultContents:
    """Combine two readings of one vault that was in use.

    Only the earlier one has the key of a user who was erased in between, and only the later one
    that of a user who registered in between.
    """
    return VaultContents({**later.keys, **earlier.keys}, later.tombstones)


async def read_vault_file(path: Path | None) -> VaultContents:
    """Read a vault file; a missing file is an empty vault."""
    if path is None or not path.exists():
        return VaultContents()
    async with async_closing(SqliteVault(path, writable=False)) as vault:
        return await contents_of(vault)


async def merge_vault(own: Path, copy: Path | None) -> VaultContents:
    """Merge a copy into the contents of the vault at ``own``, and write nothing.

    `store_contents` writes the result. Every erasure is retained, and no destroyed key is restored:
    see `merge`.
    """
    return merge(await read_vault_file(own), await read_vault_file(copy))


async def store_contents(vault: Vault, contents: VaultContents) -> None:
    """Write merged contents, tombstones first, so that a crash loses no erasure."""
    await vault.add_tombstones(contents.tombstones)
    await vault.put(contents.keys)


async def add_missing_keys(vault: Vault, copy: VaultContents) -> None:
    """Add missing keys, and tombstones, from a copy to a vault that is in use.

    The caller must hold the lock of the log, so that no user is erased at the same time. An
    existing key is never replaced: raises `NegativeResult` if the copy has a different one, and
    then changes nothing.
    """
    own = await contents_of(vault)
    contents = merge(own, copy)
    for subject, key in contents.keys.items():
        if own.keys.get(subject, key) != key:
            raise NegativeResult(OTHER_KEY.fill(subject=subject))
    await vault.add_tombstones(contents.tombstones)
    missing = {name: key for name, key in contents.keys.items() if name not in own.keys}
    await vault.put(missing)


def check_all_have_keys(contents: VaultContents, users: Collection[User]) -> None:
    """Raise `NegativeResult` if users of the log have neither key nor tombstone."""
    known = contents.keys.keys() | contents.tombstones.keys()
    lost = [user.subject for user in users if user.status != "erased" and user.subject not in known]
    if lost:
        raise NegativeResult(users_without_keys(lost))


async def find_user(state: State, vault: Vault, username: str) -> User:
    """The user with that name.

    Raises `NotFound`, and `NegativeResult` if users have no names because their keys are lost.
    """
    if state.users.find_by_username(username) is None:
        check_all_have_keys(await contents_of(vault), state.users.by_id.values())
    return named(state, username)


async def copy_keys(vault: Vault, source: VaultContents, users: Collection[User]) -> int:
    """Copy the keys of a log's users to a vault; return the number of their keys.

    Keys without a user are left over from failed registrations and are skipped. Raises
    `NegativeResult` if the vault has a different key for a user, because a user's key never
    changes, and if a user is erased according to the vault but not in the log.
    """
    gone = {user.subject for user in users if user.status == "erased"} | source.erased
    known = [user.subject for user in users if user.subject in source.keys]
    kept = {subject: source.keys[subject] for subject in known if subject not in gone}
    before = await contents_of(vault)
    for subject, key in kept.items():
        if subject not in before.keys and may_be_destroyed(subject, key, before, source):
            raise NegativeResult(ERASED_USER_ALIVE.fill(subject=subject))
    if any(before.keys.get(subject, key) != key for subject, key in kept.items()):
        raise NegativeResult(KEYS_OF_OTHER_LOG)
    await vault.put({name: key for name, key in kept.items() if name not in before.keys})
    return len(kept)


async def destroy_erased_keys(vault: Vault, source: VaultContents, users: Collection[User]) -> None:
    """Destroy the keys of users who are erased in the log or according to the source.

    A key that is only missing in the source is not destroyed.
    """
    erased = {user.subject for user in users if user.status == "erased"}
    await vault.add_tombstones(source.tombstones)
    there = await contents_of(vault)
    await vault.destroy(erased - (there.tombstones.keys() - there.keys.keys()))
