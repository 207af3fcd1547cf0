"""The parts of `pathlib` and `tempfile` in use, on a simulated disk."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
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

    def folder(self) -> Folder:
        """The parent directory; raises `FileNotFoundError`."""
        folder = lookup(self._calls.machine.root, self.parts[:-1])
        if not isinstance(folder, Folder):
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        return folder

    def _stat(self) -> Node | None:
        self._calls.machine.step(f"stat {self}")
        return lookup(self._calls.machine.root, self.parts)

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
        self.folder().change({self.name: None, target.name: node})

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
    def open(self, mode: str) -> Iterator[OpenFile]:
        calls = self._calls
        flags = {"wb": calls.O_CREAT, "r+b": calls.O_RDWR, "rb": calls.O_RDONLY}[mode]
        descriptor = calls.open(self, flags)
        try:
            if mode == "wb" and calls.fstat(descriptor).st_size:
                calls.ftruncate(descriptor, 0)
            yield OpenFile(calls, descriptor, self.name)
        finally:
            calls.close(descriptor)


class OpenFile:
    """A file that is written or read as a whole."""

    def __init__(self, calls: Calls, descriptor: int, name: str) -> None:
        self._calls = calls
        self._descriptor = descriptor
        self._buffer = b""
        self.name = name

    def write(self, data: bytes) -> None:
        self._buffer += data

    def flush(self) -> None:
        offset = 0
        while offset < len(self._buffer):
            offset += self._calls.pwrite(self._descriptor, self._buffer[offset:], offset)

    def read(self) -> bytes:
        return self._calls.pread(self._descriptor, sys.maxsize, 0)

    def readline(self, limit: int) -> bytes:
        line, newline, _ = self._calls.pread(self._descriptor, limit, 0).partition(b"\n")
        return line + newline

    def fileno(self) -> int:
        return self._descriptor


@contextmanager
def temporary_file(*, dir: Path, prefix: str, suffix: str) -> Iterator[OpenFile]:  # noqa: A002  # the name in tempfile
    """Replaces ``tempfile.NamedTemporaryFile``."""
    path = dir.temporary_name(prefix, suffix)
    try:
        with path.open("wb") as file:
            yield file
    finally:
        path.unlink()
