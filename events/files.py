"""Files that are whole after a crash, or absent."""

from __future__ import annotations

import ctypes
import os
import secrets
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

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


_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_BTIME_AT: Final = 80


def file_identity(descriptor: int) -> str:
    """What no copy of an open file shares with it: ``INODE.BIRTH``.

    The inode number, and when the inode was made in nanoseconds, or 0 where the file system or the
    C library does not tell (statx(2)). A rename and a change of owner or mode keep both.
    """
    return f"{os.fstat(descriptor).st_ino}.{_birth(descriptor)}"


def _birth(descriptor: int) -> int:
    statx = _statx()
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx is None or statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", buffer)
    if not mask & _STATX_BTIME:
        return 0
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    return int(seconds * 1_000_000_000 + nanoseconds)


@cache
def _statx() -> Any:
    """The C library's statx, which `os` has from Python 3.15 on; ``None`` where there is none."""
    return getattr(ctypes.CDLL(None), "statx", None)
