"""The system calls of a simulated machine, as the log's modules use them."""

from __future__ import annotations

import asyncio
import errno
import fcntl as real_fcntl
import os as real_os
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import BinaryIO

from tests.fault_injection.simulation.disk import File, Folder, Node
from tests.fault_injection.simulation.machine import STEP_SECONDS, KilledError, Machine
from tests.fault_injection.simulation.paths import (
    OpenFile,
    Path,
    lookup,
    open_file,
    status,
)

WALL_CLOCK = 1_767_225_600.0
"""The first second of 2026."""


class Calls:
    """The calls to the operating system."""

    O_RDWR, O_RDONLY, O_CREAT = real_os.O_RDWR, real_os.O_RDONLY, real_os.O_CREAT
    O_WRONLY, O_EXCL = real_os.O_WRONLY, real_os.O_EXCL
    O_CLOEXEC, O_DIRECTORY = real_os.O_CLOEXEC, real_os.O_DIRECTORY
    O_NOFOLLOW, SEEK_SET = real_os.O_NOFOLLOW, real_os.SEEK_SET
    POSIX_FADV_DONTNEED = real_os.POSIX_FADV_DONTNEED
    LOCK_EX, LOCK_NB, LOCK_UN = real_fcntl.LOCK_EX, real_fcntl.LOCK_NB, real_fcntl.LOCK_UN

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.clock_offset = 0.0
        self._is_full_next = False

    def _node(self, descriptor: int) -> Node:
        process = self.machine.process
        if process.dead:
            raise KilledError
        try:
            return process.descriptors[descriptor]
        except KeyError:
            raise OSError(errno.EBADF, "no such descriptor") from None

    def _file(self, descriptor: int) -> File:
        node = self._node(descriptor)
        if isinstance(node, Folder):
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        return node

    # os

    def open(self, path: Path, flags: int, _: int = 0o777) -> int:
        self.machine.step(f"open {path}")
        node: Node | None = lookup(self.machine.root, path.parts)
        if node is None:
            if not flags & self.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "no such file")
            node = File()
            path.folder().change({path.name: node})
        elif flags & self.O_EXCL:
            raise FileExistsError(errno.EEXIST, "it exists")
        return self.machine.new_descriptor(node)

    def close(self, descriptor: int) -> None:
        self.machine.step("close")
        node = self._node(descriptor)
        if node.locked_by == descriptor:
            node.locked_by = 0
        del self.machine.process.descriptors[descriptor]

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        self.machine.step(f"pread {size} at {offset}")
        return bytes(self._file(descriptor).cache[offset : offset + size])

    def pwrite(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        machine, content = self.machine, bytes(data)
        machine.step(f"pwrite {len(content)} at {offset}")
        machine.stall()
        file = self._file(descriptor)
        is_full = self._is_full_next and machine.faults.short > 0
        if is_full or machine.fails(machine.faults.full):
            self._is_full_next = False
            machine.counts["disk full"] += 1
            raise OSError(errno.ENOSPC, "no space left")
        if len(content) > 1 and machine.fails(machine.faults.short):
            machine.counts["short writes"] += 1
            content = content[: machine.random.randrange(1, len(content))]
            self._is_full_next = machine.random.random() < 0.5
        half = machine.random.randrange(len(content)) if content and machine.fails(0.2) else 0
        if half:
            file.write(content[:half], offset)
            machine.step("pwrite, half-way")
            machine.stall()
        file.write(content[half:], offset + half)
        machine.step("pwritten")
        return len(content)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Append to a file; nothing else is needed."""
        return self.pwrite(descriptor, data, len(self._file(descriptor).cache))

    def ftruncate(self, descriptor: int, size: int) -> None:
        self.machine.step(f"ftruncate to {size}")
        self._file(descriptor).truncate(size)
        self.machine.step("truncated")

    def posix_fallocate(self, descriptor: int, offset: int, size: int) -> None:
        self.machine.step(f"fallocate {size} at {offset}")
        if self.machine.fails(self.machine.faults.full):
            self.machine.counts["disk full"] += 1
            raise OSError(errno.ENOSPC, "no space left")
        file = self._file(descriptor)
        file.truncate(max(len(file.cache), offset + size))

    def fchown(self, *_: int) -> None:
        """Owners are not simulated."""

    def fdatasync(self, descriptor: int) -> None:
        self.machine.step("fdatasync", risk=10)
        self.machine.stall()
        self._sync(self._file(descriptor))

    def fsync(self, descriptor: int) -> None:
        self.machine.step("fsync")
        node = self._node(descriptor)
        if isinstance(node, File):
            self._sync(node)
        elif self.machine.fails(self.machine.faults.sync):
            self.machine.counts["failed syncs of directories"] += 1
            raise OSError(errno.EIO, "input/output error")
        else:
            node.sync()
            self.machine.step("directory synced")

    def _sync(self, file: File) -> None:
        machine = self.machine
        machine.counts["syncs"] += 1
        if machine.fails(machine.faults.sync):
            machine.counts["failed syncs"] += 1
            file.fail_to_sync(machine.random)
            machine.step("sync failed", risk=50)
            raise OSError(errno.EIO, "input/output error")
        file.sync()
        machine.step("synced")

    def fstat(self, descriptor: int) -> SimpleNamespace:
        self.machine.step("fstat")
        return status(self._node(descriptor))

    def stat(self, path: str) -> SimpleNamespace:
        """Identify a file; no step, because only the holder of the lock replaces the log."""
        node = lookup(self.machine.root, tuple(path.split("/")[1:]))
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return status(node)

    def statvfs(self, path: Path) -> SimpleNamespace:
        self.machine.step(f"statvfs {path}")
        is_full = self.machine.fails(self.machine.faults.full)
        return SimpleNamespace(f_bavail=0 if is_full else 1 << 40, f_frsize=1)

    def fdopen(
        self, descriptor: int, mode: str, buffering: int = -1
    ) -> AbstractContextManager[OpenFile]:
        return open_file(self, descriptor, mode, buffering=buffering)

    def posix_fadvise(self, *_: int) -> None:
        """The cache is not limited."""

    def fchmod(self, descriptor: int, mode: int) -> None:
        """Modes and owners are not simulated."""

    def geteuid(self) -> int:
        return 1000

    # fcntl, time

    def flock(self, target: int | OpenFile, operation: int) -> None:
        descriptor = target if isinstance(target, int) else target.fileno()
        self.machine.step("unlock" if operation == self.LOCK_UN else "flock")
        file = self._node(descriptor)
        if operation == self.LOCK_UN:
            if file.locked_by == descriptor:
                file.locked_by = 0
        elif file.locked_by in {0, descriptor}:
            file.locked_by = descriptor
        else:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked")

    def monotonic(self) -> float:
        return self.machine.now

    def sleep(self, seconds: float) -> None:
        self.machine.sleep_until(self.machine.now + seconds)

    def time_ns(self) -> int:
        return int((WALL_CLOCK + self.clock_offset + self.machine.now) * 1e9)

    # Built on the calls

    def wrap(self, stream: BinaryIO) -> AsyncReader:
        """Replaces `aiofiles.threadpool.wrap`."""
        return AsyncReader(stream)

    def map(self, descriptor: int, size: int) -> Mapping:
        self.machine.step("mmap")
        assert size <= len(self._file(descriptor).cache)
        return Mapping(self, self._file(descriptor))


class Lock:
    """Replaces `threading.Lock`, which would stop all strands at once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._is_held = False

    def __enter__(self) -> None:
        while self._is_held:
            self._calls.sleep(STEP_SECONDS)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False


class Flag:
    """Replaces `threading.Event`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def wait(self, seconds: float) -> bool:
        """Wait for the whole timeout, even if the flag is set."""
        self._calls.sleep(seconds)
        return self.is_set


class AsyncReader:
    """A stream that is read in a thread, as by aiofiles."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self._stream.read(size)


class Mapping:
    """A shared mapping: loads and stores can tear; write-back can come any time."""

    def __init__(self, calls: Calls, file: File) -> None:
        self._calls = calls
        self._file = file

    def __getitem__(self, at: slice) -> bytes:
        start, end, _ = at.indices(len(self._file.cache))
        middle = self._calls.machine.random.randint(start, end)
        self._calls.machine.step("load")
        first = bytes(self._file.cache[start:middle])
        if start < middle < end:
            self._calls.machine.step("load, half-way")
        return first + bytes(self._file.cache[middle:end])

    def __setitem__(self, at: slice, data: bytes) -> None:
        machine = self._calls.machine
        middle = machine.random.randint(0, len(data))
        machine.step("store")
        self._file.store(data[:middle], at.start, machine.random)
        machine.step("store, half-way")
        self._file.store(data[middle:], at.start + middle, machine.random)

    def flush(self) -> None:
        self._calls.machine.step("msync")
        self._calls._sync(self._file)

    def close(self) -> None:
        pass

    def load_word(self, number: int) -> int:
        self._calls.machine.step("load word")
        return int.from_bytes(self._file.cache[number * 8 : number * 8 + 8], "little")

    def store_word(self, number: int, value: int) -> None:
        self._calls.machine.step(f"store word {number}: {value}")
        self._file.store(value.to_bytes(8, "little"), number * 8, self._calls.machine.random)
        self._calls.machine.step("word stored")


class View:
    """Replaces ``memoryview`` of a mapping: words, loaded and stored atomically."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping

    def __getitem__(self, at: slice | int) -> View | int:
        return self if isinstance(at, slice) else self._mapping.load_word(at)

    def __setitem__(self, number: int, value: int) -> None:
        self._mapping.store_word(number, value)

    def cast(self, _: str) -> View:
        return self

    def release(self) -> None:
        pass
