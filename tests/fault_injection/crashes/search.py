"""Linearizability by search, item by item, without a look at the log.

Wing and Gong's search, in Lowe's form ("Testing for linearizability", 2017): going through
the calls and returns in the order of time, it keeps every configuration, that is the item as it may
stand and which of the calls under way may have taken effect. An operation that returns must have
taken effect in each that is kept; where none is left, there was no such order. An operation
without an answer may take effect at any time after its call, or never.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.end_to_end.history import Content, Fate, Kind, Operation

MOST_CONFIGURATIONS = 20_000
"""Beyond so many an item is given up as undecided."""


class Item(NamedTuple):
    """How an item may stand; version 0 where a write without an answer made it."""

    version: int = 0
    content: Content | None = None


class Configuration(NamedTuple):
    """One way in which it may have come so far: ``done`` of the operations under way took effect."""

    item: Item
    done: frozenset[int]


class Undecided(Exception):
    """There are too many configurations."""


def by_item(operations: Iterable[Operation]) -> dict[int, list[Operation]]:
    """The operations on single items; of those without an answer only the writes."""
    found: defaultdict[int, list[Operation]] = defaultdict(list)
    for operation in operations:
        unknown = operation.fate is Fate.UNKNOWN
        told = operation.succeeded or operation.refused
        if operation.item and (told or (unknown and operation.kind is not Kind.GET)):
            found[operation.item].append(operation)
    return found


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether some order of these operations on one item explains them; raises `Undecided`."""
    events = sorted(_events(operations))
    under_way: set[int] = set()
    kept = {Configuration(Item(), frozenset())}
    for _, returns, number in events:
        if not returns:
            under_way.add(number)
            continue
        reached = _closure(kept, under_way, operations)
        under_way.discard(number)
        kept = {Configuration(item, done - {number}) for item, done in reached if number in done}
        if not kept:
            return False
    return True


def _events(operations: Sequence[Operation]) -> Iterable[tuple[int, bool, int]]:
    """Calls and returns as (time, whether it is a return, which operation)."""
    for number, operation in enumerate(operations):
        yield operation.start, False, number
        if operation.fate is Fate.ANSWERED:
            yield operation.end, True, number


def _closure(
    kept: Iterable[Configuration], under_way: set[int], operations: Sequence[Operation]
) -> set[Configuration]:
    """All that may have come about by now: operations under way take effect in any order."""
    found: set[Configuration] = set()
    to_do = list(kept)
    while to_do:
        item, done = to_do.pop()
        # What changes nothing takes effect as soon as it can: that closes no way.
        done |= {
            number
            for number in under_way - done
            if not _changes(operations[number]) and _explains(item, operations[number])
        }
        configuration = Configuration(item, done)
        if configuration in found:
            continue
        found.add(configuration)
        if len(found) > MOST_CONFIGURATIONS:
            raise Undecided
        for number in under_way - done:
            operation = operations[number]
            if _changes(operation) and _can_write(item, operation):
                to_do.append(Configuration(_after(item, operation), done | {number}))
    return found


def _changes(operation: Operation) -> bool:
    """Whether it is a write that was not refused."""
    return operation.kind is not Kind.GET and not operation.refused


def _explains(item: Item, operation: Operation) -> bool:
    """Whether a read, or a refusal, is right about an item that stands so."""
    if operation.status == 404:
        return item.content is None
    if operation.status == 412:
        return item.content is not None and (not item.version or item.version != operation.if_match)
    return item.content == operation.seen and item.version in {0, operation.version}


def _can_write(item: Item, operation: Operation) -> bool:
    """Whether a write is possible when the item stands so, and comes to what was answered."""
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
    """Figures over all items, and the items that no order explains."""
    figures: Counter[str] = Counter()
    guilty = []
    for item, own in by_item(operations).items():
        figures["items searched"] += 1
        figures["operations searched"] += len(own)
        try:
            if not is_linearizable(own):
                guilty.append(item)
        except Undecided:
            figures["items undecided"] += 1
    return figures, guilty
