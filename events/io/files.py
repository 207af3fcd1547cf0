"""Create files that are complete or absent after a crash; set mode and owner.

A new file or directory gets its mode regardless of the umask. If root creates it, it gets the owner
of its directory: a command that root runs leaves no file behind that the server cannot open.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from events.messages.errors import NOT_A_FILE
from events.messages.message import Message

TEMPORARY = ".tmp"
"""The suffix of a file that is not complete yet; a crash leaves such files behind."""

PRIVATE = 0o600
PRIVATE_DIRECTORY = 0o700

_ROOT = 0
_OPEN_ATTEMPTS = 100


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory and its missing parents, and make their entries durable."""
    if path.is_dir():
        # The process that made it may have died before it synced the entry. If the directory above
        # cannot even be listed, it was not made by this program, and needs no sync.
        with suppress(PermissionError):
            sync_directory(path.parent)
        return
    make_directory(path.parent, mode)
    make_one_directory(path, mode)
    sync_directory(path.parent)


def make_one_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory in an existing one, if it is missing; do not sync it."""
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        set_owner(descriptor, path, mode)
    finally:
        os.close(descriptor)


def open_or_make(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Open a file, or create it; raises `OSError`, also for a link without a target."""
    for _ in range(_OPEN_ATTEMPTS):
        with suppress(FileNotFoundError):
            return os.open(path, flags | os.O_CLOEXEC)
        with suppress(FileExistsError):  # Another process just created it, or it is a link.
            return make_file(path, flags, mode)
    raise OSError(errno.ELOOP, "it is a symbolic link to a file that is not there")


def make_file(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Create a file and open it; raises `FileExistsError`, also for a link."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        set_owner(descriptor, path, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def open_or_make_file(path: Path, flags: int, mode: int = PRIVATE) -> Iterator[int]:
    """Yield the descriptor of `open_or_make`, and close it at the end."""
    descriptor = open_or_make(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process has an exclusive lock on a file; raises `FileNotFoundError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def set_owner(descriptor: int, path: Path, mode: int = PRIVATE) -> None:
    """Set the mode of a new file and, if root created it, the owner of its directory."""
    os.fchmod(descriptor, mode)
    if os.geteuid() == _ROOT:
        above = path.parent.stat()
        os.fchown(descriptor, above.st_uid, above.st_gid)


def copy_owner(descriptor: int, of: os.stat_result) -> None:
    """Set owner and group of a file to those of another one, where permitted."""
    for owner, group in ((-1, of.st_gid), (of.st_uid, -1)):
        with suppress(PermissionError):
            os.fchown(descriptor, owner, group)


def make_private(path: Path, content: bytes) -> None:
    """Create a complete file with mode 0600, but never replace an existing one."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = make_file(temporary, os.O_WRONLY)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)  # Unlike a rename, it never replaces an existing file.
    finally:
        temporary.unlink()
    sync_directory(path.parent)


def write_durably(path: Path, content: bytes | bytearray) -> None:
    """Write a file that is complete or absent after a crash: fsync, rename, fsync."""
    write_whole(path, content)
    sync_directory(path.parent)


def write_whole(path: Path, content: bytes | bytearray) -> None:
    """As `write_durably`, but leave the sync of the directory to the caller."""
    # A random name, because another process may be writing the same file.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        descriptor = make_file(temporary, os.O_WRONLY)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except OSError:
        with suppress(OSError):  # Otherwise every retry would take more room on a full disk.
            temporary.unlink()
        raise


_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_BTIME_AT: Final = 80


def file_identity(descriptor: int) -> str:
    """Return an identity that no copy of an open file shares: ``INODE.BIRTH``.

    It is the inode number and the inode's creation time in nanoseconds, or 0 if the file system or
    the C library does not provide that (statx(2)). A rename and a change of owner or mode keep
    both.
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
    """Return the C library's statx, or None; `os` has it from Python 3.15 on."""
    return getattr(ctypes.CDLL(None), "statx", None)


def system_reason(error: OSError) -> str:
    """Return the path and the text of a system error, without its number."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def permission_hint(path: Path, error: OSError) -> str:
    """Return what an operator can do about a permission error, or an empty text."""
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return ""
    with suppress(OSError):
        owner, above = path.stat(), path.parent.stat()
        if owner.st_uid != above.st_uid:
            return (
                f"; it has another owner than its directory: chown --reference={path.parent} {path}"
            )
    return ""


def wrong_kind_message(path: Path) -> Message | None:
    """Return the error about a directory, pipe or device at a path, or None."""
    try:
        mode = path.stat().st_mode  # Only one call: another process may be creating the file.
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    return NOT_A_FILE.fill(path=path, kind=kind)


class FileIdentity:
    """The identity of an open file, to notice its removal or replacement.

    The path must lead to the open file for as long as it is in use: data that is written to a file
    without a name is lost when the process ends.
    """

    __slots__ = ("_device", "_inode", "_path")

    def __init__(self, path: Path, opened: os.stat_result) -> None:
        self._path = str(path)  # os.stat of a string takes half the time of Path.stat.
        self._device = opened.st_dev
        self._inode = opened.st_ino

    def loss(self) -> str | None:
        """Return what happened to the file at the path, or None; raises `OSError`."""
        try:
            found = os.stat(self._path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return f"{self._path} was removed"
        if found.st_ino != self._inode or found.st_dev != self._device:
            return f"{self._path} was replaced by another file"
        return None
