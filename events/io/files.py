"""Files that are whole after a crash, or absent, with a mode and an owner that are set.

A file or directory that is made here gets its mode whatever the umask is. Made by root, it belongs
to the owner of the directory in which it lies: a command that root runs leaves no file behind that
the server cannot open.
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
"""How the name of a file ends that is not whole yet; who died left it behind."""

PRIVATE = 0o600
PRIVATE_DIRECTORY = 0o700

_ROOT = 0
_TRIES = 100


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory, and the ones above it that are missing, and make their entries durable."""
    if path.is_dir():
        # Whoever made it may have died before its entry was synced. Where it cannot be synced,
        # because not even listing what is above is allowed, it was none of us.
        with suppress(PermissionError):
            sync_directory(path.parent)
        return
    make_directory(path.parent, mode)
    make_one_directory(path, mode)
    sync_directory(path.parent)


def make_one_directory(path: Path, mode: int = PRIVATE_DIRECTORY) -> None:
    """Make a directory in one that is there, unless it is there as well; without a sync."""
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
    """Open a file, making it where there is none; raises `OSError`, also for a link to nothing."""
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return os.open(path, flags | os.O_CLOEXEC)
        with suppress(FileExistsError):  # Another process was quicker, or it is a link.
            return make_file(path, flags, mode)
    raise OSError(errno.ELOOP, "it is a symbolic link to a file that is not there")


def make_file(path: Path, flags: int, mode: int = PRIVATE) -> int:
    """Make a file and open it; raises `FileExistsError` where there is one, or a link."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        set_owner(descriptor, path, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def open_or_make_file(path: Path, flags: int, mode: int = PRIVATE) -> Iterator[int]:
    """The descriptor of `open_or_make`, closed at the end."""
    descriptor = open_or_make(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the exclusive lock of a file; raises `FileNotFoundError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def set_owner(descriptor: int, path: Path, mode: int = PRIVATE) -> None:
    """Give what was just made at a path its mode and, where root made it, its directory's owner."""
    os.fchmod(descriptor, mode)
    if os.geteuid() == _ROOT:
        above = path.parent.stat()
        os.fchown(descriptor, above.st_uid, above.st_gid)


def make_private(path: Path, content: bytes) -> None:
    """Make a file with mode 0600, whole or not at all; where there is one by now, that one stays."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = make_file(temporary, os.O_WRONLY)
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
    # A name of its own: another process may be writing the same file.
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


def permission_hint(path: Path, error: OSError) -> str:
    """What an operator can do where a file cannot be used; empty where that is not known."""
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
    """The message for a directory, pipe or device where a file belongs; ``None`` for a file or nothing."""
    try:
        mode = path.stat().st_mode  # Asked once: another process may be making the file.
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return None
    kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
    return NOT_A_FILE.fill(path=path, kind=kind)


class FileIdentity:
    """Where an open file lies, so that its removal or replacement is noticed.

    The name must lead to the very file for as long as it is in use: what is written to a file that
    has no name any more is gone with the process.
    """

    __slots__ = ("_device", "_inode", "_path")

    def __init__(self, path: Path, opened: os.stat_result) -> None:
        self._path = str(path)  # Twice as fast to ask for as a `Path`.
        self._device = opened.st_dev
        self._inode = opened.st_ino

    def loss(self) -> str | None:
        """What happened to the file since it was opened, or ``None``; raises `OSError`."""
        try:
            there = os.stat(self._path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return f"{self._path} was removed"
        if there.st_ino != self._inode or there.st_dev != self._device:
            return f"{self._path} was replaced by another file"
        return None
