"""Progress of long work as log lines, where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from events.io import startup as starting

LINE_SECONDS: Final = 5.0


def progress_lines(
    label: str,
    total: int,
    report: Callable[[str], object],
    *,
    unit: str = "",
    now: Callable[[], float] = time.monotonic,
) -> Callable[[int], None]:
    """A function to call with the amount done; it reports a line every 5 seconds.

    ``replaying the log: 478,083 of 500,001 (95 %)``
    """
    due = now() + LINE_SECONDS

    def progress(done: int) -> None:
        nonlocal due
        if now() >= due:
            due = now() + LINE_SECONDS
            report(f"{label}: {done:,} of {total:,}{unit} ({100 * done // max(total, 1)} %)")

    return progress


@contextmanager
def replay_lines(total: int) -> Iterator[Callable[[int], None]]:
    """Log the progress of the replay at a start."""
    yield progress_lines("replaying the log", total, starting.logger.info)
