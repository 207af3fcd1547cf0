"""A sorted list shows every change at once, although its order is cached."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eventapi.commands.users import EraseUser
from tests.eventapi.http.client import OPERATOR, Caller, items_of
from tests.eventapi.http.resources.kinds import KINDS
from tests.eventapi.http.resources.server import ResourceApi

Change = Callable[[Caller, str, int], object]

CHANGES: dict[str, Change] = {
    "create": lambda me, path, _: me.post(path, json={"text": "b"}),
    "update": lambda me, path, one: me.patch(f"{path}/{one}", json={"text": "z"}),
    "replace": lambda me, path, one: me.put(f"{path}/{one}", json={"text": "0"}),
    "delete": lambda me, path, one: me.delete(f"{path}/{one}"),
    "restore": lambda me, path, one: me.post(f"{path}/{one - 1}/restore", json={}),
}


@pytest.mark.long
@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("collection", ["diaries", "posts"])
def test_a_change_is_in_the_next_sorted_list(collection: str, what: str) -> None:
    """Of posts, everyone reads all; of diaries, the owner reads their own."""
    with ResourceApi(KINDS) as api:
        me, path = api.user(), f"/{collection}"
        for text in ("c", "a", "d", "b"):
            last = me.post(path, json={"text": text}).json()["id"]
        me.delete(f"{path}/{last - 1}")
        before = items_of(me.get(f"{path}?sort=-text"))

        CHANGES[what](me, path, last)

        after = items_of(me.get(f"{path}?sort=-text"))
        assert after != before
        every = items_of(me.get(path))
        assert after == sorted(every, key=lambda one: (one["text"], -one["id"]), reverse=True)


def test_an_erasure_is_in_the_next_sorted_list_of_all() -> None:
    with ResourceApi(KINDS) as api:
        ann, bob = api.user(), api.user()
        for me, text in ((ann, "a"), (bob, "b"), (ann, "c")):
            me.post("/posts", json={"text": text})
        assert len(items_of(bob.get("/posts?sort=-text&limit=2"))) == 2

        api.execute(EraseUser(ann.name, OPERATOR))

        for query in ("sort=-text", "", "order=desc", "count=true"):
            assert [one["text"] for one in items_of(bob.get(f"/posts?{query}"))] == ["b"]


@pytest.mark.long
def test_shared_rows_come_and_go_in_a_sorted_list() -> None:
    with ResourceApi(KINDS) as api:
        ann, bob = api.user(), api.user()
        bob.post("/plans", json={"text": "b"})
        shared = ann.post("/plans", json={"text": "c"}).json()["id"]

        def texts() -> list[str]:
            return [one["text"] for one in items_of(bob.get("/plans?sort=-text"))]

        assert texts() == ["b"]
        ann.put(f"/plans/{shared}/shares/{bob.name}", json={"can": "read"})
        assert texts() == ["c", "b"]
        ann.patch(f"/plans/{shared}", json={"text": "a"})
        assert texts() == ["b", "a"]
        ann.delete(f"/plans/{shared}/shares/{bob.name}")
        assert texts() == ["b"]
