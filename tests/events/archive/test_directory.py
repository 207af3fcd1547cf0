"""The objects of an archive as files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from events.archive.directory import DirectoryObjects
from events.archive.objects import CHECKPOINT
from events.archive.places import bucket_fault, is_archive, split_bucket
from events.errors import LogUnreachable, StorageFull
from tests.events.archive.stored import MemoryObjects, archive, findings_of, lines_in, small_lines

LINES = small_lines(600)


def content_of(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.mark.anyio
async def test_the_files_are_the_objects(tmp_path: Path) -> None:
    path, objects = tmp_path / "new" / "archive", MemoryObjects()
    assert not is_archive(str(path))
    for size in (300, 600):
        await archive(LINES[:size], DirectoryObjects(path))
        await archive(LINES[:size], objects)
        assert content_of(path) == objects.content
    assert is_archive(str(path))
    assert await lines_in(DirectoryObjects(path)) == LINES
    assert await findings_of(DirectoryObjects(path)) == []
    assert {file.stat().st_mode & 0o77 for file in path.rglob("*")} == {0}


def _no_room(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.anyio
async def test_a_full_disk_leaves_the_archive_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive(LINES[:300], DirectoryObjects(tmp_path))
    before = content_of(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", _no_room)
        with pytest.raises(StorageFull, match="no room for the archive"):
            await archive(LINES, DirectoryObjects(tmp_path))
    assert content_of(tmp_path) == before
    await archive(LINES, DirectoryObjects(tmp_path))
    assert await lines_in(DirectoryObjects(tmp_path)) == LINES


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.anyio
async def test_everything_is_synced_before_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_begun: bool
) -> None:
    """Every file before its rename, every directory before the checkpoint is written."""
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        fsync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        assert f"sync {path}" in events
        events.append(f"rename {target}")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    if is_begun:  # By a run that was killed before it synced anything.
        for folder in ("tile/0", "tile/entries", "tile/1/000.p", "tile/entries/002.p"):
            (tmp_path / "a" / folder).mkdir(parents=True, exist_ok=True)
    await archive(LINES, DirectoryObjects(tmp_path / "a"))
    last = events.index(f"rename {tmp_path / 'a' / CHECKPOINT}")
    for folder in (
        "tile/0",
        "tile/entries",
        "tile/1/000.p",
        "tile/entries/002.p",
        "tile",
        ".",
        "..",
    ):
        path = (tmp_path / "a" / folder).resolve()
        renames = [
            at for at, one in enumerate(events[:last]) if Path(one).parent == Path(f"rename {path}")
        ]
        synced = [at for at, one in enumerate(events[:last]) if one == f"sync {path}"]
        assert synced, folder
        assert max(renames, default=-1) < max(synced), folder
    assert f"sync {tmp_path / 'a'}" in events[last:]


@pytest.mark.anyio
async def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "tile").write_text("a file")
    with pytest.raises(LogUnreachable, match="cannot be used: tile/"):
        await archive(LINES, DirectoryObjects(tmp_path / "archive"))


def test_addresses_of_buckets_have_nothing_else_in_them() -> None:
    for good, parts in {
        "s3://bucket": ("bucket", ""),
        "s3://my-bucket.example/logs/main/": ("my-bucket.example", "logs/main"),
    }.items():
        assert bucket_fault(good) is None
        assert split_bucket(good) == parts
    for bad in (
        "s3://",
        "s3://A_b/x",
        "s3://key:secret@bucket/x",
        "s3://b?x=1",
        "s3://bucket/a?b",
        "s3://b-b/..",
        "s3://b-b/a//",
    ):
        fault = bucket_fault(bad)
        assert fault is not None
        assert "secret" not in fault


def test_a_place_that_cannot_be_looked_at_is_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert not is_archive("/elsewhere")


@pytest.mark.anyio
async def test_nothing_is_left_of_a_partial_tile_that_is_complete(tmp_path: Path) -> None:
    objects = DirectoryObjects(tmp_path)
    for size in (300, 600):
        await archive(LINES[:size], objects)
    assert not (tmp_path / "tile/0/001.p").exists()
    assert not (tmp_path / "tile/entries/001.p").exists()
    assert (tmp_path / "tile/0/002.p").exists()


@pytest.mark.anyio
async def test_old_temporary_files_are_removed(tmp_path: Path) -> None:
    await archive(LINES[:300], DirectoryObjects(tmp_path))
    old, new = (tmp_path / f"tile/0/000.{name}.tmp" for name in ("old", "new"))
    for file in (old, new):
        file.touch()
    os.utime(old, (0, 0))
    await archive(LINES, DirectoryObjects(tmp_path))
    assert not old.exists()
    assert new.exists()
