"""``eventapi log copy``: make a verified backup beside a running server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import msgspec

from eventapi.bootstrap import storage
from eventapi.bootstrap.paths import checkpoint_path, vault_path, verified_path
from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import async_closing
from eventapi.cli.export import check_output
from eventapi.cli.failures import Misuse, NegativeResult
from eventapi.cli.migrate import MigrationResult, migrate
from eventapi.cli.opening import (
    LOCK_SECONDS,
    opened_log,
    settings_for_log,
    state_at,
)
from eventapi.cli.options import FilePath, json_option, loaded, settings_options
from eventapi.cli.output import echo_warning, print_fields, print_json, progress_bar
from eventapi.cli.vaults import (
    check_all_have_keys,
    copy_keys,
    destroy_erased_keys,
    read_vault,
)
from eventapi.cli.verify import format_finding, load_checkpoint, verify_file
from eventapi.configuration.settings import Settings
from eventapi.resources.registry import Registry
from events.archive.reader import ArchivedLog
from events.errors import DivergedLog, SigningSuspended
from events.io.files import make_directory, write_durably
from events.log.check import ends_at
from events.log.copy import copy
from events.log.port import EventLog
from events.messages.archives import ARCHIVE_TARGET
from events.messages.commands import (
    COPY_NOT_WHOLE,
    NO_NEW_CHECKPOINT,
    SAME_LOG,
    SAME_VAULT,
    VAULT_WITH_DATABASE,
)
from events.transparency.signed_note import Note, TreeHead
from events.transparency.signing.file import read_checkpoint, set_aside_checkpoint
from events.transparency.tree import ContinuedTree
from events.vault.memory import MemoryVault
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents
from events.verification.checks import MissingKeys
from events.verification.verified import (
    NOTHING,
    VerifiedPart,
    load_verified,
    store_verified,
    verify_rest,
)

_ATTEMPTS = 3


class CopyResult(msgspec.Struct, frozen=True):
    """A verified copy; ``root`` is that of the checkpoint beside it, if there is one.

    ``new`` counts the events that were written, and ``checked`` those that were verified now.
    """

    path: str
    events: int
    new: int
    checked: int
    bytes: int
    root: str | None
    keys: int | None


_FILE = FilePath()


@click.command("copy")
@click.argument("places", metavar="[FROM] TO", nargs=-1, required=True)
@click.option(
    "--vault", metavar="FILE", type=_FILE, help="Also update the copy of the keys in FILE."
)
@click.option("--check", is_flag=True, help="Also verify again what earlier runs have verified.")
@json_option
@settings_options
def copy_log(places: tuple[str, ...], vault: Path | None, check: bool, as_json: bool) -> None:
    """Copy the log to the file or directory TO, and verify the copy.

    The command works beside a running server. If TO has a part of the log already, only the new
    events are read, written and verified; with --check all of them, in the log and in the copy. The
    checkpoint is stored beside the copy.

    Personal values are lost without the keys. --vault copies them, too. Store FILE in another place
    than the log, because both together give access to all personal data. The keys of erased users
    are removed from FILE the next time it is updated.

    FROM may also be an archive (`log archive`). FROM and TO may also be databases. A database always
    gets the keys, too, and a server that is started with it continues the log.
    """
    if len(places) > 2:
        raise click.UsageError("give at most FROM and TO")
    settings = loaded().settings
    *sources, to = places
    target = settings_for_log(to, settings)
    source = settings_for_log(sources[0], settings) if sources else settings
    if target.is_archive:
        raise Misuse(ARCHIVE_TARGET.fill(place=target.log_name))
    if os.path.realpath(target.log_path) == os.path.realpath(source.log_path):
        raise Misuse(SAME_LOG.fill(name=target.log_name))
    if target.is_database and vault is not None:
        raise Misuse(VAULT_WITH_DATABASE)
    if vault is not None:
        _check_vault(vault, source, settings)
    copying: Coroutine[Any, Any, CopyResult | MigrationResult]
    if target.is_database:
        copying = migrate(source, target)
    else:
        copying = _copy(source, target, vault, is_own=not sources, everything=check)
    try:
        copied = asyncio.run(copying)
    except DivergedLog as error:
        raise NegativeResult(error.message) from None
    print_json(copied) if as_json else print_fields(**msgspec.structs.asdict(copied))


def _check_vault(vault: Path, source: Settings, settings: Settings) -> None:
    """Raise `Misuse` if keys would be copied into a file of the server."""
    place = os.path.realpath(vault)
    if not source.is_database and place == os.path.realpath(vault_path(source)):
        raise Misuse(SAME_VAULT.fill(name=vault))
    if place != os.path.realpath(vault_path(settings)):
        check_output(vault, settings)  # No erasure would reach keys in another file of the server.


async def _copy(
    source: Settings, target: Settings, vault: Path | None, *, is_own: bool, everything: bool
) -> CopyResult:
    path, new, missing = target.log_path, 0, MissingKeys()
    async with opened_log(source) as log:
        known = NOTHING if everything else await _known_part(source, log, target, is_own=is_own)
        if vault is not None and not (known.opened and vault.exists()):
            known = NOTHING  # Each key that is new in FILE must open what it sealed.
        before = known.position
        for _ in range(_ATTEMPTS):
            note = await _checkpoint_of(source, log, known, is_own=is_own)
            head = None if note is None else TreeHead.parse(note)
            upto = log.position if head is None else head.size
            appended = await _copy_lines(log, target, upto)
            new += appended
            if upto - appended < known.position:
                before, known = 0, NOTHING  # The copy was replaced by a shorter one.
            own = None if vault is None else await read_vault(source)
            verified = _verify(path, known, head, own, missing)
            if verified is None and known.position:
                before, known = 0, NOTHING  # The copy has changed since.
                verified = _verify(path, known, head, own, missing)
            # A user may have been erased after the lines were copied: try again.
            if verified is None or own is None or not _users_without_key(missing, own):
                break
            known = verified
        else:
            verified = None
        if verified is None and not (report := verify_file(path, head, own)).ok:
            raise NegativeResult(COPY_NOT_WHOLE.fill(finding=format_finding(report.findings[0])))
        counted = None
        if vault is not None and own is not None:
            counted = await _copy_keys(source, log, upto, own, vault)
    if note is not None:
        _store_proof(path, note, verified)
    root = None if head is None else head.root.hex()
    return CopyResult(str(path), upto, new, upto - before, path.stat().st_size, root, counted)


async def _copy_keys(
    source: Settings, log: EventLog, upto: int, own: VaultContents, vault: Path
) -> int:
    """Copy the keys of the users at a position to a file; return their number."""
    users = (await state_at(source, log, MemoryVault(), upto)).users.by_id.values()
    check_all_have_keys(own, users)
    make_directory(vault.parent)
    async with async_closing(SqliteVault(vault)) as copied:
        counted = await copy_keys(copied, own, users)
        await destroy_erased_keys(copied, own, users)
    return counted


def _store_proof(path: Path, note: Note, verified: VerifiedPart | None) -> None:
    """Store beside a copy its checkpoint, and then how much of it is verified."""
    beside = checkpoint_path(path)
    set_aside_checkpoint(beside, TreeHead.parse(note).origin)
    write_durably(beside, str(note).encode())
    if verified is not None:
        store_verified(verified_path(path), verified)


async def _known_part(
    source: Settings, log: EventLog, target: Settings, *, is_own: bool
) -> VerifiedPart:
    """What an earlier run has verified of the copy, if the log begins with it.

    That of our own log counts only if the checkpoint beside it is recorded as signed by its key.
    """
    beside = read_checkpoint(checkpoint_path(target.log_path))
    shown = None if beside is None else TreeHead.parse(beside)
    part = load_verified(verified_path(target.log_path), shown)
    if beside is None or part == NOTHING or not await ends_at(log, part.head):
        return NOTHING
    if is_own:
        state = await storage.checkpoints_of(source, log).signing_state()
        if not state.has_recorded(beside):
            return NOTHING
    return part


async def _copy_lines(log: EventLog, target: Settings, upto: int) -> int:
    check_start(target, begin=True, needs_vault=False)
    async with storage.open_log(target, begin=True) as copied:
        with progress_bar("copying the log", upto) as progress:
            return await copy(log, copied, upto, timeout=LOCK_SECONDS, progress=progress)


def _verify(
    path: Path,
    known: VerifiedPart,
    head: TreeHead | None,
    own: VaultContents | None,
    missing: MissingKeys,
) -> VerifiedPart | None:
    """Verify the lines of the copy after the known ones.

    Adds the users without a key to ``missing``. Returns ``None`` if the copy is not intact, or not
    the log of the checkpoint.
    """
    vocabulary, keys = Registry().vocabulary, None if own is None else own.keys
    with progress_bar("verifying the copy", path.stat().st_size, " bytes") as progress:
        found = verify_rest(path, known, vocabulary, keys, progress)
    if found is None:
        return None
    verified, without_key = found
    if head is not None and verified.tree().root != head.root:
        return None
    missing.merge(without_key)
    return verified


def _users_without_key(missing: MissingKeys, own: VaultContents) -> set[str]:
    return missing.lines.keys() - missing.erased - own.erased - own.keys.keys()


async def _checkpoint_of(
    source: Settings, log: EventLog, known: VerifiedPart, *, is_own: bool
) -> Note | None:
    """A new checkpoint of our own log, or the one beside another log.

    While signing is suspended, the backup is made without a checkpoint.
    """
    if is_own:
        tree = None
        if known.position:
            tree = ContinuedTree(log, known.tree(), known.last)
        try:
            return await storage.checkpoints_of(source, log, tree=tree).current()
        except SigningSuspended as error:
            echo_warning(NO_NEW_CHECKPOINT.fill(reason=error))
            return None
    if isinstance(log, ArchivedLog):
        return log.checkpoint
    kept = checkpoint_path(source.log_path)
    return load_checkpoint(str(kept)) if kept.exists() else None
