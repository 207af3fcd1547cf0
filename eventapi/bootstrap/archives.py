"""Open the archives that the settings and commands name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from eventapi.bootstrap.paths import signing_key_path
from eventapi.configuration.settings import Settings
from events.archive.directory import DirectoryObjects
from events.archive.objects import Objects
from events.archive.places import is_bucket
from events.archive.reader import ArchivedLog
from events.archive.signing import ArchivedSigning
from events.transparency.signed_note import Signer


def objects_at(place: str) -> Objects:
    """The objects of an archive; nothing is read or created.

    Raises `ConfigurationError` for a bucket without the library, or with bad variables.
    """
    if is_bucket(place):
        from events.archive.s3 import BucketObjects  # noqa: PLC0415 - needs an extra

        return BucketObjects(place)
    return DirectoryObjects(Path(place))


async def open_archive(settings: Settings) -> ArchivedLog:
    """Open the archive that the settings name as the log.

    Raises `ConfigurationError`, `DamagedLog` and `LogUnreachable`.
    """
    return await ArchivedLog.open(objects_at(settings.log or ""))


def signing_of(settings: Settings, log: ArchivedLog) -> ArchivedSigning:
    """The signing store of an archive: its checkpoint, and no new signature under one.

    Evidence is signed with the key of the data directory, if that has signed the checkpoint.
    """
    signer = None
    with suppress(OSError, ValueError):
        key = signing_key_path(settings.data_path / "events.jsonl").read_text(encoding="ascii")
        signer = Signer.parse(key)
    if signer is not None and not signer.verifier.verify(log.checkpoint):
        signer = None
    return ArchivedSigning(log.name, log.checkpoint, signer)
