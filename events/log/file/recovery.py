"""What to keep of a log's tail that was written but never published."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from events.codec import Line, check_link, parse
from events.errors import DamagedLog
from events.log.port import Head


class Tail(msgspec.Struct, frozen=True):
    """The verdict: whole lines up to ``offset``, where ``head`` ends; what follows is torn."""

    offset: int
    head: Head


def _continues(line: bytes, head: Head) -> tuple[Head, int]:
    """The head after this line, and how many lines stand or fall with it; raises `ValueError`."""
    if not line.endswith(b"\n"):
        raise ValueError("it has no newline")
    body = line[:-1]
    digest = check_link(body, head.hash)
    parsed = parse(body)
    if parsed.id != str(head.position + 1):
        raise ValueError(f"its id is {parsed.id!r}")
    return Head(head.position + 1, digest), int(parsed.remaining)


def _record(line: bytes) -> Line | None:
    """The record that the bytes are, wherever it belongs, if they are a whole one."""
    try:
        return parse(line.strip(b"\0\n"))
    except ValueError:
        return None


def _is_of_batch(record: Line, position: int) -> bool:
    """Whether what is due at ``position`` was written with a record that comes later."""
    if not (record.behind.isdecimal() and record.id.isdecimal()):
        return False
    return int(record.behind) < position < int(record.id)


def recover_tail(lines: Iterable[bytes], offset: int, head: Head) -> Tail:
    """Judge the lines (with their newlines) that stand from byte ``offset`` on, behind ``head``.

    Whole, chained lines are kept, for they may have been acknowledged; of lines that stand or fall
    together, all or none. What is broken off at the end is torn.

    So is a batch with a hole: blocks that were not written when the power was cut read as NUL bytes,
    of which a line has none, and whole records of the same batch may follow. The batch was not
    acknowledged, or all of it would be on the disk. Raises `DamagedLog` where a whole record of
    another batch follows a damaged one, or where nothing is missing but something is wrong: that is
    no torn write, and nothing may be cut.
    """
    kept = Tail(offset, head)
    damage: DamagedLog | None = None
    has_hole = False
    for line in lines:
        if damage is not None:
            has_hole = has_hole or b"\0" in line
            record = _record(line)
            if record is not None and not (has_hole and _is_of_batch(record, damage.position)):
                raise damage
            continue
        try:
            head, remaining = _continues(line, head)
        except ValueError as error:
            damage = DamagedLog(str(error), position=head.position + 1, offset=offset)
            has_hole = b"\0" in line
            continue
        offset += len(line)
        if remaining == 0:
            kept = Tail(offset, head)
    return kept
