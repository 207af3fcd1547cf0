"""What to keep of a log's tail that was written but never published."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from events.codec import check_link, parse
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


def _is_record(line: bytes) -> bool:
    """Whether the bytes are some whole record, wherever it belongs."""
    try:
        parse(line.strip(b"\0\n"))
    except ValueError:
        return False
    return True


def examine(lines: Iterable[bytes], offset: int, head: Head) -> Tail:
    """Judge the lines (with their newlines) that stand from byte ``offset`` on, behind ``head``.

    Whole, chained lines are kept, for they may have been acknowledged; of lines that stand or fall
    together, all or none. What is broken off at the end is torn. Raises `DamagedLog` where a
    whole record follows a damaged one: that is no torn write, and nothing may be cut.
    """
    kept = Tail(offset, head)
    damage: DamagedLog | None = None
    for line in lines:
        if damage is not None:
            if _is_record(line):
                raise damage
            continue
        try:
            head, remaining = _continues(line, head)
        except ValueError as error:
            damage = DamagedLog(str(error), position=head.position + 1, offset=offset)
            continue
        offset += len(line)
        if remaining == 0:
            kept = Tail(offset, head)
    return kept
