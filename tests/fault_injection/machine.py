"""Where and when figures were taken, in one line, since they mean little without."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import file_system


def taken_on(directory: Path) -> str:
    """The date and the class of machine: cores, kernel, and the file system of a directory."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    kernel = ".".join(platform.release().split(".")[:2])
    python = platform.python_version()
    system = file_system(directory)
    return f"{date}; {os.cpu_count()} cores, Linux {kernel}, {system}, Python {python}"
