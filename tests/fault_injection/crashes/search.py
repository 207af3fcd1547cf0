"""Check linearizability by search, item by item, without using the log.

This is the algorithm of Wing and Gong in the form of Lowe ("Testing for linearizability", 2017). It
processes calls and returns in the order of time and keeps all possible configurations: a value of
the item, and the pending operations that have taken effect. When an operation returns, only the
configurations in which it has taken effect are kept. If none is left, no order explains the history.
An operation without a response may take effect at any time after its call, or never.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.end_to_end.history import Content, Kind, Operation, Outcome

MAX_CONFIGURATIONS = 20_000
"""With more configurations than this, an item is undecided."""


class Item(NamedTuple):
    """A possible value of an item; version 0 after a write without a response."""

    version: int = 0
    content: Content | None = None


class Configuration(NamedTuple):
    """A possible value, and the pending operations that have taken effect."""

    item: Item
    done: frozenset[int]


class Undecided(Exception):
    """There are too many configurations."""


def by_item(operations: Iterable[Operation]) -> dict[int, list[Operation]]:
    """Group the operations by item; reads without a response are left out."""
    found: defaultdict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        unknown = operation.outcome is Outcome.UNKNOWN
        answered = operation.succeeded or operation.refused
        if operation.item and (answered or (unknown and operation.kind is not Kind.GET)):
            found[operation.item].append(operation)
    return found


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether an order explains these operations on one item; raises `Undecided`."""
    events = sorted(_events(operations))
    pending: set[int] = set()
    kept = {Configuration(Item(), frozenset())}
    for _, returns, number in events:
        if not returns:
            pending.add(number)
            continue
        reached = _closure(kept, pending, operations)
        pending.discard(number)
        kept = {Configuration(item, done - {number}) for item, done in reached if number in done}
        if not kept:
            return False
    return True


def _events(operations: Sequence[Operation]) -> Iterable[tuple[int, bool, int]]:
    """Yield calls and returns as (time, is it a return, number of the operation)."""
    for number, operation in enumerate(operations):
        yield operation.start, False, number
        if operation.outcome is Outcome.ANSWERED:
            yield operation.end, True, number


def _closure(
    kept: Iterable[Configuration], pending: set[int], operations: Sequence[Operation]
) -> set[Configuration]:
    """All reachable configurations: pending operations take effect in any order."""
    found: set[Configuration] = set()
    to_do = list(kept)
    while to_do:
        item, done = to_do.pop()
        # Reads and refusals take effect as soon as they can, which excludes no order.
        done |= {
            number
            for number in pending - done
            if not _changes(operations[number]) and _explains(item, operations[number])
        }
        configuration = Configuration(item, done)
        if configuration in found:
            continue
        found.add(configuration)
        if len(found) > MAX_CONFIGURATIONS:
            raise Undecided
        for number in pending - done:
            operation = operations[number]
            if _changes(operation) and _can_write(item, operation):
                to_do.append(Configuration(_after(item, operation), done | {number}))
    return found


def _changes(operation: Operation) -> bool:
    """Whether the operation is a write that was not refused."""
    return operation.kind is not Kind.GET and not operation.refused


def _explains(item: Item, operation: Operation) -> bool:
    """Whether a read or a refusal is correct for this value."""
    if operation.status == 404:
        return item.content is None
    if operation.status == 412:
        return item.content is not None and (not item.version or item.version != operation.if_match)
    return item.content == operation.seen and item.version in {0, operation.version}


def _can_write(item: Item, operation: Operation) -> bool:
    """Whether a write is possible on this value and has the result in its response."""
    if (item.content is None) is not (operation.kind is Kind.CREATE):
        return False
    if operation.if_match is not None and item.version not in {0, operation.if_match}:
        return False
    return operation.seen is None or _after(item, operation).content == operation.seen


def _after(item: Item, operation: Operation) -> Item:
    if operation.kind is Kind.DELETE:
        return Item()
    title, description = item.content or ("", None)
    title = operation.changes.get("title", title) or ""
    return Item(operation.version, (title, operation.changes.get("description", description)))


def search(operations: Iterable[Operation]) -> tuple[Counter[str], list[int]]:
    """Return counts over all items, and the items that no order explains."""
    figures: Counter[str] = Counter()
    unexplained = []
    for item, own in by_item(operations).items():
        figures["items searched"] += 1
        figures["operations searched"] += len(own)
        try:
            if not is_linearizable(own):
                unexplained.append(item)
        except Undecided:
            figures["items undecided"] += 1
    return figures, unexplained
