"""``eventapi log restore``: a copy takes the place of the log, if it is proven."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from eventapi.cli.failures import AnswerIsNo, Failure
from eventapi.cli.opening import checkpoint_beside, log_in, opened_log, state_at
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_fields, print_json, progress_bar
from eventapi.cli.vaults import merge_vault, store
from eventapi.cli.verify import checked, head_of, sentence
from eventapi.settings import Settings
from eventapi.storage import opened_journal, opened_vault, vault_path
from events.files import TEMPORARY, make_directory, sync_directory
from events.log.mark import Mark, peek
from events.log.port import Head
from events.log.verify import Report
from events.notes import Signer, TreeHead, Verifier
from events.vault.memory import MemoryVault
from events.vault.tombstones import VaultContents
from projections.state import State

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = len(b',"hash":""}\n') + 64
_KEPT = click.Path(exists=True, dir_okay=False, path_type=Path)


class Restored(msgspec.Struct, frozen=True):
    """A log that was put in place: the first ``proven`` events are those of the checkpoint.

    ``erased_again`` are the users whose erasure the copy did not have: it was appended behind it.
    """

    path: str
    events: int
    proven: int
    root: str
    signed_by: str | None
    digest: str
    erased_again: Sequence[str]


@click.command("restore")
@click.argument("place", metavar="FROM", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--checkpoint",
    metavar="FILE|URL",
    help="The checkpoint that proves it; by default the one that lies beside FROM.",
)
@click.option(
    "--key",
    metavar="VKEY",
    help="The verifier key that must have signed it; by default that of the data directory.",
)
@click.option("--vault", metavar="FILE", type=_KEPT, help="The copy of the keys.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def restore(
    place: Path, *, checkpoint: str | None, key: str | None, vault: Path | None, as_json: bool
) -> None:
    """Put the copy FROM in the place of the log, where there is none, if it is proven.

    It has to be what the checkpoint was signed for, and every user who is not erased must have a
    key. Otherwise nothing is changed.
    """
    settings = loaded().settings
    if settings.is_database:
        raise Failure("a log in a database is filled by `eventapi log copy FROM URL`")
    source = Path(log_in(str(place)))
    beside = checkpoint_beside(source)
    if not source.is_file():
        raise Failure(f"there is no log at {source}")
    if checkpoint is None and not beside.exists():
        raise Failure(f"there is no checkpoint {beside}: name one that proves the copy")
    _check_place(settings.log_path)
    key = key or _own_key(settings)
    head = head_of(checkpoint or str(beside), key)
    restored = asyncio.run(_restore(source, settings, head, vault, key))
    if as_json:
        print_json(restored)
    else:
        fields = msgspec.structs.asdict(restored)
        print_fields(**{**fields, "erased_again": ", ".join(restored.erased_again) or None})
    if key is None:
        click.echo("eventapi: whose signature it is was not checked: name the --key", err=True)


def _check_place(path: Path) -> None:
    if path.exists():
        raise Failure(f"there is a log at {path}: move it away first, a restore replaces nothing")
    make_directory(path.parent)


def _own_key(settings: Settings) -> str | None:
    """The verifier key of the data directory, where there is one."""
    kept = settings.log_path.with_name(f"{settings.log_path.name}.key")
    try:
        return Signer.of(kept.read_text(encoding="ascii")).verifier.vkey
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Failure(f"the log's key {kept} cannot be used: {error}") from None


async def _restore(
    source: Path, settings: Settings, head: TreeHead, vault: Path | None, key: str | None
) -> Restored:
    path = settings.log_path
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        _copy_published(source, temporary)
        contents = await merge_vault(vault_path(settings), vault)
        report = checked(temporary, head, contents)
        if not report.ok:
            raise AnswerIsNo(f"nothing is restored: {sentence(report.findings[0])}")
        _compare_with_mark(path, temporary, report)
        # A key is durable before the first line that is sealed with it, here as everywhere.
        async with opened_vault(settings) as own:
            await store(own, contents)
        mark = Mark(_mark_of(path))
        mark.publish(report.bytes, Head(report.lines, bytes.fromhex(report.head.hash)))
        mark.close()
        os.link(temporary, path)  # Unlike a rename, it replaces nothing.
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    async with opened_log(settings) as log:
        state = await state_at(log, MemoryVault())
    users = state.users.by_id.values()
    async with opened_vault(settings) as own:
        # The copy of the keys may be older than an erasure.
        await own.destroy({user.subject for user in users if user.status == "erased"})
    erased_again = await _erase_again(settings, state, contents)
    signer = None if key is None else Verifier.of(key).name
    root = head.root.hex()
    return Restored(str(path), report.lines, head.size, root, signer, state.digest(), erased_again)


async def _erase_again(settings: Settings, state: State, contents: VaultContents) -> Sequence[str]:
    """Append the erasures that the restored log does not have, as every start does."""
    users = state.users.by_id.values()
    if not any(user.status != "erased" and user.subject in contents.erased for user in users):
        return ()
    async with opened_journal(settings) as (journal, _):
        return journal.erased_again


def _copy_published(source: Path, target: Path) -> None:
    """Copy a log as far as it is published, to a file of mode 0600, durably."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as log:
        left = os.fstat(log.fileno()).st_size
        with suppress(FileNotFoundError):
            left = peek(_mark_of(source)).offset
        with progress_bar("Copying", left) as progress:
            while left and (chunk := log.read(min(_CHUNK_BYTES, left))):
                out.write(chunk)
                left -= len(chunk)
                progress(out.tell())
        out.flush()
        os.fsync(out.fileno())


def _compare_with_mark(path: Path, restored: Path, report: Report) -> None:
    """Raise `AnswerIsNo` where more was acknowledged here than the copy has."""
    mark = _mark_of(path)
    if not mark.exists():
        return
    published = peek(mark)
    with restored.open("rb") as file:
        file.seek(max(published.offset - _TAIL_BYTES, 0))
        end = b',"hash":"%b"}\n' % published.head.hash.hex().encode()
        is_part = published.head.position == 0 or file.read(_TAIL_BYTES).endswith(end)
    if not is_part:
        raise AnswerIsNo(
            f"nothing is restored: {published.head.position} events were acknowledged here, and "
            f"the copy of {report.lines} does not have them all; remove {mark} to give them up"
        )


def _mark_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.mark")
