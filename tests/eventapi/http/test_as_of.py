"""Time travel: history, ``as_of`` and restore."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from eventapi.commands.items import CreateItem, DeleteItem
from eventapi.commands.users import GrantRole
from events.vocabulary.items import Content
from tests.eventapi.http.client import Api, Caller, assert_problem, elsewhere
from tests.eventapi.http.routes.test_events import Taker, ends
from tests.eventapi.queries.test_history import CountingLog


class Told:
    """An item with a past: made, changed twice, deleted; and the positions of that."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        made = caller.post("/items", json={"title": "one", "description": "first"})
        self.number = made.json()["id"]
        self.path = f"/items/{self.number}"
        changes = [
            made,
            caller.request("PUT", self.path, json={"title": "two"}),
            caller.patch(self.path, json={"description": "third"}),
            caller.request("DELETE", self.path),
        ]
        self.made, self.put, self.patched, self.deleted = (
            int(answer.headers["event-position"]) for answer in changes
        )


@pytest.fixture
def told(ann: Caller, prefix: str) -> Told:
    return Told(ann.under(prefix))


def test_a_history_has_every_change_oldest_first_also_after_the_deletion(told: Told) -> None:
    history = told.caller.get(f"{told.path}/history").json()
    me = history[0]["actor"]
    assert me.startswith("users/")
    assert [(one["position"], one["type"], one["actor"], one["changes"]) for one in history] == [
        (told.made, "item.created", me, {"title": "one", "description": "first"}),
        (told.put, "item.updated", me, {"title": "two", "description": None}),
        (told.patched, "item.updated", me, {"description": "third"}),
        (told.deleted, "item.deleted", me, {}),
    ]
    times = [one["time"] for one in history]
    assert times == sorted(times)


def test_an_item_is_shown_as_it_stood_at_a_position(told: Told) -> None:
    def contents(position: int) -> tuple[Any, ...]:
        answer = told.caller.get(f"{told.path}?as_of={position}")
        if answer.status_code == 404:
            return ("not-found",)
        assert answer.headers["etag"] == f'"{max(p for p in versions if p <= position)}"'
        return (answer.json()["title"], answer.json()["description"])

    versions = (told.made, told.put, told.patched)
    assert contents(0) == contents(told.made - 1) == contents(told.deleted) == ("not-found",)
    assert contents(told.made) == ("one", "first")
    assert contents(told.put) == ("two", None)
    assert contents(told.patched) == contents(told.deleted - 1) == ("two", "third")


def test_an_item_is_shown_as_it_stood_at_a_time(told: Told) -> None:
    history = told.caller.get(f"{told.path}/history").json()
    then = told.caller.get(f"{told.path}?as_of={history[1]['time']}")
    assert then.json()["title"] == "two"
    assert told.caller.get(told.path, params={"as_of": "2001-01-01T00:00:00+01:00"}).is_error
    assert told.caller.get(f"{told.path}?as_of=2999-01-01T00:00:00Z").status_code == 404


def test_a_list_is_shown_as_it_was(ann: Caller, prefix: str) -> None:
    caller = ann.under(prefix)
    first, second = caller.create("first"), caller.create("second")
    before = int(
        caller.patch(f"/items/{first}", json={"title": "changed"}).headers["event-position"]
    )
    caller.request("DELETE", f"/items/{second}")
    caller.create("third")

    def titles(query: str) -> list[str]:
        page = caller.get(f"/items?{query}").json()
        return [item["title"] for item in (page if isinstance(page, list) else page["items"])]

    assert titles("") == ["changed", "third"]
    assert titles(f"as_of={before}") == ["changed", "second"]
    assert titles(f"as_of={before - 1}") == ["first", "second"]
    assert titles(f"as_of={before - 1}&order=desc&q=FIR") == ["first"]
    assert titles("as_of=0") == []
    answer = caller.get(f"/items?as_of={before}&limit=1")
    assert f"as_of={before}" in answer.headers["link"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_pages_lead_through_a_list_as_it_was(
    ann: Caller, order: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where what the owner ever had is looked at in several goes."""
    monkeypatch.setattr("eventapi.http.routes.listing._ITEMS_PER_READ", 2)
    numbers = [ann.create(f"odd {n}" if n % 2 else f"even {n}") for n in range(9)]
    ann.request("DELETE", f"/items/{numbers[3]}")
    answer = ann.patch(f"/items/{numbers[1]}", json={"description": "odd as well"})
    then = answer.headers["event-position"]
    ann.request("DELETE", f"/items/{numbers[5]}")
    ann.create("odd and late")
    found: list[int] = []
    where: str | None = f"/items?as_of={then}&order={order}&limit={limit}&q=ODD"
    while where is not None:
        answer = ann.get(where)
        assert len(answer.json()) <= limit
        found += [item["id"] for item in answer.json()]
        where = answer.links.get("next", {}).get("url")
    assert found == sorted((numbers[n] for n in (1, 5, 7)), reverse=order == "desc")


def test_a_page_of_the_past_takes_no_more_of_the_log_than_a_page() -> None:
    """However much the owner has; a page of today takes nothing of the log at all."""
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller()
        elsewhere(api, *(CreateItem(1, Content(f"item {number}")) for number in range(1000)))
        ann.get("/items")
        before = log.lines_read
        page = ann.get(f"/items?as_of={log.position}&limit=5&after=700").json()
        assert [item["title"] for item in page] == [f"item {number}" for number in range(700, 705)]
        assert log.lines_read - before < 200


@pytest.mark.parametrize("fraction", ["", ".5", ".123456789"])
def test_a_time_may_have_any_form_of_the_rfc(ann: Caller, fraction: str) -> None:
    number = ann.create()
    for time in (f"2999-01-01T00:00:00{fraction}Z", f"2999-01-01t00:00:00{fraction}z"):
        for path in (f"/items/{number}", "/items"):
            assert ann.get(path, params={"as_of": time}).status_code == 200
        answer = ann.post(f"/items/{number}/restore", json={"as_of": time})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "time",
    [
        *("2999-01-01T00:00:00+01:00", "2999-01-01T00:00:00%2B01:00", "2999-01-01T00:00:00-05:30"),
        *("2999-01-01t00:00:00+00:00", "2998-12-31T23:59:60Z", "2998-12-31T23:59:60+00:00"),
        *("2998-12-31T23:59:60.5Z", "2999-01-01%2000:00:00Z", "2999-01-01+00:00:00+00:00"),
    ],
)
def test_a_time_is_taken_as_clients_write_it(api: Api, ann: Caller, time: str, prefix: str) -> None:
    """Also not percent-encoded, where a plus means a space; and a page leads on to the next."""
    me = ann.under(prefix)
    number = me.create()
    me.create()
    assert me.get(f"/items/{number}?as_of={time}").status_code == 200
    page = me.get(f"/items?limit=1&as_of={time}")
    assert page.status_code == 200
    second = api.request("GET", page.links["next"]["url"], token=me.token)
    assert second.status_code == 200
    elsewhere(api, GrantRole(me.name, "auditor", "operator/test"))
    assert me.get(f"/audit/state?as_of={time}").status_code == 200


@pytest.mark.parametrize(
    "point", ["-1", "", "now", "01", "1.0", "2026-01-01", "2026-01-01T00:00:00", "9" * 18, "x" * 41]
)
def test_a_point_that_is_none_or_is_not_yet_is_refused(ann: Caller, point: str) -> None:
    number = ann.create()
    for path in (f"/items/{number}", "/items"):
        problem = assert_problem(ann.get(path, params={"as_of": point}), 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "/as_of"


def test_a_deletion_is_undone(told: Told) -> None:
    answer = told.caller.post(f"{told.path}/restore")
    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["description"]) == ("two", "third")
    position = int(answer.headers["event-position"])
    assert answer.headers["etag"] == f'"{position}"'
    assert told.caller.get(told.path).json() == answer.json()
    history = told.caller.get(f"{told.path}/history").json()
    assert (history[-1]["position"], history[-1]["type"]) == (position, "item.restored")
    assert history[-1]["changes"] == {"title": "two", "description": "third"}


@pytest.mark.parametrize("deleted", [True, False])
def test_an_earlier_content_is_brought_back(ann: Caller, deleted: bool) -> None:
    told = Told(ann)
    if not deleted:
        ann.post(f"{told.path}/restore")
    for as_of in (told.made, str(told.made)):
        answer = ann.post(f"{told.path}/restore", json={"as_of": as_of})
        assert (answer.json()["title"], answer.json()["description"]) == ("one", "first")


def test_a_restored_item_is_listed_and_its_past_goes_on(told: Told) -> None:
    told.caller.post(f"{told.path}/restore", json={"as_of": told.made})
    told.caller.request("DELETE", told.path)
    answer = told.caller.post(f"{told.path}/restore", json={})
    assert answer.json()["title"] == "one"
    assert len(told.caller.get(f"{told.path}/history").json()) == 7


def test_a_restore_of_what_was_not_there_is_refused(ann: Caller) -> None:
    told = Told(ann)
    for as_of in (0, told.made - 1, told.deleted):
        answer = ann.post(f"{told.path}/restore", json={"as_of": as_of})
        assert_problem(answer, 404, "not-found")
    answer = ann.post(f"{told.path}/restore", json={"as_of": 10**9})
    problem = assert_problem(answer, 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == "/as_of"


def test_a_live_item_is_restored_to_a_named_point_only(ann: Caller) -> None:
    number = ann.create()
    hows: list[dict[str, Any]] = [{}, {"json": {}}]
    for how in hows:
        assert_problem(ann.post(f"/items/{number}/restore", **how), 422, "validation-failed")


@pytest.mark.parametrize("as_of", [-1, 1.0, True, None, [], "", 2**63, {"x": 1}])
def test_a_restore_has_a_point_or_nothing(ann: Caller, as_of: object) -> None:
    told = Told(ann)
    answer = ann.post(f"{told.path}/restore", json={"as_of": as_of})
    assert_problem(answer, 422, "validation-failed")


def test_a_restore_keeps_conditions(ann: Caller) -> None:
    told = Told(ann)
    for tag in ('"1"', f'W/"{told.deleted - 1}"', '"never given out"'):
        other = ann.post(f"{told.path}/restore", headers={"If-Match": tag})
        assert_problem(other, 412, "precondition-failed")
    right = ann.post(f"{told.path}/restore", headers={"If-Match": f'"{told.deleted}"'})
    assert right.status_code == 200


def test_a_restore_has_its_effect_once(ann: Caller) -> None:
    told = Told(ann)
    headers = {"Idempotency-Key": "restore-once"}
    first, again = (ann.post(f"{told.path}/restore", headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.headers["event-position"] == again.headers["event-position"]
    assert first.json() == again.json()


def test_what_others_had_is_not_there(ann: Caller, bob: Caller) -> None:
    told = Told(ann)
    for answer in (
        bob.get(f"{told.path}/history"),
        bob.get(f"{told.path}?as_of={told.made}"),
        bob.post(f"{told.path}/restore", json={"as_of": told.made}),
        bob.get("/items/99999999/history"),
    ):
        assert_problem(answer, 404, "not-found")
    assert bob.get(f"/items?as_of={told.made}").json() == []


def test_who_is_erased_leaves_no_past_for_who_takes_the_name(new_api: Api) -> None:
    ann = new_api.caller("ann")
    told = Told(ann)
    ann.request("DELETE", "/auth/me", json={"password": "correct horse battery staple"})
    other = new_api.caller("ann")
    assert_problem(other.get(f"{told.path}/history"), 404, "not-found")
    assert other.get(f"/items?as_of={told.patched}").json() == []


def test_the_past_is_up_to_date_with_other_processes(new_api: Api) -> None:
    ann = new_api.caller()
    number = ann.create("here")
    owner = int(ann.get(f"/items/{number}/history").json()[0]["actor"].removeprefix("users/"))
    elsewhere(new_api, DeleteItem(owner, number))
    assert [one["type"] for one in ann.get(f"/items/{number}/history").json()] == [
        "item.created",
        "item.deleted",
    ]


@pytest.mark.parametrize("query", ["", "&q=item&order=desc"])
@pytest.mark.parametrize("end", ["logged out", "erased"])
def test_a_long_list_of_the_past_is_read_as_the_client_takes_it(query: str, end: str) -> None:
    """Its first piece comes before most of it is read, and its rights may end in the middle."""
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller()
        elsewhere(api, *(CreateItem(1, Content(f"item {number}")) for number in range(1500)))
        ann.get("/items?limit=1")
        query = f"as_of={log.position}{query}"
        whole, lines = Taker(ann, "/items", "application/json", query), 0

        async def count() -> None:
            nonlocal lines
            lines = log.lines_read - before

        before = log.lines_read
        api.run(asyncio.wait_for(whole.take((b"item", count)), 20))
        assert (whole.is_whole, len(json.loads(whole.body))) == (True, 1500)
        assert 500 <= lines < 1000
        assert ann.request("HEAD", f"/items?{query}").status_code == 200
        cut = Taker(ann, "/items", "application/json", query)
        api.run(asyncio.wait_for(cut.take((b"item", ends(ann)[end])), 20))
        assert (cut.status, cut.is_whole) == (200, False)
