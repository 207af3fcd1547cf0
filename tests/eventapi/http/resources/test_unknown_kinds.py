"""A server meets kinds and declarations that its code does not know."""

from __future__ import annotations

import pytest

from eventapi.resources import Resource
from eventapi.resources.registry import Registry
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.server import V2, ResourceApi


class Memo(Resource):
    """A note of today."""

    text: str


class Label(Resource):
    """A word of today."""

    word: str


def _memo_of_tomorrow() -> type[Resource]:
    class Memo(Resource):
        text: str
        color: str = "white"

    return Memo


@pytest.fixture
def storage() -> tuple[MemoryLog, MemoryVault]:
    return MemoryLog(), MemoryVault()


def _unknown(api: ResourceApi) -> list[str]:
    found: list[str] = api.request("GET", "/health").json()["unknown_kinds"]
    return found


def test_health_names_a_kind_that_the_code_does_not_declare(
    storage: tuple[MemoryLog, MemoryVault],
) -> None:
    log, vault = storage
    with ResourceApi(Registry([Memo, Label]), log=log, vault=vault) as both:
        me = both.user("ann")
        assert me.post("/memos", json={"text": "hello"}).status_code == 201
        assert _unknown(both) == []
        with ResourceApi(Registry([Label]), log=log, vault=vault) as other:
            assert _unknown(other) == ["memo"]
            same = Caller(other, "ann", other.login("ann").json(), V2)
            assert same.post("/labels", json={"word": "new"}).status_code == 201
            assert_problem(same.get("/memos"), 404, "not-found")


def test_older_code_refuses_a_kind_that_newer_code_changed_and_serves_the_others(
    storage: tuple[MemoryLog, MemoryVault],
) -> None:
    log, vault = storage
    with ResourceApi(Registry([Memo, Label]), log=log, vault=vault) as old:
        me = old.user("ann")
        assert me.post("/memos", json={"text": "hello"}).status_code == 201
        with ResourceApi(Registry([_memo_of_tomorrow(), Label]), log=log, vault=vault) as new:
            same = Caller(new, "ann", new.login("ann").json(), V2)
            assert same.get("/memos/1").json()["color"] == "white"
            assert same.post("/memos", json={"text": "b", "color": "red"}).status_code == 201

            for refused in (
                me.get("/memos"),
                me.get("/memos/1"),
                me.post("/memos", json={"text": "c"}),
                me.patch("/memos/1", json={"text": "c"}),
                me.delete("/memos/1"),
            ):
                detail = assert_problem(refused, 503, "log-unavailable")["detail"]
                assert "memo" in detail
                assert "written" not in detail
            assert me.post("/labels", json={"word": "new"}).status_code == 201
            assert me.post("/items", json={"title": "new"}).status_code == 201
            assert _unknown(old) == ["memo"]
            assert same.post("/memos", json={"text": "d"}).status_code == 201
            auditor = old.auditor("eve").under(V2)
            elsewhere = Caller(new, "eve", new.login("eve").json(), V2)
            point = f"/audit/state?as_of={log.position}"
            states = [one.get(point).json() for one in (auditor, elsewhere)]
            assert states[0] == states[1], "the verbs suffice for counts and digest"


def test_an_auditor_sees_the_values_of_a_kind_that_the_code_does_not_declare(
    storage: tuple[MemoryLog, MemoryVault],
) -> None:
    log, vault = storage
    with ResourceApi(Registry([Memo]), log=log, vault=vault) as both:
        me, auditor = both.user("ann"), both.auditor("eve").under(V2)
        assert me.post("/memos", json={"text": "hello"}).status_code == 201
        path = f"/audit/events/{log.position}"
        with ResourceApi(Registry(), log=log, vault=vault) as other:
            elsewhere = Caller(other, "eve", other.login("eve").json(), V2)
            for one in (auditor, elsewhere):
                assert one.get(path).json()["personal"] == {"text": "hello"}
            assert me.under("").erase().status_code == 204
            for one in (auditor, elsewhere):
                assert one.get(path).json()["personal"] is None
