"""A simple second fold of the log: items and lists at every position.

It is the model that the server's answers are compared with.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from tests.end_to_end.history import Content, Kind, Operation
from tests.end_to_end.log_reader import Line


class Value(msgspec.Struct, frozen=True):
    """The value of an item, or its absence.

    For the list of an owner, ``version`` is a sum of hashes over the rows, which differs between
    any two sets of rows.
    """

    version: int = 0
    content: Content | None = None


class Timeline:
    """The values of one item or list, by position."""

    def __init__(self) -> None:
        self._positions = [0]
        self._values = [Value()]

    def add(self, position: int, value: Value) -> None:
        """Set the value from this position on."""
        self._positions.append(position)
        self._values.append(value)

    def at(self, position: int) -> Value:
        """The value at a position."""
        return self._values[bisect_right(self._positions, position) - 1]

    def first(self, floor: int, accepts: Callable[[Value], bool]) -> int | None:
        """The first position from ``floor`` on whose value is accepted, or None."""
        for index in range(bisect_right(self._positions, floor) - 1, len(self._positions)):
            if accepts(self._values[index]):
                return max(floor, self._positions[index])
        return None


class Fold:
    """The timelines of all items and of all owners' lists."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.faults: list[str] = []
        self._items: defaultdict[int, Timeline] = defaultdict(Timeline)
        self._lists: defaultdict[str, Timeline] = defaultdict(Timeline)
        self._sums: defaultdict[str, int] = defaultdict(int)
        for line in lines:
            if line.item:
                self._apply(line)

    def item(self, number: int, position: int) -> Value:
        """The value of an item at a position."""
        return self._items[number].at(position)

    def timeline(self, operation: Operation) -> Timeline:
        """The timeline of the item or list that an operation accesses."""
        if operation.kind is Kind.LIST:
            return self._lists[operation.owner]
        return self._items[operation.item]

    def _apply(self, line: Line) -> None:
        timeline = self._items[line.item]
        before = timeline.at(line.position)
        exists = before.content is not None
        if exists == (line.type in {"item.created", "item.restored"}):
            self.faults.append(f"the event at position {line.position} is impossible: {line}")
        content: Content | None = None
        if line.type != "item.deleted":
            title, description = before.content or ("", None)
            content = (
                line.personal.get("title", title),
                line.personal.get("description", description),
            )
        after = Value(0 if content is None else line.position, content)
        timeline.add(line.position, after)
        for sign, value in ((-1, before), (1, after)):
            if value.content is not None:
                row = (line.item, value.version, value.content)
                self._sums[line.actor] += sign * hash(row)
        self._lists[line.actor].add(line.position, Value(self._sums[line.actor]))
