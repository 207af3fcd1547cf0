"""``eventapi log copy``: make a verified backup beside a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import msgspec

from eventapi.bootstrap import storage
from eventapi.bootstrap.paths import checkpoint_path
from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import async_closing
from eventapi.cli.failures import Misuse, NegativeResult
from eventapi.cli.migrate import MigrationResult, migrate
from eventapi.cli.opening import (
    LOCK_SECONDS,
    opened_log,
    settings_for_log,
    state_at,
)
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import echo_warning, print_fields, print_json, progress_bar
from eventapi.cli.vaults import copy_keys, destroy_erased_keys, read_vault
from eventapi.cli.verify import format_finding, load_checkpoint, verify_file
from eventapi.configuration.settings import Settings
from events.errors import DivergedLog, SigningSuspended
from events.io.files import make_directory, write_durably
from events.log.check import check_chain
from events.log.copy import copy
from events.log.port import EventLog
from events.messages.commands import (
    COPY_NOT_WHOLE,
    NO_NEW_CHECKPOINT,
    SAME_LOG,
    VAULT_WITH_DATABASE,
)
from events.transparency.signed_note import Note, TreeHead
from events.transparency.signing.file import set_aside_checkpoint
from events.vault.memory import MemoryVault
from events.vault.sqlite import SqliteVault

_ATTEMPTS = 3


class CopyResult(msgspec.Struct, frozen=True):
    """A verified copy; ``root`` is that of the checkpoint beside it, if there is one."""

    path: str
    events: int
    new: int
    bytes: int
    root: str | None
    keys: int | None


_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("copy")
@click.argument("places", metavar="[FROM] TO", nargs=-1, required=True)
@click.option(
    "--vault", metavar="FILE", type=_FILE, help="Also update the copy of the keys in FILE."
)
@json_option
@settings_options
def copy_log(places: tuple[str, ...], vault: Path | None, as_json: bool) -> None:
    """Copy the log to the file or directory TO, and verify the copy.

    The command works beside a running server. If TO has a part of the log already, only the new
    events are written. The checkpoint is stored beside the copy.

    Personal values are lost without the keys. --vault copies them, too. Store FILE in another place
    than the log, because both together give access to all personal data. The keys of erased users
    are removed from FILE the next time it is updated.

    FROM and TO may also be databases. A database always gets the keys, too, and a server that is
    started with it continues the log.
    """
    if len(places) > 2:
        raise click.UsageError("give at most FROM and TO")
    settings = loaded().settings
    *sources, to = places
    target = settings_for_log(to, settings)
    source = settings_for_log(sources[0], settings) if sources else settings
    if target.log_path.resolve() == source.log_path.resolve():
        raise Misuse(SAME_LOG.fill(name=target.log_name))
    if target.is_database and vault is not None:
        raise Misuse(VAULT_WITH_DATABASE)
    copying: Coroutine[Any, Any, CopyResult | MigrationResult]
    if target.is_database:
        copying = migrate(source, target)
    else:
        copying = _copy(source, target, vault, is_own=not sources)
    try:
        copied = asyncio.run(copying)
    except DivergedLog as error:
        raise NegativeResult(error.message) from None
    print_json(copied) if as_json else print_fields(**msgspec.structs.asdict(copied))


async def _copy(
    source: Settings, target: Settings, vault: Path | None, *, is_own: bool
) -> CopyResult:
    new = 0
    async with opened_log(source) as log:
        for _ in range(_ATTEMPTS):
            note = await _checkpoint_of(source, log, is_own=is_own)
            upto = log.position if note is None else TreeHead.parse(note).size
            new += await _copy_lines(log, target, upto)
            own = None if vault is None else await read_vault(source)
            report = verify_file(
                target.log_path, None if note is None else TreeHead.parse(note), own
            )
            # A user may have registered after the lines were copied: try again.
            if all(finding.kind != "key" for finding in report.findings):
                break
        if not report.ok:
            raise NegativeResult(COPY_NOT_WHOLE.fill(finding=format_finding(report.findings[0])))
        counted = None
        if vault is not None and own is not None:
            users = (await state_at(source, log, MemoryVault(), upto)).users.by_id.values()
            make_directory(vault.parent)
            async with async_closing(SqliteVault(vault)) as copied:
                counted = await copy_keys(copied, own, users)
                await destroy_erased_keys(copied, own, users)
    if note is not None:
        beside = checkpoint_path(target.log_path)
        set_aside_checkpoint(beside, TreeHead.parse(note).origin)
        write_durably(beside, str(note).encode())
    root = None if note is None else TreeHead.parse(note).root.hex()
    return CopyResult(str(target.log_path), upto, new, report.bytes, root, counted)


async def _copy_lines(log: EventLog, target: Settings, upto: int) -> int:
    check_start(target, begin=True, needs_vault=False)
    async with storage.open_log(target, begin=True) as copied:
        with progress_bar("copying the log", upto) as progress:
            return await copy(log, copied, upto, timeout=LOCK_SECONDS, progress=progress)


async def _checkpoint_of(source: Settings, log: EventLog, *, is_own: bool) -> Note | None:
    """A new checkpoint of our own log, or the one beside another log.

    While signing is suspended, the backup is made without a checkpoint.
    """
    if is_own:
        await check_chain(log)  # Nothing is signed of a log that is damaged.
        try:
            return await storage.checkpoints_of(source, log).current()
        except SigningSuspended as error:
            echo_warning(NO_NEW_CHECKPOINT.fill(reason=error))
            return None
    kept = checkpoint_path(source.log_path)
    return load_checkpoint(str(kept)) if kept.exists() else None
