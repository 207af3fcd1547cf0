"""Where and when figures were taken, in one line, since they mean little without."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def taken_on(directory: Path) -> str:
    """The date and the class of machine: cores, kernel, and the file system of a directory."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    kernel = ".".join(platform.release().split(".")[:2])
    python = platform.python_version()
    system = file_system(directory)
    return f"{date}; {os.cpu_count()} cores, Linux {kernel}, {system}, Python {python}"


def file_system(directory: Path) -> str:
    """The type of the file system that a directory is on."""
    best, found = -1, "unknown"
    target = directory.resolve()
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if target.is_relative_to(point) and len(point) >= best:
            best, found = len(point), kind
    return found
