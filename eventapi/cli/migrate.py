"""Copy a log and its keys into a database, which servers can then continue."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from eventapi.bootstrap import storage
from eventapi.bootstrap.paths import signing_key_path
from eventapi.cli.failures import Failure, NegativeResult
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
from events.messages.commands import COPY_DIFFERS, COPY_STATE_DIFFERS, OWN_KEY_UNREADABLE
from events.record import START
from events.transparency.merkle import Frontier, leaf_hash
from events.transparency.signed_note import Signer
from events.transparency.signing.port import LOG
from events.vault.memory import MemoryVault
from events.vault.port import Vault


class MigrationResult(msgspec.Struct, frozen=True):
    """A copy in a database that was read back and compared.

    ``root`` and ``digest`` are the same for both logs.
    """

    path: str
    events: int
    new: int
    root: str
    digest: str
    keys: int


async def migrate(source: Settings, target: Settings) -> MigrationResult:
    """Copy a log and its keys into a database; a later call copies new events.

    Raises `NegativeResult` if a key is missing or if the copy differs from the log, `DamagedLog`
    for a wrong key, and the errors of `copy`.
    """
    check_data_directory(target)
    async with (
        opened_log(source) as log,
        storage.open_database(target, begin=True) as (copied, vault),
    ):
        before = await read_vault(source)
        upto = log.position
        state = await state_at(source, log, MemoryVault(), upto, from_zero=True)
        users = state.users.by_id.values()
        own = join_readings(before, await read_vault(source))
        async with copied.exclusive(LOCK_SECONDS) as appender:
            # Checked before any key is written: the database may belong to another log.
            await resume_point(log, appender.head, upto)
            check_all_have_keys(own, users)
            # A key must be durable before the first line that is sealed with it.
            counted = await copy_keys(vault, own, users)
            await copy_signing_key(source, own.keys, vault)
        with progress_bar("copying the log", upto) as progress:
            new = await copy(log, copied, upto, timeout=LOCK_SECONDS, progress=progress)
        root = await _verified_root(log, upto)
        if await _verified_root(copied, upto) != root:
            raise NegativeResult(COPY_DIFFERS)
        # With the keys in the database, so that every seal is opened.
        digest = (await state_at(source, copied, vault, upto, from_zero=True)).digest()
        if digest != state.digest():
            raise NegativeResult(COPY_STATE_DIFFERS)
        await destroy_erased_keys(vault, own, users)
    return MigrationResult(target.log_name, upto, new, root.hex(), digest, counted)


async def _verified_root(log: EventLog, upto: int) -> bytes:
    """Check the chain of the first lines, and return the root of the tree over them."""
    tree, last = Frontier(), START
    async with open_runs(log, 0, upto) as runs:
        with progress_bar("comparing the copy", upto) as progress:
            async for lines in runs:
                last = check_links(lines, last)
                for line in lines:
                    tree.add(leaf_hash(line))
                progress(last.position)
    return tree.root


async def copy_signing_key(source: Settings, keys: Mapping[str, bytes], vault: Vault) -> None:
    """Copy the signing key, because clients recognise the log by it.

    A log in a database has it in its vault, a log in a file beside itself.
    """
    path = signing_key_path(source.log_path)
    seed = keys.get(LOG)
    if seed is None and path.exists():
        try:
            seed = Signer.parse(path.read_text(encoding="ascii")).seed
        except (OSError, ValueError) as error:
            raise Failure(OWN_KEY_UNREADABLE.fill(path=path, reason=error)) from None
    if seed is not None and not await vault.get([LOG]):
        await vault.put({LOG: seed})
