"""Decide what to keep of a log's tail that was written but never published."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from events.codec import check_link, parse
from events.errors import DamagedLog
from events.log.port import Head
from events.record import Line


class Tail(msgspec.Struct, frozen=True):
    """The lines to keep, up to byte ``offset``, where ``head`` ends; the rest is torn."""

    offset: int
    head: Head


def _extend(line: bytes, head: Head) -> tuple[Head, int]:
    """Return the head after a line and its ``remaining``; raises `ValueError`."""
    if not line.endswith(b"\n"):
        raise ValueError("it has no newline")
    body = line[:-1]
    digest = check_link(body, head.hash)
    parsed = parse(body)
    if parsed.id != str(head.position + 1):
        raise ValueError(f"its id is {parsed.id!r}")
    return Head(head.position + 1, digest), int(parsed.remaining)


def _parse_anywhere(line: bytes) -> Line | None:
    """Parse the bytes as a record of any position; None if they are no whole record."""
    try:
        return parse(line.strip(b"\0\n"))
    except ValueError:
        return None


def _is_of_batch(record: Line, position: int) -> bool:
    """Whether the missing line at ``position`` is of this later record's batch."""
    if not (record.behind.isdecimal() and record.id.isdecimal()):
        return False
    return int(record.behind) < position < int(record.id)


def recover_tail(lines: Iterable[bytes], offset: int, head: Head) -> Tail:
    """Examine the lines from byte ``offset`` on, with newlines, that follow ``head``.

    Whole, chained lines are kept because they may have been acknowledged; a group of lines that are
    linked by ``remaining`` is kept whole or not at all. An incomplete end is torn.

    A batch with a hole is torn, too: blocks that were not written when the power was cut read as
    NUL bytes, which no line contains, and whole records of the same batch may follow. The batch was
    not acknowledged, because then all of it would be on the disk.

    Raises `DamagedLog` if a whole record of another batch follows a damaged one, or if a line is
    wrong although no bytes are missing: that is no torn write, and nothing may be cut off.
    """
    kept = Tail(offset, head)
    damage: DamagedLog | None = None
    has_hole = False
    for line in lines:
        if damage is not None:
            has_hole = has_hole or b"\0" in line
            record = _parse_anywhere(line)
            if record is not None and not (has_hole and _is_of_batch(record, damage.position)):
                raise damage
            continue
        try:
            head, remaining = _extend(line, head)
        except ValueError as error:
            damage = DamagedLog(str(error), position=head.position + 1, offset=offset)
            has_hole = b"\0" in line
            continue
        offset += len(line)
        if remaining == 0:
            kept = Tail(offset, head)
    return kept
