"""Small disks that can be filled, taken away or cut off from power, and are gone afterwards."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D
_LOSE_THE_JOURNAL = 2
"""``FS_IOC_SHUTDOWN`` of linux/fs.h: what is in memory only is lost, as in a power cut."""

_BLOCK = bytes(4096)

_BUSY_SECONDS = 20.0
_PAUSE_SECONDS = 0.02


def _run(*command: str) -> None:
    """Run a command of the system; skips the test where that is not allowed."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip(f"needs {command[0]}")
    if ran.returncode:
        pytest.skip(f"needs root and leave to mount: {' '.join(command[:3])}: {ran.stderr.strip()}")


@contextmanager
def memory_disk(point: Path, size: str) -> Iterator[Path]:
    """A tmpfs, such as "2m" in size."""
    point.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "eventapi-test", str(point))
    try:
        yield point
    finally:
        unmount(point)


def unmount(point: Path) -> None:
    """Take a disk away as soon as nobody has a file on it open any more; raises `TimeoutError`.

    Not before: who mounts the image again meanwhile is given the disk as it was, without power and
    all. A process that was killed, or a helper of one, holds its files for a moment longer.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while point.is_mount():
        subprocess.run(["umount", str(point)], capture_output=True, timeout=60, check=False)
        if time.monotonic() > deadline:
            subprocess.run(["umount", "-l", str(point)], timeout=60, check=True)
            raise TimeoutError(f"somebody does not let go of {point}")
        time.sleep(_PAUSE_SECONDS)


def make_image(image: Path, mebibytes: int) -> None:
    """An ext4 file system in a file."""
    with image.open("wb") as file:
        file.truncate(mebibytes << 20)
    _run("mkfs.ext4", "-q", "-F", str(image))


@contextmanager
def loop_disk(image: Path, point: Path) -> Iterator[Path]:
    """An image, mounted."""
    point.mkdir(exist_ok=True)
    _run("mount", "-o", "loop", str(image), str(point))
    try:
        yield point
    finally:
        unmount(point)


def make_read_only(point: Path) -> None:
    """What ext4 does to itself after an error that it cannot get over."""
    _run("mount", "-o", "remount,abort", str(point))


def cut_power(point: Path) -> None:
    """Nothing more reaches the disk, and what has not yet never does."""
    descriptor = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, _LOSE_THE_JOURNAL.to_bytes(4, "little"))
    finally:
        os.close(descriptor)


@contextmanager
def filled(point: Path) -> Iterator[None]:
    """A disk without any room, until the end."""
    filler = point / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(_BLOCK):
            pass
    try:
        yield
    finally:
        filler.unlink()
