"""The memory of a server: the sum over its processes."""

from __future__ import annotations

import multiprocessing
import os
import resource
from contextlib import suppress
from pathlib import Path


def resident_bytes() -> int | None:
    """The resident memory of all processes of this server; `None` without /proc.

    These are the supervisor and its descendants: workers, the process that takes a snapshot, and
    Python's own helpers. Shared pages count for each process.
    """
    supervisor = multiprocessing.parent_process()
    first = os.getpid() if supervisor is None or supervisor.pid is None else supervisor.pid
    pages = [_resident_pages(process) for process in {os.getpid(), *_process_tree(first)}]
    known = [number for number in pages if number is not None]
    return sum(known) * resource.getpagesize() if known else None


def _process_tree(process: int) -> set[int]:
    """A process and its descendants that still run."""
    found = {process}
    with suppress(OSError):
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                found |= _process_tree(child)
    return found


def _resident_pages(process: int) -> int | None:
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_bytes().split()[1])
    return None
