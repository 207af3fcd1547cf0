"""Describe the machine and date of a measurement in one line."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import file_system


def describe_machine(directory: Path) -> str:
    """Return date, cores, kernel, file system of a directory and Python version."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    kernel = ".".join(platform.release().split(".")[:2])
    python = platform.python_version()
    system = file_system(directory)
    return f"{date}; {os.cpu_count()} cores, Linux {kernel}, {system}, Python {python}"
