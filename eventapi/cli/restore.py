"""``eventapi log restore``: a copy takes the place of the log, and its key may sign again.

Three steps, each of which may be asked for by itself: put the copy FROM in its place, if it is
proven; bring back keys from a copy of the vault; and settle which checkpoints count, by showing the
newest one or by beginning a new key. See docs/decisions/restore.md.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from eventapi.bootstrap.start_check import check_log_is_there
from eventapi.bootstrap.storage import (
    checkpoint_path,
    checkpoints_of,
    open_journal,
    open_log_and_vault,
    open_vault,
    vault_path,
)
from eventapi.cli.failures import Failure, NegativeResult
from eventapi.cli.opening import LOCK_SECONDS, check_data_directory, operator, resolve_log
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import echo_warning, print_fields, print_json, progress_bar
from eventapi.cli.vaults import add_missing_keys, merge_vault, read_vault_file, store_contents
from eventapi.cli.verdict import verdict
from eventapi.cli.verify import load_checkpoint, load_tree_head, verify_file
from eventapi.commands.log import ResumeLog
from eventapi.configuration.settings import Settings
from eventapi.journal.journal import Journal
from events.errors import SigningSuspended
from events.io.files import (
    TEMPORARY,
    make_directory,
    make_file,
    sync_directory,
    write_durably,
)
from events.log.file.commit_index import CommitIndex, read_commit_point
from events.log.file.paths import commit_index_path
from events.log.port import Head
from events.messages.commands import (
    CHECKPOINT_OF_OTHER_KEY,
    COPY_NOT_PROVEN,
    COPY_TOO_OLD,
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
from events.transparency.signing.file import read_checkpoint, set_aside_checkpoint
from events.transparency.signing.port import KEY_PREFIX, Held
from events.verification.verify import Report

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = len(b',"hash":""}\n') + 64
_SEED_BYTES = 32
_VAULT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class RestoreResult(msgspec.Struct, frozen=True):
    """A log that was put in place, or settled where it is.

    The first ``proven`` events are those of a checkpoint; ``signing`` says what becomes of the
    next ones, and ``erased_again`` are the users whose erasure the log had lost.
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
    """What was asked for: ``shown`` is the newest checkpoint, ``key`` who must have signed it."""

    source: Path | None
    checkpoint: str | None
    key: str | None
    vault: Path | None
    new_key: bool


@click.command("restore")
@click.argument("place", metavar="[FROM]", required=False, type=click.Path(exists=True))
@click.option(
    "--checkpoint",
    metavar="FILE|URL",
    help="The newest known checkpoint: the log must continue it, and its key signs on from there.",
)
@click.option(
    "--key",
    metavar="VKEY",
    help="The verifier key that must have signed it; by default that of the data directory.",
)
@click.option("--vault", metavar="FILE", type=_VAULT_FILE, help="The copy of the keys.")
@click.option("--new-key", is_flag=True, help="Begin a new signing key, which is an event.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def restore(
    place: str | None,
    *,
    checkpoint: str | None,
    key: str | None,
    vault: Path | None,
    new_key: bool,
    as_json: bool,
) -> None:
    """Put the copy FROM in the place of the log, where there is none, if it is proven.

    The copy has to be what a checkpoint was signed for: the one beside FROM, or the one that
    --checkpoint names. Every user who is not erased must have a key. Otherwise nothing is changed.

    Nothing is signed under the old key until --checkpoint shows the newest known checkpoint and the
    log continues it, or --new-key begins another. Both work without FROM, too, for a log that is in
    its place, and for one in a database.
    """
    settings = loaded().settings
    source = None if place is None else Path(resolve_log(place))
    wanted = _Request(source, checkpoint, key, vault, new_key)
    _check_request(wanted, settings)
    restored = asyncio.run(_restore(wanted, settings))
    if as_json:
        print_json(restored)
    else:
        fields = msgspec.structs.asdict(restored)
        print_fields(**{**fields, "erased_again": ", ".join(restored.erased_again) or None})
    if source is not None and restored.signed_by is None:
        echo_warning(SIGNATURE_NOT_CHECKED)


def _check_request(wanted: _Request, settings: Settings) -> None:
    """Refuse what makes no sense, before anything is touched."""
    if wanted.source is None:
        if not (wanted.checkpoint or wanted.new_key or wanted.vault):
            raise click.UsageError("FROM, --checkpoint, --new-key or --vault is wanted")
        check_data_directory(settings)
        return
    if settings.is_database:
        raise Failure(DATABASE_RESTORE)
    if not wanted.source.is_file():
        raise Failure(NO_COPY.fill(path=wanted.source))
    beside = checkpoint_path(wanted.source)
    if wanted.checkpoint is None and not beside.exists():
        raise Failure(NO_PROOF.fill(path=beside))
    path = settings.log_path
    if path.exists():
        raise Failure(LOG_IN_THE_WAY.fill(path=path))


async def _restore(wanted: _Request, settings: Settings) -> RestoreResult:
    proof: TreeHead | None = None
    key = wanted.key or _own_verifier_key(settings)
    if wanted.source is not None:
        proof = await _put_in_place(wanted, settings, key)
    elif wanted.checkpoint is not None:
        proof = load_tree_head(wanted.checkpoint, key)
    if wanted.source is None and wanted.vault is not None:
        await _add_keys_from_copy(settings, wanted.vault)
    async with open_journal(settings) as (journal, log):
        checkpoints = checkpoints_of(settings, log)
        signing = await _settle_signing(wanted, journal, checkpoints)
        state = await journal.state()
        return RestoreResult(
            settings.log_name,
            state.position,
            None if proof is None else proof.size,
            None if proof is None else proof.root.hex(),
            None if key is None or proof is None else Verifier.of(key).name,
            state.digest(),
            signing,
            journal.erased_again,
        )


async def _add_keys_from_copy(settings: Settings, path: Path) -> None:
    """Bring keys from a copy into the vault of a log that is in its place."""
    copy = await read_vault_file(path)
    check_log_is_there(settings)
    async with open_log_and_vault(settings) as (log, vault), log.exclusive(LOCK_SECONDS):
        await add_missing_keys(vault, copy)


# Which checkpoints count


async def _settle_signing(wanted: _Request, journal: Journal, checkpoints: Checkpoints) -> str:
    """Carry out what the operator decided of the key; returns what becomes of it."""
    shown = None if wanted.checkpoint is None else load_checkpoint(wanted.checkpoint)
    if wanted.new_key:
        return await _begin_new_key(shown, journal, checkpoints)
    try:
        if shown is None or (wanted.source is not None and not await _has_key(checkpoints)):
            await checkpoints.check()
            return "goes on"
        head = await checkpoints.confirm(shown)
    except SigningSuspended as error:
        if wanted.source is None and wanted.checkpoint is not None:
            raise NegativeResult(error.message) from None
        return f"suspended: {error.message}"
    return f"goes on behind the checkpoint of {head.size} events"


async def _has_key(checkpoints: Checkpoints) -> bool:
    return (await checkpoints.held()).signer is not None


async def _begin_new_key(shown: Note | None, journal: Journal, checkpoints: Checkpoints) -> str:
    held = await checkpoints.held()
    if held.status == "new" and shown is None:
        raise NegativeResult(NOTHING_SIGNED)
    if shown is not None:
        _check_signed_by_known_key(held, shown)
    heads = [held.head, None if shown is None else TreeHead.of(shown)]
    newest = max(filter(None, heads), key=lambda head: head.size, default=None)
    signer = Signer.from_seed(secrets.token_bytes(_SEED_BYTES), KEY_PREFIX)
    command = ResumeLog(
        signer.verifier.vkey,
        operator(),
        held.signed_by or (None if newest is None else newest.origin),
        None if newest is None else newest.size,
        None if newest is None else newest.root,
    )
    # The event first: without it nothing may be signed by this key.
    await journal.execute(command)
    await checkpoints.begin(signer)
    return f"new key {signer.verifier.vkey}"


def _check_signed_by_known_key(held: Held, shown: Note) -> None:
    """Raise `NegativeResult` for a checkpoint that the key before did not sign, as far as is known."""
    is_signed = held.signer is None or held.signer.verifier.has_signed(shown)
    if not is_signed or held.signed_by not in {None, TreeHead.of(shown).origin}:
        raise NegativeResult(CHECKPOINT_OF_OTHER_KEY.fill(name=held.signed_by))


def _own_verifier_key(settings: Settings) -> str | None:
    """The verifier key of the data directory, where there is one."""
    kept = settings.log_path.with_name(f"{settings.log_path.name}.key")
    try:
        return Signer.of(kept.read_text(encoding="ascii")).verifier.vkey
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Failure(OWN_KEY_UNREADABLE.fill(path=kept, reason=error)) from None


# The copy


async def _put_in_place(wanted: _Request, settings: Settings, key: str | None) -> TreeHead:
    """Put the copy in place; returns what proves it. Raises `NegativeResult`, and changes nothing."""
    assert wanted.source is not None  # noqa: S101 - for the type checker
    path = settings.log_path
    proof = wanted.checkpoint or str(checkpoint_path(wanted.source))
    head, note = load_tree_head(proof, key), load_checkpoint(proof)
    is_made = not path.parent.exists()
    make_directory(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        _copy_published(wanted.source, temporary)
        contents = await merge_vault(vault_path(settings), wanted.vault)
        report = verify_file(temporary, head, contents)
        if not report.ok:
            reason = verdict(str(wanted.source), report, head).text
            raise NegativeResult(COPY_NOT_PROVEN.fill(reason=reason))
        _check_has_acknowledged_events(path, temporary, report)
        # A key is durable before the first line that is sealed with it, here as everywhere.
        async with open_vault(settings) as own:
            await store_contents(own, contents)
        _write_checkpoint_beside(path, note)
        mark = CommitIndex(_mark_of(path))
        mark.publish(report.bytes, Head(report.lines, bytes.fromhex(report.head.hash)))
        mark.close()
        os.link(temporary, path)  # Unlike a rename, it replaces nothing.
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        if is_made:
            with suppress(OSError):  # It has files now, unless the restore was refused.
                path.parent.rmdir()
    return head


def _copy_published(source: Path, target: Path) -> None:
    """Copy a log as far as it is published, to a file of mode 0600, durably."""
    descriptor = make_file(target, os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as log:
        left = os.fstat(log.fileno()).st_size
        with suppress(FileNotFoundError):
            left = read_commit_point(commit_index_path(source)).offset
        with progress_bar("copying the log", left, " bytes") as progress:
            while left and (chunk := log.read(min(_CHUNK_BYTES, left))):
                out.write(chunk)
                left -= len(chunk)
                progress(out.tell())
        out.flush()
        os.fsync(out.fileno())


def _write_checkpoint_beside(path: Path, note: Note) -> None:
    """Keep the proof of a copy beside the log, unless a newer or another key's checkpoint is there.

    It is evidence of what was signed, also on another machine, and confirms nothing.
    """
    beside, head = checkpoint_path(path), TreeHead.of(note)
    known = read_checkpoint(beside)
    there = None if known is None else TreeHead.of(known)
    if there is None or (there.origin == head.origin and there.size < head.size):
        set_aside_checkpoint(beside, head.origin)
        write_durably(beside, str(note).encode())


def _check_has_acknowledged_events(path: Path, restored: Path, report: Report) -> None:
    """Raise `NegativeResult` where more was acknowledged here than the copy has."""
    mark = commit_index_path(path)
    if not mark.exists():
        return
    published = read_commit_point(mark)
    with restored.open("rb") as file:
        file.seek(max(published.offset - _TAIL_BYTES, 0))
        tail = file.read(_TAIL_BYTES)
    ends_there = tail.endswith(b"\n") and published.head.matches(tail[:-1])
    is_part = published.head.position == 0 or ends_there
    if not is_part:
        message = COPY_TOO_OLD.fill(
            acknowledged=published.head.position, events=report.lines, mark=mark
        )
        raise NegativeResult(message)
