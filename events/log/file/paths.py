"""The paths of the files beside a log.

Kept apart from the code that uses the files, because the check before a start imports only this.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

SUFFIX: Final = ".jsonl.zst"
"""The end of the name of a closed segment."""


def commit_index_path(log: Path) -> Path:
    """Return the path of the log's commit index, ``events.jsonl.mark``."""
    return log.with_name(f"{log.name}.mark")


def lock_path(log: Path) -> Path:
    """Return the path of the log's lock file, ``events.jsonl.lock``."""
    return log.with_name(f"{log.name}.lock")


def reserve_path(log: Path) -> Path:
    """Return the path of the log's reserve of disk space, ``events.jsonl.reserve``."""
    return log.with_name(f"{log.name}.reserve")


def segments_path(log: Path) -> Path:
    """Return the directory of the closed segments, ``events.jsonl.segments``."""
    return log.with_name(f"{log.name}.segments")


def closed_segments(log: Path) -> Sequence[Path]:
    """Return the files of the closed segments; raises as `files_in`."""
    return sorted(path for path in files_in(segments_path(log)) if path.name.endswith(SUFFIX))


def files_in(directory: Path) -> Sequence[Path]:
    """Return the files of a directory, none if it is missing; raises `OSError`.

    Unlike `Path.glob`, it does not take a directory that may not be read for an empty one.
    """
    with suppress(FileNotFoundError):
        return list(directory.iterdir())
    return ()
