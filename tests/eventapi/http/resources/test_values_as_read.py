"""What is served live is what a replay serves, and nothing else is accepted."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta, structs

from eventapi.resources import Access, Clear, Global, Resource, action
from eventapi.resources.declared import declare
from eventapi.resources.registry import Registry
from events.errors import ConfigurationError
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.server import V2, ResourceApi


class Color(enum.Enum):
    """Two colors."""

    RED = "red"
    BLUE = "blue"


class Thing(Resource):
    """Values of every type that Python takes for another one."""

    rate: float = 1
    price: Decimal = Decimal(0)
    color: Color = Color.RED
    size: Literal[0, 1, 2] = 0
    due: date | None = None
    days: list[date] = msgspec.field(default_factory=lambda: [date(2026, 1, 1)])

    @action
    def repaint(self) -> Thing:
        return structs.replace(self, color="blue", due="2026-01-01", rate=5)

    @action
    def flag(self) -> Thing:
        return structs.replace(self, size=True)

    @action
    def halve(self) -> Thing:
        return structs.replace(self, size=self.size / 2)


class Page(Resource):
    """A unique value with a default."""

    unique = (Global("slug"),)
    slug: str = "home"


class Plan(Resource):
    """Only editors write."""

    access = Access(write="editor")
    shareable = True
    text: str = ""


REGISTRY = Registry([Thing, Page, Plan])


@pytest.fixture
def api() -> Iterator[ResourceApi]:
    with ResourceApi(REGISTRY, log=MemoryLog(), vault=MemoryVault()) as running:
        yield running


def replayed(api: ResourceApi, caller: Caller, path: str) -> object:
    """What another process answers, which has replayed the log."""
    with ResourceApi(REGISTRY, log=api.log, vault=api.vault) as other:
        token = other.login(caller.name).json()
        return Caller(other, caller.name, token, V2).get(path).json()


@pytest.mark.parametrize(
    "path",
    [
        "/things/1",
        "/things?days.contains=2026-01-01",
        "/things?color=blue",
        "/things?due=2026-01-01",
        "/things?sort=-due,price",
    ],
)
def test_defaults_and_actions_leave_the_values_of_a_replay(api: ResourceApi, path: str) -> None:
    me = api.user()
    assert me.post("/things", json={}).status_code == 201
    assert me.post("/things/1/repaint").status_code == 200
    assert me.post("/things", json={}).status_code == 201
    live = me.get(path).json()
    assert live == replayed(api, me, path)
    assert live != {"items": [], "next": None}


@pytest.mark.parametrize("name", ["flag", "halve"])
def test_a_literal_is_not_what_equals_it(api: ResourceApi, name: str) -> None:
    me = api.user()
    me.post("/things", json={"size": 2})
    assert_problem(me.post(f"/things/1/{name}"), 422, "validation-failed")
    assert me.get("/things/1").json()["size"] == 2


def test_an_erased_default_frees_nobody_elses_unique_value(api: ResourceApi) -> None:
    bob, ann, cid = api.user("bob"), api.user("ann"), api.user("cid")
    assert ann.post("/pages", json={"slug": "anns"}).status_code == 201
    assert bob.post("/pages", json={}).status_code == 201
    assert ann.patch("/pages/1", json={"slug": "other"}).status_code == 200
    assert ann.under("").erase().status_code == 204
    with ResourceApi(REGISTRY, log=api.log, vault=api.vault) as other:
        same = Caller(other, "cid", other.login("cid").json(), V2)
        assert_problem(same.post("/pages", json={}), 409, "not-unique")
    assert_problem(cid.post("/pages", json={}), 409, "not-unique")


def test_a_role_named_like_a_rule_opens_nothing(api: ResourceApi) -> None:
    ann, bob = api.user("ann"), api.user("bob", "owner")
    ann.post("/items", json={"title": "mine"})
    ann.post("/things", json={})
    for path in ("/items", "/things"):
        assert bob.get(path).json()["items"] == []
        assert_problem(bob.get(f"{path}/1"), 404, "not-found")


def test_an_owner_who_may_not_write_lets_nobody_write(api: ResourceApi) -> None:
    ann, bob = api.user("ann", "editor"), api.user("bob")
    assert ann.post("/plans", json={"text": "x"}).status_code == 201
    api.revoke(ann, "editor")
    share = f"/plans/1/shares/{bob.name}"
    assert_problem(ann.put(share, json={"can": "write"}), 403, "forbidden")
    assert ann.put(share, json={"can": "read"}).status_code == 200


@pytest.mark.parametrize("body", ['{"title":"$0","x":1e999}', '{"title":"$0","description":1e999}'])
def test_a_number_out_of_range_in_a_batch_is_a_fault(api: ResourceApi, body: str) -> None:
    content = f'{{"requests":[{{"method":"POST","path":"/items","body":{body}}}]}}'
    headers = {"content-type": "application/json"}
    answer = api.user().post("/batch", content=content, headers=headers)
    assert_problem(answer, 422, "validation-failed")


@pytest.mark.parametrize("order", ["id,id", "id,-created_at,id", "-created_at,id,id"])
def test_an_order_may_name_the_number_twice(api: ResourceApi, order: str) -> None:
    me = api.user()
    for title in "abc":
        me.post("/items", json={"title": title})
    pages = [answer.json()["items"] for answer in me.pages(f"/items?sort={order}&limit=1")]
    assert sorted(item["title"] for (item,) in pages) == ["a", "b", "c"]


def test_limits_around_an_optional_hold(api: ResourceApi) -> None:
    class Note(Resource):
        text: Annotated[str | None, Meta(max_length=3)] = None
        count: Annotated[int | None, Meta(ge=0)] = None

    faults = declare(Note).rules.faults({"text": "long", "count": -1})
    assert [fault.pointer for fault in faults] == ["/text", "/count"]


def test_clear_inside_a_union_stops_the_start() -> None:
    class Note(Resource):
        due: Clear[date] | None = None

    with pytest.raises(ConfigurationError, match=r"Note: due: .* Clear\[\.\.\. \| None\]"):
        declare(Note)
