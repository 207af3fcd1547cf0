"""A generated log, and the oracle: the expected verdict on any damage to it.

The verdict follows from the bytes and the plan of the log, without using the log's own code.
"""

from __future__ import annotations

from itertools import accumulate, cycle
from typing import Literal

import msgspec

from eventapi.testing.items import Content, ItemCreated, ItemDeleted
from events.codec import encode
from events.log.port import Head
from events.record import Event, Record
from events.sealing import Keyring
from tests.events.log_helpers import SOURCE, TIME, keyring

Kind = Literal["whole", "torn", "damaged"]

BATCH_LINES = (1, 1, 5, 12, 1, 40, 3)
"""The sizes of the batches, in turn; every third batch is atomic."""


class Verdict(msgspec.Struct, frozen=True):
    """The finding of a recovery, and the last position kept; 0 if it refuses."""

    kind: Kind
    kept: int = 0


class History:
    """A log of ``count`` lines in batches, and the offsets of the lines."""

    def __init__(self, count: int) -> None:
        self.lines: list[bytes] = []
        self.heads = [Head()]
        self.behind: list[int | None] = []
        self.remaining: list[int] = []
        self._plan(count)
        keys = keyring("users/1")
        for number in range(1, count + 1):
            self._write(number, keys)
        self.ends = [0, *accumulate(len(line) + 1 for line in self.lines)]
        self.content = b"".join(line + b"\n" for line in self.lines)
        self._positions = {line: number for number, line in enumerate(self.lines, 1)}

    def _plan(self, count: int) -> None:
        for number, most in enumerate(cycle(BATCH_LINES)):
            start = len(self.behind)
            if start == count:
                return
            size = min(most, count - start)
            self.behind += [None, *[start] * (size - 1)]
            is_atomic = number % 3 == 2
            self.remaining += [size - 1 - at if is_atomic else 0 for at in range(size)]

    def _write(self, number: int, keys: Keyring) -> None:
        event: Event = ItemDeleted()
        if number % 4 == 0:
            event = ItemCreated(1, personal=Content("x" * (number * 37 % 600)))
        owner = "users/1" if number % 4 == 0 else ""
        record = Record(number, SOURCE, f"items/{number}", TIME, "users/1", event, owner)
        line, digest = encode(
            record,
            self.heads[-1].hash,
            keys,
            number.to_bytes(12),
            self.remaining[number - 1],
            behind=self.behind[number - 1],
        )
        self.lines.append(line)
        self.heads.append(Head(number, digest))

    def whole_before(self, offset: int) -> int:
        """The number of lines that end at or before an offset."""
        low, high = 0, len(self.lines)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.ends[middle] <= offset else (low, middle - 1)
        return low

    def expected_verdict(self, content: bytes, marked: int) -> Verdict:
        """The verdict that recovery and replay must give, with ``marked`` lines published."""
        same = _common_prefix_length(content, self.content)
        if same < self.ends[marked]:
            return Verdict("damaged")
        whole = self.whole_before(same)
        kept = whole
        while kept > marked and self.remaining[kept - 1]:
            kept -= 1
        if self._is_damage(content[self.ends[whole] :], whole + 1):
            return Verdict("damaged")
        is_whole = len(content) == self.ends[kept]
        return Verdict("whole" if is_whole else "torn", kept)

    def _is_damage(self, rest: bytes, position: int) -> bool:
        """Whether a valid line follows a broken one and cannot belong to the same batch."""
        pieces = rest.split(b"\n")
        has_hole = b"\0" in pieces[0]
        for piece in pieces[1:]:
            has_hole = has_hole or b"\0" in piece
            number = self._positions.get(piece.strip(b"\0"))
            if number is None:
                continue
            behind = self.behind[number - 1]
            if not has_hole or behind is None or not behind < position < number:
                return True
        return False


def _common_prefix_length(one: bytes, other: bytes) -> int:
    """The length of the common prefix."""
    if other.startswith(one) or one.startswith(other):
        return min(len(one), len(other))
    low, high = 0, min(len(one), len(other))
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
