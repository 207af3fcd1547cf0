"""Key copies on the command line: read them, merge them, and pass erasures on with the keys."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from eventapi.bootstrap import storage
from eventapi.bootstrap.storage import async_closing
from eventapi.cli.failures import NegativeResult
from eventapi.configuration.settings import Settings
from events.messages.commands import ERASED_USER_ALIVE, KEYS_OF_OTHER_LOG, OTHER_KEY
from events.messages.erasures import users_without_keys
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents, contents_of, may_be_destroyed, merge
from projections.tables.users import User


async def read_vault(settings: Settings) -> VaultContents:
    """Read the vault beside the log; raises `VaultUnavailable` where there is none."""
    async with storage.open_vault_for_reading(settings) as vault:
        return await contents_of(vault)


def join_readings(earlier: VaultContents, later: VaultContents) -> VaultContents:
    """One vault as read twice: an erased user has a key in the earlier, a new one in the later."""
    return VaultContents({**later.keys, **earlier.keys}, later.tombstones)


async def read_vault_file(path: Path | None) -> VaultContents:
    """Read a vault in a file; it is empty where there is no file."""
    if path is None or not path.exists():
        return VaultContents()
    async with async_closing(SqliteVault(path, writable=False)) as vault:
        return await contents_of(vault)


async def merge_vault(own: Path, copy: Path | None) -> VaultContents:
    """What the vault at ``own`` has after it takes in a copy; `store` writes it.

    No erasure is forgotten, and no destroyed key comes back: see `merge`.
    """
    return merged(await read_vault_file(own), await read_vault_file(copy))


async def store_contents(vault: Vault, contents: VaultContents) -> None:
    """Bring merged contents into a vault: tombstones first, so that a crash forgets no erasure."""
    await vault.add_tombstones(contents.tombstones)
    await vault.put(contents.keys)


async def add_missing_keys(vault: Vault, copy: VaultContents) -> None:
    """Bring keys that are missing, and tombstones, from a copy into a vault that is in use.

    The log must be locked, so that no user is erased meanwhile. A key that is there is never
    replaced: raises `NegativeResult` where the copy has another one, and then changes nothing.
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
    """Raise `NegativeResult` where users of the log have neither key nor tombstone."""
    known = contents.keys.keys() | contents.tombstones.keys()
    lost = [user.subject for user in users if user.status != "erased" and user.subject not in known]
    if lost:
        raise NegativeResult(users_without_keys(lost))


async def copy_keys(vault: Vault, source: VaultContents, users: Collection[User]) -> int:
    """Give a vault the keys and tombstones of a log's users; return how many keys are kept.

    Keys without a user are left over from failed registrations and skipped. Raises `NegativeResult`
    where the vault has another key for a user, because a user's key never changes, and where a
    user is erased according to the vault and alive in the log.
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
    """Destroy the keys of the users that are erased, in the log or according to the source.

    No other key is destroyed, whatever the source has lost.
    """
    erased = {user.subject for user in users if user.status == "erased"}
    await vault.add_tombstones(source.tombstones)
    there = await contents_of(vault)
    await vault.destroy(erased - (there.tombstones.keys() - there.keys.keys()))
