"""Copying a log into a database, from which servers then go on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from eventapi.bootstrap import storage
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import (
    LOCK_SECONDS,
    check_data_directory,
    open_runs,
    opened_log,
    state_at,
)
from eventapi.cli.output import progress_bar
from eventapi.cli.vaults import (
    check_all_have_keys,
    copy_keys,
    destroy_erased_keys,
    join_readings,
    read_vault,
)
from eventapi.configuration.settings import Settings
from events.codec import check_links
from events.log.copy import copy, resume_point
from events.log.port import EventLog
from events.messages.commands import COPY_DIFFERS, COPY_STATE_DIFFERS
from events.record import START
from events.transparency.merkle import Frontier, leaf_hash
from events.transparency.signed_note import Signer
from events.transparency.signing.port import LOG
from events.vault.memory import MemoryVault
from events.vault.port import Vault


class MigrationResult(msgspec.Struct, frozen=True):
    """A copy in a database that was read back and compared: the root and digest are of both."""

    path: str
    events: int
    new: int
    root: str
    digest: str
    keys: int


async def migrate(source: Settings, target: Settings) -> MigrationResult:
    """Bring a database to what a log is now, keys first; again and again, it gets what is new.

    Raises `NegativeResult` where a key is missing, and where what is there afterwards is not the same,
    `DamagedLog` where a key is a wrong one, and what `copy` raises.
    """
    check_data_directory(target)
    async with (
        opened_log(source) as log,
        storage.open_database(target, begin=True) as (copied, vault),
    ):
        before = await read_vault(source)
        upto = log.position
        state = await state_at(log, MemoryVault(), upto)
        users = state.users.by_id.values()
        own = join_readings(before, await read_vault(source))
        async with copied.exclusive(LOCK_SECONDS) as appender:
            # Before any key is touched: those of another log are none of ours.
            await common(log, appender.head, upto)
            check_all_have_keys(own, users)
            # A key is durable before the first line that is sealed with it.
            counted = await copy_keys(vault, own, users)
            await _copy_signing_key(source, own.keys, vault)
        with progress_bar("copying the log", upto) as progress:
            new = await copy(log, copied, upto, timeout=LOCK_SECONDS, progress=progress)
        root = await _verified_root(log, upto)
        if await _verified_root(copied, upto) != root:
            raise NegativeResult(COPY_DIFFERS)
        # With the keys as they are there, which opens every seal.
        digest = (await state_at(copied, vault, upto)).digest()
        if digest != state.digest():
            raise NegativeResult(COPY_STATE_DIFFERS)
        await destroy_erased_keys(vault, own, users)
    return MigrationResult(target.log_name, upto, new, root.hex(), digest, counted)


async def _verified_root(log: EventLog, upto: int) -> bytes:
    """The root of the tree over the first lines, each of which follows the one before it."""
    tree, last = Frontier(), START
    async with open_runs(log, 0, upto) as runs:
        with progress_bar("comparing the copy", upto) as progress:
            async for lines in runs:
                last = check_links(lines, last)
                for line in lines:
                    tree.add(leaf_hash(line))
                progress(last.position)
    return tree.root


async def _copy_signing_key(source: Settings, keys: Mapping[str, bytes], vault: Vault) -> None:
    """Have the copy sign with the same key, or who knows the log would not know it again.

    A log in a database has it among its keys, a file beside itself.
    """
    path = storage.signing_key_path(source.log_path)
    seed = keys.get(LOG)
    if seed is None and path.exists():
        seed = Signer.of(path.read_text(encoding="ascii")).seed
    if seed is not None and not await vault.get([LOG]):
        await vault.put({LOG: seed})
