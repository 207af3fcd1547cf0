"""Install a proven copy of a log, with its keys, in the place of a missing log.

The functions below `install_copy` are its steps, in order. Nothing but a temporary file is written
before every check has passed. The log gets its name last, so that a crash leaves no log with
missing keys.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventapi.bootstrap.paths import checkpoint_path, vault_path
from eventapi.bootstrap.storage import open_vault
from eventapi.cli.failures import NegativeResult
from eventapi.cli.output import progress_bar
from eventapi.cli.vaults import merge_vault, store_contents
from eventapi.cli.verdict import verdict
from eventapi.cli.verify import verify_file
from eventapi.configuration.settings import Settings
from events.io.files import (
    TEMPORARY,
    make_directory,
    make_file,
    sync_directory,
    write_durably,
)
from events.log.file.commit_index import CommitIndex, read_commit_point
from events.log.file.paths import commit_index_path
from events.log.file.segments import open_stream
from events.log.port import Head
from events.messages.commands import COPY_NOT_PROVEN, COPY_TOO_OLD
from events.transparency.signed_note import Note, TreeHead
from events.transparency.signing.file import read_checkpoint, set_aside_checkpoint
from events.vault.tombstones import VaultContents
from events.verification.report import Report

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = len(b',"hash":""}\n') + 64


async def install_copy(
    source: Path, settings: Settings, head: TreeHead, note: Note, *, keys: Path | None
) -> None:
    """Install the copy at ``source`` if it continues ``head``.

    ``head`` is the tree head of ``note``, and ``keys`` a copy of the vault. Raises
    `NegativeResult`, and then changes nothing.
    """
    path = settings.log_path
    with _temporary_beside(path) as temporary:
        _copy_published_lines(source, temporary)
        contents = await merge_vault(vault_path(settings), keys)
        report = _verify_copy(source, temporary, head, contents)
        _check_has_acknowledged_events(path, temporary, report)
        # A key must be durable before the first line that is sealed with it.
        async with open_vault(settings) as vault:
            await store_contents(vault, contents)
        _write_checkpoint_beside(path, note)
        _publish_commit_index(path, report)
        os.link(temporary, path)  # Unlike a rename, this replaces nothing.
        sync_directory(path.parent)


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A temporary path beside the log; a new directory is removed if it stays empty."""
    is_made = not path.parent.exists()
    make_directory(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if is_made:
            with suppress(OSError):  # The directory is empty only if the copy was refused.
                path.parent.rmdir()


def _copy_published_lines(source: Path, target: Path) -> None:
    """Copy a log up to its mark to one new file of mode 0600, and sync it."""
    descriptor = make_file(target, os.O_WRONLY)
    with os.fdopen(descriptor, "wb") as out, open_stream(source) as (log, size):
        left = size
        with suppress(FileNotFoundError):
            left = read_commit_point(commit_index_path(source)).offset
        with progress_bar("copying the log", left, " bytes") as progress:
            while left and (chunk := log.read(min(_CHUNK_BYTES, left))):
                out.write(chunk)
                left -= len(chunk)
                progress(out.tell())
        out.flush()
        os.fsync(out.fileno())


def _verify_copy(source: Path, copied: Path, head: TreeHead, contents: VaultContents) -> Report:
    """Verify the copied file against checkpoint and keys; raises `NegativeResult`."""
    report = verify_file(copied, head, contents)
    if not report.ok:
        reason = verdict(str(source), report, head).text
        raise NegativeResult(COPY_NOT_PROVEN.fill(reason=reason))
    return report


def _check_has_acknowledged_events(path: Path, copied: Path, report: Report) -> None:
    """Raise `NegativeResult` if the mark has acknowledged events that the copy lacks."""
    mark = commit_index_path(path)
    if not mark.exists():
        return
    published = read_commit_point(mark)
    with copied.open("rb") as file:
        file.seek(max(published.offset - _TAIL_BYTES, 0))
        tail = file.read(_TAIL_BYTES)
    ends_there = tail.endswith(b"\n") and published.head.matches(tail[:-1])
    is_part = published.head.position == 0 or ends_there
    if not is_part:
        message = COPY_TOO_OLD.fill(
            acknowledged=published.head.position, events=report.lines, mark=mark
        )
        raise NegativeResult(message)


def _write_checkpoint_beside(path: Path, note: Note) -> None:
    """Store the proof of a copy beside the log.

    A newer checkpoint, or one of another key, is not replaced. The file is evidence of the signed
    head, also on another machine, but it does not confirm the head.
    """
    beside, head = checkpoint_path(path), TreeHead.parse(note)
    known = read_checkpoint(beside)
    existing = None if known is None else TreeHead.parse(known)
    if existing is None or (existing.origin == head.origin and existing.size < head.size):
        set_aside_checkpoint(beside, head.origin)
        write_durably(beside, str(note).encode())


def _publish_commit_index(path: Path, report: Report) -> None:
    """Create the mark of the installed log: all of its lines are published."""
    mark = CommitIndex(commit_index_path(path))
    mark.publish(report.bytes, Head(report.lines, bytes.fromhex(report.head.hash)))
    mark.close()
