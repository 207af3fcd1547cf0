"""The content and metadata of a directory as a value that tests can compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from stat import S_IMODE

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """A file or a directory; ``content`` is ``None`` for a directory."""

    mode: int
    owner: tuple[int, int]
    changed: int
    content: bytes | None


def tree(folder: Path) -> Mapping[str, Entry]:
    """Everything in a directory, and the directory itself, by its path."""
    return {str(path.relative_to(folder)): _entry(path) for path in (folder, *folder.rglob("*"))}


def _entry(path: Path) -> Entry:
    found = path.lstat()
    content = path.read_bytes() if path.is_file() else None
    return Entry(S_IMODE(found.st_mode), (found.st_uid, found.st_gid), found.st_mtime_ns, content)
