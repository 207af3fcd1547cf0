"""``eventapi log archive``: keep the log as tiles, in a directory or a bucket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import click
import msgspec

from eventapi.bootstrap.archives import objects_at
from eventapi.bootstrap.storage import checkpoints_of
from eventapi.cli.failures import Failure, Misuse, NegativeResult
from eventapi.cli.opening import opened_log
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import echo_warning, print_fields, print_json, progress_bar
from eventapi.configuration.settings import Settings
from events.archive.edge import RightEdge, has_lines, read_checkpoint, read_edge
from events.archive.objects import CHECKPOINT, Objects
from events.archive.places import bucket_fault
from events.archive.reader import ArchivedLog
from events.archive.writer import store_checkpoint, write_archive
from events.codec import stated_hash
from events.errors import DamagedLog, DivergedLog, SigningSuspended
from events.io.files import TEMPORARY
from events.log.check import ends_at
from events.log.port import EventLog, Head
from events.messages.archives import (
    ARCHIVE_AHEAD,
    ARCHIVE_NOT_SIGNED,
    ARCHIVE_OF_OTHER_LOG,
    ARCHIVE_UNREACHABLE,
    ARCHIVE_WITHOUT_CHECKPOINT,
    LOG_WITHOUT_KEY,
    NOT_FOR_ARCHIVE,
)
from events.record import START, Record
from events.transparency.merkle import Frontier
from events.transparency.signed_note import Note, TreeHead
from events.transparency.signing.port import SigningState
from events.transparency.tree import ContinuedTree
from events.verification.checks import position_record

_OWN_FILES: Final = frozenset({CHECKPOINT, "tile", "lost+found"})


class ArchiveResult(msgspec.Struct, frozen=True):
    """An archive: its events, of which ``new`` were written now, and its root.

    ``bytes`` and ``objects`` count what was written now.
    """

    path: str
    events: int
    new: int
    bytes: int
    objects: int
    root: str


@click.command()
@click.argument("to", metavar="TO")
@click.option("--rewrite", is_flag=True, help="Write every object again, to repair the archive.")
@json_option
@settings_options
def archive(to: str, rewrite: bool, as_json: bool) -> None:
    """Archive the log in TO: a directory, or s3://BUCKET/PREFIX.

    The archive has the form of C2SP tlog-tiles: a signed checkpoint, tiles of hashes, and bundles
    of 256 lines. Only new events are read and written. The command works beside a running server.
    `log verify`, `log show` and all other commands that only read accept the archive as the log.

    Endpoint, region and credentials of a bucket are those of the variables AWS_*. The keys are not
    archived: see `log copy --vault`.
    """
    settings = loaded().settings
    _check_place(to)
    objects = objects_at(to)
    try:
        result = asyncio.run(_archive(settings, objects, rewrite=rewrite))
    except DivergedLog as error:
        raise NegativeResult(error.message) from None
    print_json(result) if as_json else print_fields(**msgspec.structs.asdict(result))


def _check_place(to: str) -> None:
    """Refuse an address of something else, and a directory with other files."""
    if not to:
        raise Misuse("TO is empty: name a directory, or s3://BUCKET/PREFIX")
    if "://" in to:
        if fault := bucket_fault(to):
            raise Misuse(f"TO: {fault}")
        return
    try:
        names = sorted(one.name for one in Path(to).iterdir() if one.suffix != TEMPORARY)
    except FileNotFoundError:
        names = []
    except NotADirectoryError:
        raise Misuse(f"{to} is not a directory") from None
    except OSError as error:
        reason = ARCHIVE_UNREACHABLE.fill(place=to, object=".", reason=error.strerror)
        raise Failure(reason) from None
    if others := [name for name in names if name not in _OWN_FILES]:
        raise Misuse(NOT_FOR_ARCHIVE.fill(place=to, name=others[0]))


async def _archive(settings: Settings, objects: Objects, *, rewrite: bool) -> ArchiveResult:
    async with opened_log(settings) as log:
        before = await _checkpoint_in(objects, rewrite=rewrite)
        archived = 0 if before is None else TreeHead.parse(before).size
        if archived > log.position:
            message = ARCHIVE_AHEAD.fill(place=objects.name, archived=archived, events=log.position)
            raise DivergedLog(message)
        state = await checkpoints_of(settings, log).signing_state()
        edge = None if before is None or rewrite else await read_edge(objects, before)
        tree = ContinuedTree(log, *await _known_part(log, objects, edge, state))
        await tree.grow()
        if before is not None and await tree.root(archived) != TreeHead.parse(before).root:
            message = ARCHIVE_OF_OTHER_LOG.fill(place=objects.name, archived=archived)
            raise DivergedLog(message)
        if before is not None and state.status == "new":
            raise NegativeResult(ARCHIVE_NOT_SIGNED.fill(reason=LOG_WITHOUT_KEY))
        try:
            note = await checkpoints_of(settings, log, tree=tree).current()
        except SigningSuspended as error:
            raise NegativeResult(ARCHIVE_NOT_SIGNED.fill(reason=error)) from None
        head = TreeHead.parse(note)
        if head.size > archived or rewrite:
            with progress_bar("archiving the log", head.size) as progress:
                written = await write_archive(
                    log,
                    objects,
                    note,
                    archived=archived,
                    edge=edge,
                    root_at=tree.root,
                    progress=progress,
                )
        else:
            written = await store_checkpoint(objects, note, tree.root)
    return ArchiveResult(
        objects.name,
        head.size,
        head.size - archived,
        written.bytes,
        written.objects,
        head.root.hex(),
    )


async def _checkpoint_in(objects: Objects, *, rewrite: bool) -> Note | None:
    """The checkpoint of an archive, or None if there is no archive yet.

    Without it, whose lines these are is not known: with ``rewrite`` a lost or damaged checkpoint
    counts as none, otherwise this raises `NegativeResult` or `DamagedLog`.
    """
    try:
        note = await read_checkpoint(objects)
    except DamagedLog as error:
        if not rewrite:
            raise
        echo_warning(error.message)
        return None
    if note is None and not rewrite and await has_lines(objects):
        raise NegativeResult(ARCHIVE_WITHOUT_CHECKPOINT.fill(place=objects.name))
    return note


async def _known_part(
    log: EventLog, objects: Objects, edge: RightEdge | None, state: SigningState
) -> tuple[Frontier, Record]:
    """The tree and the last record of an archive, or those of an empty log.

    The archive counts only if its checkpoint is recorded as signed by the key of the log. Otherwise
    all lines are read again.
    """
    nothing = Frontier(), START
    if edge is None:
        return nothing
    size = edge.head.size
    if not size or not state.has_recorded(edge.note):
        return nothing
    (lines,) = [lines async for lines in ArchivedLog(objects, edge).read(size - 1)]
    last = Head(size, stated_hash(lines[-1]))
    if not await ends_at(log, last):
        return nothing
    return edge.tree(), position_record(size, last.hash, "", "", 0)
