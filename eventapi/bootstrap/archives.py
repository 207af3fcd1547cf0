"""Open the archives that the settings and commands name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from eventapi.bootstrap.paths import signing_key_path
from eventapi.configuration.settings import Settings
from events.archive.damage import damaged
from events.archive.directory import DirectoryObjects
from events.archive.objects import CHECKPOINT, Objects
from events.archive.places import is_bucket
from events.archive.reader import ArchivedLog
from events.archive.signing import ArchivedSigning
from events.errors import DamagedLog
from events.messages.archives import ARCHIVED_LINE_UNUSABLE
from events.transparency.signed_note import Note, Signer, TreeHead


def objects_at(place: str) -> Objects:
    """The objects of an archive; nothing is read or created.

    Raises `ConfigurationError` for a bucket without the library, or with bad variables.
    """
    if is_bucket(place):
        from events.archive.s3 import BucketObjects  # noqa: PLC0415 - needs an extra

        return BucketObjects(place)
    return DirectoryObjects(Path(place))


@asynccontextmanager
async def open_archive(settings: Settings) -> AsyncIterator[ArchivedLog]:
    """Open the archive that the settings name as the log.

    Raises `ConfigurationError`, `LogUnreachable`, and `DamagedLog`, also as `check_signature`.
    """
    log = await ArchivedLog.open(objects_at(settings.log or ""))
    check_signature(settings, log.name, log.checkpoint)
    try:
        yield log
    except DamagedLog as error:
        if error.offset is None:
            raise  # An object is damaged. Otherwise the line is as it was archived.
        message = ARCHIVED_LINE_UNUSABLE.fill(
            place=log.name, position=error.position, reason=error.reason
        )
        raise DamagedLog(message, position=error.position) from None


def check_signature(settings: Settings, place: str, note: Note) -> None:
    """Raise `DamagedLog` if a checkpoint is forged, as far as the key at hand shows.

    It is if it has the name of that key, which did not sign it. Without that key only `log verify
    --key` can check the signature.
    """
    signer = _signer_at_hand(settings)
    if signer is None or signer.verifier.name != TreeHead.parse(note).origin:
        return
    if not signer.verifier.verify(note):
        reason = f"{CHECKPOINT} names {signer.verifier.name}, but its key did not sign it"
        raise damaged(place, reason, 1)


def signing_of(settings: Settings, log: ArchivedLog) -> ArchivedSigning:
    """The signing store of an archive: its checkpoint, and no new signature under one.

    Evidence is signed with the key of the data directory, if that has signed the checkpoint.
    """
    signer = _signer_at_hand(settings)
    if signer is not None and not signer.verifier.verify(log.checkpoint):
        signer = None
    return ArchivedSigning(log.name, log.checkpoint, signer)


def _signer_at_hand(settings: Settings) -> Signer | None:
    """The key of the log in the data directory, if there is one."""
    with suppress(OSError, ValueError):
        key = signing_key_path(settings.data_path / "events.jsonl").read_text(encoding="ascii")
        return Signer.parse(key)
    return None
