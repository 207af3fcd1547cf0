"""Controls of the search: possible and impossible histories of one item."""

from __future__ import annotations

import pytest

from tests.end_to_end.history import Changes, Content, Kind, Operation, Outcome
from tests.fault_injection.crashes import search
from tests.fault_injection.crashes.search import Undecided, is_linearizable

Window = tuple[int, int]
"""The times of request and response; 0 for no response."""


def operation(
    kind: Kind,
    window: Window,
    *,
    changes: Changes | None = None,
    if_match: int | None = None,
    version: int = 0,
    seen: Content | None = None,
    status: int = 0,
) -> Operation:
    start, end = window
    right = {Kind.CREATE: 201, Kind.DELETE: 204}.get(kind, 200)
    return Operation(
        kind=kind,
        requestid="",
        owner="users/1",
        item=1,
        changes=changes or {},
        if_match=if_match,
        outcome=Outcome.ANSWERED if end else Outcome.UNKNOWN,
        start=start,
        end=end,
        status=(status or right) if end else 0,
        version=version,
        seen=seen,
    )


def create(start: int, end: int) -> Operation:
    changes: Changes = {"title": "a", "description": None}
    return operation(Kind.CREATE, (start, end), changes=changes, version=1, seen=("a", None))


def patch(start: int, end: int, title: str, version: int, if_match: int | None = None) -> Operation:
    seen = (title, None) if end else None
    changes: Changes = {"title": title}
    return operation(
        Kind.PATCH, (start, end), changes=changes, version=version, seen=seen, if_match=if_match
    )


def get(start: int, end: int, title: str, version: int) -> Operation:
    return operation(Kind.GET, (start, end), version=version, seen=(title, None))


def missing(start: int, end: int) -> Operation:
    return operation(Kind.GET, (start, end), status=404)


def delete(start: int, end: int) -> Operation:
    return operation(Kind.DELETE, (start, end))


POSSIBLE = {
    "one after another": [create(1, 2), get(3, 4, "a", 1), patch(5, 6, "b", 2), get(7, 8, "b", 2)],
    "a read concurrent with a write sees the old value": [
        create(1, 2),
        patch(3, 6, "b", 2),
        get(4, 5, "a", 1),
    ],
    "a read concurrent with a write sees the new value": [
        create(1, 2),
        patch(3, 6, "b", 2),
        get(4, 5, "b", 2),
    ],
    "two writes at once, either order": [
        create(1, 2),
        patch(3, 8, "b", 3),
        patch(4, 7, "c", 2),
        get(9, 10, "b", 3),
    ],
    "an unanswered write shows late": [
        create(1, 2),
        patch(3, 0, "b", 0),
        get(4, 5, "a", 1),
        get(6, 7, "b", 2),
    ],
    "an unanswered write never shows": [create(1, 2), delete(3, 0), get(4, 5, "a", 1)],
    "an unanswered deletion shows": [create(1, 2), delete(3, 0), missing(4, 5)],
    "a condition that holds": [create(1, 2), patch(3, 4, "b", 2, if_match=1)],
    "missing after the deletion": [create(1, 2), delete(3, 4), missing(5, 6)],
    "a condition that fails": [
        create(1, 2),
        operation(Kind.PATCH, (3, 4), changes={"title": "b"}, if_match=9, status=412),
    ],
}
IMPOSSIBLE = {
    "a stale read": [create(1, 2), patch(3, 4, "b", 2), get(5, 6, "a", 1)],
    "a lost write": [create(1, 2), patch(3, 4, "b", 2), patch(5, 6, "c", 3), get(7, 8, "b", 2)],
    "a read of the future": [create(1, 2), get(3, 4, "b", 2), patch(5, 6, "b", 2)],
    "new, then old": [
        create(1, 2),
        patch(3, 8, "b", 2),
        get(4, 5, "b", 2),
        get(6, 7, "a", 1),
    ],
    "an unanswered write comes and goes": [
        create(1, 2),
        patch(3, 0, "b", 0),
        get(4, 5, "b", 2),
        get(6, 7, "a", 1),
    ],
    "deleted twice": [create(1, 2), delete(3, 4), delete(5, 6)],
    "created twice": [create(1, 2), create(3, 4)],
    "alive after its deletion": [create(1, 2), delete(3, 4), get(5, 6, "a", 1)],
    "missing although it exists": [create(1, 2), missing(3, 4)],
    "a condition that did not hold": [
        create(1, 2),
        patch(3, 4, "b", 2),
        patch(5, 6, "c", 3, if_match=1),
    ],
    "a condition refused though it held": [
        create(1, 2),
        operation(Kind.PATCH, (3, 4), changes={"title": "b"}, if_match=1, status=412),
    ],
    "two conditions on one version": [
        create(1, 2),
        patch(3, 6, "b", 2, if_match=1),
        patch(4, 7, "c", 3, if_match=1),
    ],
}


@pytest.mark.parametrize("history", POSSIBLE.values(), ids=POSSIBLE)
def test_possible_history_is_linearizable(history: list[Operation]) -> None:
    assert is_linearizable(history)


@pytest.mark.parametrize("history", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_history_is_not_linearizable(history: list[Operation]) -> None:
    assert not is_linearizable(history)
    figures, unexplained = search.search(history)
    assert unexplained == [1]
    assert figures["operations searched"] == len(history)


def test_too_large_history_is_undecided() -> None:
    many = [patch(3 + number, 0, f"{number}", 0) for number in range(12)]
    history = [create(1, 2), *many, get(50, 51, "0", 9)]
    with pytest.raises(Undecided):
        is_linearizable(history)
    assert search.search(history)[0]["items undecided"] == 1
