"""``eventapi log restore``: install a copy of the log, and let its key sign again.

Three steps, each of which can be requested alone: install the copy FROM if it is proven
(`eventapi.cli.install_copy`); add missing keys from a copy of the vault; and settle which
checkpoints count, by showing the newest one or by beginning a new key. See
docs/decisions/restore.md.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from eventapi.bootstrap.paths import checkpoint_path, signing_key_path
from eventapi.bootstrap.start_check import check_log_is_there
from eventapi.bootstrap.storage import checkpoints_of, open_journal, open_log_and_vault
from eventapi.cli.failures import Failure, Misuse, NegativeResult, reason_of
from eventapi.cli.install_copy import install_copy
from eventapi.cli.opening import LOCK_SECONDS, check_data_directory, operator, resolve_log
from eventapi.cli.options import (
    CheckpointPlace,
    FilePath,
    LogPlace,
    json_option,
    loaded,
    settings_options,
)
from eventapi.cli.output import echo_warning, print_fields, print_json
from eventapi.cli.vaults import add_missing_keys, read_vault_file
from eventapi.cli.verify import load_checkpoint, load_tree_head
from eventapi.commands.log import ResumeLog
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from events.errors import SigningSuspended
from events.log.file.paths import closed_segments
from events.messages.archives import ARCHIVE_RESTORE
from events.messages.commands import (
    CHECKPOINT_OF_OTHER_KEY,
    DATABASE_RESTORE,
    LOG_IN_THE_WAY,
    NO_COPY,
    NO_PROOF,
    NOTHING_SIGNED,
    OWN_KEY_UNREADABLE,
    SIGNATURE_NOT_CHECKED,
)
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note, Signer, TreeHead, Verifier
from events.transparency.signing.port import KEY_PREFIX, SigningState

_SEED_BYTES = 32
_VAULT_FILE = FilePath(exists=True)


class RestoreResult(msgspec.Struct, frozen=True):
    """The log after the restore.

    A checkpoint covers its first ``proven`` events. ``signing`` says whether its key signs the next
    ones, and ``erased_again`` are the users whose erasure the restored log lacked.
    """

    path: str
    events: int
    proven: int | None
    root: str | None
    signed_by: str | None
    digest: str
    signing: str
    erased_again: Sequence[str]


class _Request(msgspec.Struct, frozen=True):
    """The arguments; ``key`` must have signed ``checkpoint``, the newest one."""

    source: Path | None
    checkpoint: str | None
    key: str | None
    vault: Path | None
    new_key: bool


@click.command("restore")
@click.argument("place", metavar="[FROM]", required=False, type=LogPlace())
@click.option(
    "--checkpoint",
    metavar="FILE|URL",
    type=CheckpointPlace(),
    help="The newest known checkpoint; the log must continue it, and its key then signs again.",
)
@click.option(
    "--key",
    metavar="VKEY",
    help="The verifier key that must have signed it; default: that of the data directory.",
)
@click.option("--vault", metavar="FILE", type=_VAULT_FILE, help="The copy of the keys.")
@click.option("--new-key", is_flag=True, help="Begin a new signing key, which is an event.")
@json_option
@settings_options
def restore(
    place: Path | str | None,
    *,
    checkpoint: str | None,
    key: str | None,
    vault: Path | None,
    new_key: bool,
    as_json: bool,
) -> None:
    """Put the copy FROM in the place of a missing log, if the copy is proven.

    The copy must continue a signed checkpoint: the one beside FROM, or the one that --checkpoint
    names. Every user who is not erased must have a key. Otherwise nothing is changed.

    The old key signs nothing until --checkpoint shows the newest known checkpoint and the log
    continues it, or until --new-key begins a new key. Both options also work without FROM, for a
    log that is in its place and for a log in a database.
    """
    settings = loaded().settings
    if isinstance(place, str):
        raise Misuse(ARCHIVE_RESTORE.fill(place=place))
    source = None if place is None else Path(resolve_log(str(place)))
    request = _Request(source, checkpoint, key, vault, new_key)
    _check_request(request, settings)
    restored = asyncio.run(_restore(request, settings))
    if as_json:
        print_json(restored)
    else:
        fields = msgspec.structs.asdict(restored)
        print_fields(**{**fields, "erased_again": ", ".join(restored.erased_again) or None})
    if source is not None and restored.signed_by is None:
        echo_warning(SIGNATURE_NOT_CHECKED)


def _check_request(request: _Request, settings: Settings) -> None:
    """Refuse a request that cannot succeed, before anything is changed."""
    if request.source is None:
        if not (request.checkpoint or request.new_key or request.vault):
            raise click.UsageError("give FROM, --checkpoint, --new-key or --vault")
        check_data_directory(settings)
        return
    if settings.is_database:
        raise Failure(DATABASE_RESTORE)
    if not request.source.is_file():
        raise Failure(NO_COPY.fill(path=request.source))
    beside = checkpoint_path(request.source)
    if request.checkpoint is None and not beside.exists():
        raise Failure(NO_PROOF.fill(path=beside))
    path = settings.log_path
    if os.path.lexists(path) or closed_segments(path):
        raise Failure(LOG_IN_THE_WAY.fill(path=path))


async def _restore(request: _Request, settings: Settings) -> RestoreResult:
    key = request.key or _own_verifier_key(settings)
    proof = await _prove_and_install(request, settings, key)
    async with open_journal(settings) as (journal, log):
        signing = await _settle_signing(request, journal, checkpoints_of(settings, log))
        state = await journal.state()
        return RestoreResult(
            settings.log_name,
            state.position,
            None if proof is None else proof.size,
            None if proof is None else proof.root.hex(),
            None if key is None or proof is None else Verifier.parse(key).name,
            state.digest(),
            signing,
            journal.erased_again,
        )


async def _prove_and_install(
    request: _Request, settings: Settings, key: str | None
) -> TreeHead | None:
    """Install the copy, or check the checkpoint and add keys to the existing log."""
    if request.source is not None:
        proof = request.checkpoint or str(checkpoint_path(request.source))
        head = load_tree_head(proof, key)
        await install_copy(
            request.source, settings, head, load_checkpoint(proof), keys=request.vault
        )
        return head
    head_shown = None if request.checkpoint is None else load_tree_head(request.checkpoint, key)
    if request.vault is not None:
        await _add_keys_from_copy(settings, request.vault)
    return head_shown


def _own_verifier_key(settings: Settings) -> str | None:
    """The verifier key of the data directory, if it has one."""
    path = signing_key_path(settings.log_path)
    try:
        return Signer.parse(path.read_text(encoding="ascii")).verifier.vkey
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Failure(OWN_KEY_UNREADABLE.fill(path=path, reason=reason_of(error))) from None


async def _add_keys_from_copy(settings: Settings, path: Path) -> None:
    """Add keys from a copy to the vault of a log that is in its place."""
    copy = await read_vault_file(path)
    check_log_is_there(settings)
    async with open_log_and_vault(settings) as (log, vault), log.exclusive(LOCK_SECONDS):
        await add_missing_keys(vault, copy)


# Which checkpoints count


async def _settle_signing(request: _Request, journal: Journal, checkpoints: Checkpoints) -> str:
    """Apply the operator's decision about the signing key; return its result in words."""
    note = None if request.checkpoint is None else load_checkpoint(request.checkpoint)
    if request.new_key:
        return await _begin_new_key(note, journal, checkpoints)
    try:
        if note is None or (request.source is not None and not await _has_key(checkpoints)):
            await checkpoints.check()
            return "goes on"
        head = await checkpoints.confirm(note)
    except SigningSuspended as error:
        if request.source is None and request.checkpoint is not None:
            raise NegativeResult(error.message) from None
        return f"suspended: {error.message}"
    return f"goes on behind the checkpoint of {head.size} events"


async def _has_key(checkpoints: Checkpoints) -> bool:
    return (await checkpoints.signing_state()).signer is not None


async def _begin_new_key(note: Note | None, journal: Journal, checkpoints: Checkpoints) -> str:
    held = await checkpoints.signing_state()
    if held.status == "new" and note is None:
        raise NegativeResult(NOTHING_SIGNED)
    if note is not None:
        _check_signed_by_known_key(held, note)
    heads = [held.head, None if note is None else TreeHead.parse(note)]
    newest = max(filter(None, heads), key=lambda head: head.size, default=None)
    signer = Signer.from_seed(secrets.token_bytes(_SEED_BYTES), KEY_PREFIX)
    command = ResumeLog(
        signer.verifier.vkey,
        operator(),
        held.signed_by or (None if newest is None else newest.origin),
        None if newest is None else newest.size,
        None if newest is None else newest.root,
    )
    # The event comes first, because the key may sign nothing without it.
    await journal.execute(command)
    await checkpoints.begin(signer)
    return f"new key {signer.verifier.vkey}"


def _check_signed_by_known_key(held: SigningState, note: Note) -> None:
    """Raise `NegativeResult` if the previous key did not sign a checkpoint.

    Without the key, only its name can be compared.
    """
    is_signed = held.signer is None or held.signer.verifier.verify(note)
    if not is_signed or held.signed_by not in {None, TreeHead.parse(note).origin}:
        raise NegativeResult(CHECKPOINT_OF_OTHER_KEY.fill(name=held.signed_by))
