"""The parts of `pathlib` and `tempfile` in use, on a simulated disk."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tests.fault_injection.simulation.disk import File, Folder, Node

if TYPE_CHECKING:
    from tests.fault_injection.simulation.calls import Calls


def lookup(root: Folder, parts: tuple[str, ...]) -> Node | None:
    """The node at a path, or None."""
    node: Node | None = root
    for part in parts:
        if not isinstance(node, Folder):
            return None
        node = node.entries.get(part)
    return node


class Path:
    """Replaces ``pathlib.Path``."""

    def __init__(self, calls: Calls, *parts: str) -> None:
        self._calls = calls
        self.parts = parts

    def __str__(self) -> str:
        return "/" + "/".join(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __truediv__(self, name: str) -> Path:
        return Path(self._calls, *self.parts, name)

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def parent(self) -> Path:
        return Path(self._calls, *self.parts[:-1])

    def with_name(self, name: str) -> Path:
        return self.parent / name

    def resolve(self) -> Path:
        """The path itself: links are not simulated."""
        return self

    def folder(self) -> Folder:
        """The parent directory; raises `FileNotFoundError`."""
        folder = lookup(self._calls.machine.root, self.parts[:-1])
        if not isinstance(folder, Folder):
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        return folder

    def _stat(self) -> Node | None:
        self._calls.machine.step(f"stat {self}")
        return lookup(self._calls.machine.root, self.parts)

    def stat(self) -> SimpleNamespace:
        node = self._stat()
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return status(node)

    def exists(self) -> bool:
        return self._stat() is not None

    def is_file(self) -> bool:
        return isinstance(self._stat(), File)

    def is_dir(self) -> bool:
        return isinstance(self._stat(), Folder)

    def mkdir(self, mode: int, *, exist_ok: bool = False) -> None:
        if self._stat() is None:
            self.folder().change({self.name: Folder()})
        elif not exist_ok:
            raise FileExistsError(errno.EEXIST, "it exists")

    def rename(self, target: Path) -> None:
        node = self._stat()
        self._calls.machine.step(f"rename {self}")
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        if target.parts[:-1] == self.parts[:-1]:
            self.folder().change({self.name: None, target.name: node})
        else:
            # As on no known file system, a power cut may keep only one of the two.
            target.folder().change({target.name: node})
            self.folder().change({self.name: None})

    def unlink(self, *, missing_ok: bool = False) -> None:
        self._calls.machine.step(f"unlink {self}")
        if self.name in self.folder().entries:
            self.folder().change({self.name: None})
        elif not missing_ok:
            raise FileNotFoundError(errno.ENOENT, "no such file")

    def glob(self, pattern: str) -> list[Path]:
        folder = self._stat()
        return [self / name for name in getattr(folder, "entries", ()) if fnmatch(name, pattern)]

    def iterdir(self) -> list[Path]:
        folder = self._stat()
        if folder is None:
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        return [self / name for name in getattr(folder, "entries", ())]

    def read_bytes(self) -> bytes:
        with self.open("rb") as file:
            return file.read()

    def temporary_name(self, prefix: str, suffix: str) -> Path:
        """An unused path in this directory."""
        return self / f"{prefix}{self._calls.machine.random.getrandbits(40):x}{suffix}"

    def hardlink_to(self, name: str) -> None:
        self._calls.machine.step(f"link {self}")
        folder = self.folder()
        if self.name in folder.entries:
            raise FileExistsError(errno.EEXIST, "it exists")
        folder.change({self.name: folder.entries[name]})

    @contextmanager
    def open(self, mode: str, buffering: int = -1) -> Iterator[OpenFile]:
        calls = self._calls
        creating = {"wb": calls.O_CREAT, "ab": calls.O_CREAT}
        descriptor = calls.open(self, creating.get(mode, calls.O_RDWR))
        with open_file(calls, descriptor, mode, self.name) as file:
            if mode == "wb" and calls.fstat(descriptor).st_size:
                calls.ftruncate(descriptor, 0)
            yield file


class OpenFile:
    """A file that is read as a whole, or written from its end on."""

    def __init__(self, calls: Calls, descriptor: int, name: str, start: int) -> None:
        self._calls = calls
        self._descriptor = descriptor
        self._buffer = b""
        self._end = start
        self.name = name

    def write(self, data: bytes) -> int:
        self._buffer += data
        return len(data)

    def tell(self) -> int:
        return self._end + len(self._buffer)

    def flush(self) -> None:
        while self._buffer:
            written = self._calls.pwrite(self._descriptor, self._buffer, self._end)
            self._buffer = self._buffer[written:]
            self._end += written

    def read(self) -> bytes:
        return self._calls.pread(self._descriptor, sys.maxsize, 0)

    def readline(self, limit: int) -> bytes:
        line, newline, _ = self._calls.pread(self._descriptor, limit, 0).partition(b"\n")
        return line + newline

    def fileno(self) -> int:
        return self._descriptor


class RawFile(OpenFile):
    """A file without a buffer: a write may be a short one."""

    def write(self, data: bytes) -> int:
        written = self._calls.pwrite(self._descriptor, data, self._end)
        self._end += written
        return written


@contextmanager
def open_file(
    calls: Calls, descriptor: int, mode: str, name: str = "", buffering: int = -1
) -> Iterator[OpenFile]:
    """Replaces ``os.fdopen``; what is not flushed is not written."""
    kind = OpenFile if buffering else RawFile
    try:
        yield kind(calls, descriptor, name, calls.fstat(descriptor).st_size if mode == "ab" else 0)
    finally:
        calls.close(descriptor)


def status(node: Node) -> SimpleNamespace:
    """What ``fstat`` returns; users and times are not simulated."""
    size, changes = (len(node.cache), node.changes) if isinstance(node, File) else (0, 0)
    return SimpleNamespace(
        st_dev=0,
        st_ino=node.number,
        st_mode=0o600,
        st_uid=0,
        st_gid=0,
        st_size=size,
        st_mtime_ns=changes,
    )


@contextmanager
def temporary_file(*, dir: Path, prefix: str, suffix: str) -> Iterator[OpenFile]:  # noqa: A002  # the name in tempfile
    """Replaces ``tempfile.NamedTemporaryFile``."""
    path = dir.temporary_name(prefix, suffix)
    try:
        with path.open("wb") as file:
            yield file
    finally:
        path.unlink()
