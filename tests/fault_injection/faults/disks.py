"""Small disks for tests, which can be filled, made read-only or lose power."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_FS_IOC_SHUTDOWN = 0x8004587D
_GOING_FLAGS_NOLOGFLUSH = 2
"""An ioctl of ext4 that drops everything not yet on the disk, as a power cut does."""

_BLOCK = bytes(4096)

_BUSY_SECONDS = 20.0
_PAUSE_SECONDS = 0.02


def _run(*command: str) -> None:
    """Run a system command; skip the test if it is missing or not permitted."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip(f"needs {command[0]}")
    if ran.returncode:
        pytest.skip(
            f"needs root and permission to mount: {' '.join(command[:3])}: {ran.stderr.strip()}"
        )


@contextmanager
def memory_disk(point: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of a size such as "2m"."""
    point.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "eventapi-test", str(point))
    try:
        yield point
    finally:
        unmount(point)


def unmount(point: Path) -> None:
    """Unmount a disk once no process has a file on it open; raises `TimeoutError`.

    A lazy unmount would not do: mounting the image again would attach the same file system, still
    without power. Killed processes and their helpers keep files open for a moment.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while point.is_mount():
        subprocess.run(["umount", str(point)], capture_output=True, timeout=60, check=False)
        if time.monotonic() > deadline:
            subprocess.run(["umount", "-l", str(point)], timeout=60, check=True)
            raise TimeoutError(f"a process keeps files on {point} open")
        time.sleep(_PAUSE_SECONDS)


def make_image(image: Path, mebibytes: int) -> None:
    """Create an ext4 file system in a file."""
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-F", str(image))


@contextmanager
def loop_disk(image: Path, point: Path) -> Iterator[Path]:
    """Mount an image."""
    point.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(point))
    try:
        yield point
    finally:
        unmount(point)


def make_read_only(point: Path) -> None:
    """Remount read-only, as ext4 does after a fatal error."""
    _run("mount", "-o", "remount,abort", str(point))


def cut_power(point: Path) -> None:
    """Cut the power: nothing that is not on the disk yet will reach it."""
    descriptor = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_SHUTDOWN, _GOING_FLAGS_NOLOGFLUSH.to_bytes(4, "little"))
    finally:
        os.close(descriptor)


@contextmanager
def full_disk(point: Path) -> Iterator[None]:
    """Fill the disk until the context exits."""
    filler = point / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(_BLOCK):
            pass
    try:
        yield
    finally:
        filler.unlink()
