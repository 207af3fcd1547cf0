"""What is served live is what a replay serves, and nothing else is accepted."""

# ruff: noqa: RUF012 - a Struct copies its default values

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, structs

from eventapi.commands.resources import Import
from eventapi.resources import Access, Clear, Global, Resource, action
from eventapi.resources.declared import declare
from eventapi.resources.registry import Registry
from events.errors import ConfigurationError, NotUnique
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


class Badge(Resource):
    """Unique values whose defaults and actions are of other types than the fields."""

    unique = (Global("color", "day"),)
    color: Color = "red"  # type: ignore[assignment]  # a value of JSON
    day: date = "2026-01-01"  # type: ignore[assignment]  # a value of JSON

    @action
    def reset(self) -> Badge:
        return structs.replace(self, color="red", day="2026-01-01")


class Span(msgspec.Struct):
    """Times in a Struct."""

    start: datetime
    stops: list[datetime | None] = []
    note: Annotated[str, Meta(max_length=3)] = ""


class Trip(Resource):
    """Times and decimal numbers everywhere."""

    at: datetime
    span: Clear[Span | None] = None
    by_name: dict[str, list[datetime]] = {}
    price: Decimal = Decimal(0)
    prices: list[Decimal] = []

    @action
    def keep(self, *, span: Span) -> Trip:
        assert self.span == span
        return structs.replace(self, span=span)

    @action
    def delay(self, *, at: datetime, price: Decimal = Decimal(0)) -> Trip:
        return structs.replace(self, at=at, price=price)


class Guide(msgspec.Struct):
    """A Struct without times."""

    name: str


class Day(msgspec.Struct):
    """Times below other values."""

    guide: Guide
    spans: dict[str, list[Span | None]] = {}


class Tour(Resource):
    """Fields with times, and without them."""

    guides: list[Guide] = []
    by_name: dict[str, Guide | None] = {}
    at: datetime | None = None
    stops: list[datetime] = []
    first: Day | None = None
    day: date | None = None


class Plan(Resource):
    """Only editors write."""

    access = Access(write="editor")
    shareable = True
    text: str = ""


REGISTRY = Registry([Thing, Page, Badge, Trip, Plan])


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


def test_a_unique_value_is_taken_however_it_is_written(api: ResourceApi) -> None:
    me = api.user()
    assert me.post("/badges", json={}).status_code == 201
    assert me.post("/badges", json={"color": "blue"}).status_code == 201
    assert_problem(me.post("/badges", json={}), 409, "not-unique")
    assert_problem(me.post("/badges", json={"day": "2026-01-01"}), 409, "not-unique")
    assert_problem(me.post("/badges/2/reset"), 409, "not-unique")


def test_a_unique_default_of_an_import_is_taken_as_well(api: ResourceApi) -> None:
    badge, name = REGISTRY.by_collection["badges"], api.user().name
    values = {"color": "red", "day": "2026-01-01"}
    one = Import(badge, name, values, None, None, 0, "operator/x")
    api.execute(one)
    with pytest.raises(NotUnique):
        api.execute(one)


NOON = "2026-01-01T12:00:00Z"
SHOWN = "2026-01-01T12:00:00.000000Z"


def test_every_time_of_a_response_has_microseconds(api: ResourceApi) -> None:
    me = api.user()
    body = {"at": "2026-01-01T13:00:00+01:00", "by_name": {"a": [NOON, NOON]}}
    body |= {"span": {"start": NOON, "stops": [None, NOON]}}
    shown = {"at": SHOWN, "by_name": {"a": [SHOWN, SHOWN]}}
    shown |= {"span": {"start": SHOWN, "stops": [None, SHOWN], "note": ""}}

    created = me.post("/trips", json=body)
    answers = [
        created.json(),
        me.get("/trips/1").json(),
        me.get("/trips").json()["items"][0],
        me.get(f"/trips?as_of={created.json()['version']}&fields=at,by_name,span").json()["items"][
            0
        ],
        me.get("/trips/1/history").json()[0]["changes"],
        me.post("/trips/1/delay", json={"at": NOON}).json(),
    ]

    for answer in answers:
        assert {name: answer[name] for name in shown} == shown


def test_only_fields_that_may_have_times_are_searched_for_them() -> None:
    assert declare(Tour).times == ("at", "stops", "first")


def test_chosen_members_are_those_of_the_whole(api: ResourceApi) -> None:
    me = api.user()
    body = {"at": "2026-01-01T00:00:00Z", "span": {"start": "2026-01-01T00:00:00+01:00"}}
    assert me.post("/trips", json=body).status_code == 201
    (whole,) = me.get("/trips").json()["items"]
    names = ",".join(reversed(whole))
    (chosen,) = me.get(f"/trips?fields={names}").json()["items"]
    assert list(chosen.items()) == list(reversed(whole.items()))


def test_an_action_compares_nested_values_and_changes_none_of_them(api: ResourceApi) -> None:
    me = api.user()
    me.post("/trips", json={"at": NOON, "span": {"start": NOON, "note": "a"}})
    answer = me.post("/trips/1/keep", json={"span": {"start": NOON, "note": "a"}})
    assert answer.status_code == 200, answer.text
    assert me.get("/trips/1/history").json()[-1]["changes"] == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "pointers"),
    [
        ("POST", "/trips", {"at": NOON, "price": 1.5}, ["/price"]),
        ("POST", "/trips", {"at": NOON, "prices": ["1", 2, 3]}, ["/prices/1", "/prices/2"]),
        ("POST", "/trips", {"price": 1, "more": 1}, ["/at", "/price", "/more"]),
        ("PUT", "/trips/1", {"at": NOON, "price": -1}, ["/price"]),
        ("PATCH", "/trips/1", {"prices": [0]}, ["/prices/0"]),
        ("POST", "/trips/1/delay", {"at": NOON, "price": 1}, ["/price"]),
        (
            "POST",
            "/batch",
            {"requests": [{"method": "PATCH", "path": "/trips/1", "body": {"price": 1}}]},
            ["/requests/0", "/requests/0/body/price"],
        ),
    ],
)
def test_a_decimal_number_is_a_string(
    api: ResourceApi, method: str, path: str, body: object, pointers: list[str]
) -> None:
    me = api.user()
    assert me.post("/trips", json={"at": NOON, "price": "1.50"}).json()["price"] == "1.50"
    problem = assert_problem(me.request(method, path, json=body), 422, "validation-failed")
    assert [fault["pointer"] for fault in problem["errors"]] == pointers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/trips", {"at": NOON, "price": "1_000"}),
        ("PUT", "/trips/1", {"at": NOON, "price": " 5 "}),
        ("PATCH", "/trips/1", {"price": "\u0663"}),
        ("POST", "/trips/1/delay", {"at": NOON, "price": "+5"}),
        ("POST", "/trips/1/delay", {"at": NOON, "price": "NaN"}),
    ],
)
def test_a_decimal_number_has_the_form_of_a_json_number(
    api: ResourceApi, method: str, path: str, body: object
) -> None:
    me = api.user()
    assert me.post("/trips", json={"at": NOON, "price": "-0.50"}).json()["price"] == "-0.50"
    problem = assert_problem(me.request(method, path, json=body), 422, "validation-failed")
    (fault,) = problem["errors"]
    assert fault["pointer"] == "/price"
    assert fault["detail"] == 'must be a decimal number as a string such as "1.50"'


def test_the_openapi_document_has_the_form_of_a_decimal_number(api: ResourceApi) -> None:
    document = api.user().under("").get("/openapi.json").json()
    forms = [one for one in schemas_in(document) if one.get("format") == "decimal"]
    assert len(forms) > 3
    for form in forms:
        assert re.search(form["pattern"], "-0.50")
        assert not re.search(form["pattern"], "1_000")


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from schemas_in(inner)


@pytest.mark.parametrize(
    "query",
    [
        "price.gt=1_0",
        "price=.5",
        "price.in=1,+2",
        "price.le=NaN",
        "at=0",
        "at.gt=1767225600",
        "price=1e",
        "rate=1_0",
        "rate=nan",
        "id=1.0",
        "id=1e0",
        "id=+1",
    ],
)
def test_a_filter_is_strict(api: ResourceApi, query: str) -> None:
    path = "/things" if query.startswith("rate") else "/trips"
    problem = assert_problem(api.user().get(f"{path}?{query}"), 422, "validation-failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [f"/{query.partition('=')[0]}"]


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
