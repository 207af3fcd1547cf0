"""What the log adds up to at every position: a second, plain fold to judge the server's by."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable

import msgspec

from tests.end_to_end.history import Content, Kind, Operation
from tests.end_to_end.written import Line


class Standing(msgspec.Struct, frozen=True):
    """How something stood: an item with its version, or nothing.

    Of an owner's items all together, ``version`` is a sum over their rows that tells any two
    sets of rows apart.
    """

    version: int = 0
    content: Content | None = None


class Timeline:
    """How one thing stood from which position on."""

    def __init__(self) -> None:
        self._positions = [0]
        self._standings = [Standing()]

    def add(self, position: int, standing: Standing) -> None:
        """From this position on, until further notice."""
        self._positions.append(position)
        self._standings.append(standing)

    def at(self, position: int) -> Standing:
        """How it stood."""
        return self._standings[bisect_right(self._positions, position) - 1]

    def first(self, floor: int, accepts: Callable[[Standing], bool]) -> int | None:
        """The first position, not before ``floor``, at which it stood in an accepted way."""
        for index in range(bisect_right(self._positions, floor) - 1, len(self._positions)):
            if accepts(self._standings[index]):
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

    def item(self, number: int, position: int) -> Standing:
        """How an item stood."""
        return self._items[number].at(position)

    def timeline(self, operation: Operation) -> Timeline:
        """The timeline of what an operation is about."""
        if operation.kind is Kind.LIST:
            return self._lists[operation.owner]
        return self._items[operation.item]

    def _apply(self, line: Line) -> None:
        timeline = self._items[line.item]
        before = timeline.at(line.position)
        exists = before.content is not None
        if exists == (line.type in {"item.created", "item.restored"}):
            self.faults.append(f"position {line.position} does not follow: {line}")
        content: Content | None = None
        if line.type != "item.deleted":
            title, description = before.content or ("", None)
            content = (
                line.personal.get("title", title),
                line.personal.get("description", description),
            )
        after = Standing(0 if content is None else line.position, content)
        timeline.add(line.position, after)
        for sign, standing in ((-1, before), (1, after)):
            if standing.content is not None:
                row = (line.item, standing.version, standing.content)
                self._sums[line.actor] += sign * hash(row)
        self._lists[line.actor].add(line.position, Standing(self._sums[line.actor]))
