"""Export an archive into a temporary file, to be verified like any other log."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eventapi.bootstrap.archives import check_signature, objects_at
from eventapi.cli.failures import NegativeResult
from eventapi.cli.output import progress_bar
from eventapi.configuration.settings import Settings
from events.archive.check import ArchiveExport, with_objects
from events.archive.edge import read_checkpoint
from events.archive.objects import CHECKPOINT, Objects
from events.errors import ConfigurationError, DamagedLog
from events.messages.archives import NO_ARCHIVE
from events.transparency.signed_note import Note, TreeHead
from events.verification.report import Report


class ExportedArchive(msgspec.Struct, frozen=True):
    """The lines of an archive in a file, and the findings about its objects."""

    path: Path
    checkpoint_name: str
    note: Note
    export: ArchiveExport

    def add_findings(self, report: Report) -> Report:
        """Add the findings about objects to the report on the lines."""
        return with_objects(report, self.export, TreeHead.parse(self.note).size)


@contextmanager
def exported_archive(settings: Settings, place: str) -> Iterator[ExportedArchive]:
    """Export an archive; the file is removed at the end.

    Raises `NegativeResult` if its checkpoint cannot be read, `ConfigurationError` if it has none, and
    `LogUnreachable`.
    """
    objects = objects_at(place)
    with tempfile.TemporaryDirectory(prefix="eventapi-") as folder:
        path = Path(folder) / "events.jsonl"
        note, export = asyncio.run(_export(settings, objects, path))
        yield ExportedArchive(path, f"{objects.name}/{CHECKPOINT}", note, export)


async def _export(settings: Settings, objects: Objects, path: Path) -> tuple[Note, ArchiveExport]:
    try:
        note = await read_checkpoint(objects)
        if note is None:
            raise ConfigurationError(NO_ARCHIVE.fill(place=objects.name))
        check_signature(settings, objects.name, note)
    except DamagedLog as error:
        raise NegativeResult(error.message) from None
    head = TreeHead.parse(note)
    export = ArchiveExport(objects, head)
    with path.open("wb") as file, progress_bar("reading the archive", head.size) as progress:
        await export.write(file, progress)
    return note, export
