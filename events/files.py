"""Files that are whole after a crash, or absent."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".tmp"
"""How the name of a file ends that is not whole yet; who died left it behind."""


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, and the ones above it that are missing, and make their entries durable."""
    if path.is_dir():
        # Whoever made it may have died before its entry was synced. Where it cannot be synced,
        # because not even listing what is above is allowed, it was none of us.
        with suppress(PermissionError):
            sync_directory(path.parent)
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def make_private(path: Path, content: bytes) -> None:
    """Make a file with mode 0600, whole or not at all; where there is one by now, that one stays."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)  # Unlike a rename, it lets the first one win.
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file so that after a crash it is whole or absent: temp, fsync, rename, fsync."""
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        with suppress(OSError):  # Or every new try on a full disk would make it fuller.
            temporary.unlink()
        raise
    sync_directory(path.parent)
