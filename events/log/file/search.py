"""Find a line of the log's file by its position without the lines before it.

Every line begins with its position::

    {"specversion":"1.0","id":"1024",...

So a search over the bytes of the file finds a line in a few reads, however long the log is. Line
breaks within values are escaped, so a newline byte always ends a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from events.codec import MAX_LINE_BYTES

_START: Final = re.compile(rb'\{"specversion":"1\.0","id":"([1-9][0-9]{0,18})"')

HEAD_BYTES: Final = 64
"""How much of a line has its position."""

WINDOW_BYTES: Final = MAX_LINE_BYTES + 1 + HEAD_BYTES
"""What one step reads: wherever it begins, it has the beginning of a line and its position."""

_LAST_STEP_BYTES: Final = 4 * WINDOW_BYTES
"""So short a range is read as a whole."""

_MOST_STEPS: Final = 64
"""More than any intact log needs: estimates and halves together need less than 20."""

Place = tuple[int, int]
"""A position, and the byte offset at which its line ends."""


Read = Callable[[int, int], bytes]
"""Reads a number of bytes from an offset on."""


def stated_position(line: bytes) -> int | None:
    """The position with which a line begins; None if it does not begin as a line does."""
    found = _START.match(line)
    return None if found is None else int(found[1])


def find_end(read: Read, position: int, low: Place, high: Place) -> int | None:
    """The byte offset at which the line at a position ends, between two known places.

    ``None`` if the bytes that are read are no lines of a log, or have other positions than lines
    there can have; then only counting lines leads to the position. Raises `OSError`.
    """
    is_estimate = True
    for _ in range(_MOST_STEPS):
        (first, start), (last, end) = low, high
        if not (first < position < last and start < end):
            break
        if end - start <= _LAST_STEP_BYTES:
            at, size = start, end - start
        else:
            share = (position - first) / (last - first) if is_estimate else 0.5
            at = max(start, start + int((end - start) * share) - WINDOW_BYTES // 2)
            size = WINDOW_BYTES
        # An estimate is exact where lines are of similar length; a half makes progress anywhere.
        is_estimate = not is_estimate
        lines = read(size, at).split(b"\n")
        if at > start:
            at += len(lines.pop(0)) + 1
        found = stated_position(lines[0]) if lines else None
        if found is None or not first < found <= last + 1:
            return None
        before = found - 1
        ends = [(before, at)]
        for line in lines[:-1]:
            before, at = before + 1, at + len(line) + 1
            ends.append((before, at))
        if before < position:
            low = max(low, ends[-1])
        elif ends[0][0] > position:
            high = min(high, ends[0])
        else:
            found = ends[position - ends[0][0]][1]
            return found if found <= end else None
    return dict((low, high)).get(position)
