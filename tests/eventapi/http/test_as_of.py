"""Time travel: history, ``as_of`` and restore."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventapi.commands.users import GrantRole
from eventapi.testing.items import Content, create_item, delete_item, update_item
from tests.eventapi.http.client import (
    OPERATOR,
    Api,
    Caller,
    assert_problem,
    items_of,
)
from tests.eventapi.http.streams import StreamReader, ways_to_lose_access
from tests.eventapi.queries.test_history import CountingLog


class ChangedItem:
    """An item that was created, changed twice and deleted, with the positions."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        created = caller.post("/items", json={"title": "one", "description": "first"})
        self.number = created.json()["id"]
        self.path = f"/items/{self.number}"
        changes = [
            created,
            caller.put(self.path, json={"title": "two"}),
            caller.patch(self.path, json={"description": "third"}),
            caller.delete(self.path),
        ]
        self.created, self.put, self.patched, self.deleted = (
            int(answer.headers["event-position"]) for answer in changes
        )


@pytest.fixture
def item(ann: Caller, prefix: str) -> ChangedItem:
    return ChangedItem(ann.under(prefix))


def test_the_history_of_a_deleted_item_has_every_change_oldest_first(item: ChangedItem) -> None:
    history = item.caller.get(f"{item.path}/history").json()
    me = history[0]["actor"]
    assert me.startswith("users/")
    assert [(one["position"], one["type"], one["actor"], one["changes"]) for one in history] == [
        (item.created, "item.created", me, {"title": "one", "description": "first"}),
        (item.put, "item.updated", me, {"title": "two", "description": None}),
        (item.patched, "item.updated", me, {"description": "third"}),
        (item.deleted, "item.deleted", me, {}),
    ]

    times = [one["time"] for one in history]
    assert times == sorted(times)


def test_as_of_a_position_shows_the_item_of_that_moment(item: ChangedItem) -> None:
    def contents(position: int) -> tuple[Any, ...]:
        answer = item.caller.get(f"{item.path}?as_of={position}")
        if answer.status_code == 404:
            return ("not-found",)
        assert answer.headers["etag"] == f'"{max(p for p in versions if p <= position)}"'
        return (answer.json()["title"], answer.json()["description"])

    versions = (item.created, item.put, item.patched)

    assert contents(0) == contents(item.created - 1) == contents(item.deleted) == ("not-found",)
    assert contents(item.created) == ("one", "first")
    assert contents(item.put) == ("two", None)
    assert contents(item.patched) == contents(item.deleted - 1) == ("two", "third")


def test_as_of_a_time_shows_the_item_of_that_moment(item: ChangedItem) -> None:
    history = item.caller.get(f"{item.path}/history").json()

    then = item.caller.get(f"{item.path}?as_of={history[1]['time']}")

    assert then.json()["title"] == "two"
    assert item.caller.get(item.path, params={"as_of": "2001-01-01T00:00:00+01:00"}).is_error
    assert item.caller.get(f"{item.path}?as_of=2999-01-01T00:00:00Z").status_code == 404


def test_as_of_a_position_shows_the_list_of_that_moment(ann: Caller, prefix: str) -> None:
    caller = ann.under(prefix)
    first, second = caller.create("first"), caller.create("second")
    before = int(
        caller.patch(f"/items/{first}", json={"title": "changed"}).headers["event-position"]
    )
    caller.delete(f"/items/{second}")
    caller.create("third")

    def titles(query: str) -> list[str]:
        return [one["title"] for one in items_of(caller.get(f"/items?{query}"))]

    assert titles("") == ["changed", "third"]
    assert titles(f"as_of={before}") == ["changed", "second"]
    assert titles(f"as_of={before - 1}") == ["first", "second"]
    assert titles(f"as_of={before - 1}&order=desc&q=FIR") == ["first"]
    assert titles("as_of=0") == []

    answer = caller.get(f"/items?as_of={before}&limit=1")
    assert f"as_of={before}" in answer.headers["link"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_the_pages_together_are_the_list_of_a_past_moment(
    ann: Caller, order: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when the server reads the owner's items in several parts."""
    monkeypatch.setattr("eventapi.http.routes.listing_past._PER_READ", 2)
    numbers = [ann.create(f"odd {n}" if n % 2 else f"even {n}") for n in range(9)]
    ann.delete(f"/items/{numbers[3]}")
    answer = ann.patch(f"/items/{numbers[1]}", json={"description": "odd as well"})
    then = answer.headers["event-position"]
    ann.delete(f"/items/{numbers[5]}")
    ann.create("odd and late")
    path = f"/items?as_of={then}&order={order}&limit={limit}&q=ODD"
    pages = [answer.json() for answer in ann.pages(path)]

    assert all(len(page) <= limit for page in pages)
    found = [item["id"] for page in pages for item in page]
    assert found == sorted((numbers[n] for n in (1, 5, 7)), reverse=order == "desc")


def test_a_page_of_the_past_reads_about_a_page_of_the_log() -> None:
    """Even if the owner has many items. A page of the present reads no line."""
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller()
        api.execute(*(create_item(1, Content(f"item {number}")) for number in range(1000)))
        ann.get("/items")
        before = log.lines_read
        page = ann.get(f"/items?as_of={log.position}&limit=5&after=700").json()
        assert [item["title"] for item in page] == [f"item {number}" for number in range(700, 705)]
        assert log.lines_read - before < 200


def test_a_count_of_the_past_reads_no_line_but_those_of_its_page() -> None:
    """Even if every resource has changed since, and some were deleted and restored."""
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller().under("/api/v2")
        api.execute(*(create_item(1, Content(f"item {number}")) for number in range(600)))
        api.execute(*(delete_item(1, number) for number in range(1, 101)))
        then = log.position
        for number in range(1, 11):
            assert ann.post(f"/items/{number}/restore").status_code == 200
        api.execute(*(update_item(1, number, "changed since") for number in range(101, 601)))
        ann.get("/items")
        before = log.lines_read

        page = ann.get(f"/items?as_of={then}&limit=5&order=desc&count=true").json()

        assert page["count"] == 500
        assert [item["title"] for item in page["items"]] == [
            f"item {n}" for n in range(599, 594, -1)
        ]
        assert log.lines_read - before < 200
        assert ann.get(f"/items?as_of={then - 1}&count=true&limit=1").json()["count"] == 501
        assert ann.get(f"/items?as_of={log.position}&count=true&limit=1").json()["count"] == 510


def test_a_list_of_the_past_reads_no_line_of_what_has_not_changed_since() -> None:
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller().under("/api/v2")
        api.execute(*(create_item(1, Content(f"item {number}")) for number in range(600)))
        then = log.position
        assert ann.patch("/items/300", json={"title": "changed since"}).status_code == 200
        before = log.lines_read

        page = ann.get(f"/items?as_of={then}&q=item&sort=title&count=true").json()

        assert page["count"] == 600
        assert log.lines_read - before < 10


@pytest.mark.parametrize("fraction", ["", ".5", ".123456789"])
def test_a_time_may_have_any_form_of_rfc_3339(ann: Caller, fraction: str) -> None:
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
def test_a_time_is_accepted_as_clients_write_it(
    api: Api, ann: Caller, time: str, prefix: str
) -> None:
    """A plus may be unencoded and mean a space, and the link to the next page works."""
    me = ann.under(prefix)
    number = me.create()
    me.create()
    assert me.get(f"/items/{number}?as_of={time}").status_code == 200

    page = me.get(f"/items?limit=1&as_of={time}")
    assert page.status_code == 200

    second = api.request("GET", page.links["next"]["url"], token=me.token)
    assert second.status_code == 200

    api.execute(GrantRole(me.name, "auditor", OPERATOR))
    assert me.get(f"/audit/state?as_of={time}").status_code == 200


@pytest.mark.parametrize(
    "point", ["-1", "", "now", "01", "1.0", "2026-01-01", "2026-01-01T00:00:00", "9" * 18, "x" * 41]
)
def test_an_invalid_or_future_point_is_refused(ann: Caller, point: str) -> None:
    number = ann.create()
    for path in (f"/items/{number}", "/items"):
        problem = assert_problem(ann.get(path, params={"as_of": point}), 422, "validation-failed")
        assert problem["errors"][0]["pointer"] == "/as_of"


def test_a_restore_undoes_a_deletion(item: ChangedItem) -> None:
    answer = item.caller.post(f"{item.path}/restore")
    assert answer.status_code == 200
    assert (answer.json()["title"], answer.json()["description"]) == ("two", "third")

    position = int(answer.headers["event-position"])
    assert answer.headers["etag"] == f'"{position}"'
    assert item.caller.get(item.path).json() == answer.json()

    history = item.caller.get(f"{item.path}/history").json()
    assert (history[-1]["position"], history[-1]["type"]) == (position, "item.restored")
    assert history[-1]["changes"] == {"title": "two", "description": "third"}


@pytest.mark.parametrize("deleted", [True, False])
def test_a_restore_brings_back_an_earlier_version(ann: Caller, deleted: bool) -> None:
    item = ChangedItem(ann)
    if not deleted:
        ann.post(f"{item.path}/restore")
    answer = ann.post(f"{item.path}/restore", json={"as_of": item.created})
    assert (answer.json()["title"], answer.json()["description"]) == ("one", "first")


@pytest.mark.parametrize(
    "as_of",
    [
        *("1", "0", " 1", "1.0", "01", "-1", "", "now", "2026-01-01", "2999-01-01T00:00:00Z\n"),
        *(1.0, 1.5, -1, True, None, [1], {"position": 1}, 2**63),
    ],
)
def test_a_restore_refuses_points_of_another_type(item: ChangedItem, as_of: Any) -> None:
    """A body is strict: a position is a number, and a time a text."""
    path = "/api/v2" + item.path.removeprefix("/api/v1").removeprefix("/api/v2")
    api, token = item.caller.api, item.caller.token

    answer = item.caller.post(f"{item.path}/restore", json={"as_of": as_of})
    request = {"method": "POST", "path": f"{item.path}/restore", "body": {"as_of": as_of}}
    part = api.request("POST", "/api/v2/batch", token=token, json={"requests": [request]})

    assert answer.status_code == 422
    problem = assert_problem(part, 422, "validation-failed")
    assert problem["errors"][-1]["pointer"] == "/requests/0/body/as_of"
    assert item.caller.get(path).status_code == 404


def test_the_history_of_a_restored_item_continues(item: ChangedItem) -> None:
    item.caller.post(f"{item.path}/restore", json={"as_of": item.created})
    item.caller.delete(item.path)

    answer = item.caller.post(f"{item.path}/restore", json={})

    assert answer.json()["title"] == "one"
    assert len(item.caller.get(f"{item.path}/history").json()) == 7


def test_a_restore_to_a_point_without_the_item_is_refused(ann: Caller) -> None:
    item = ChangedItem(ann)
    for as_of in (0, item.created - 1, item.deleted):
        answer = ann.post(f"{item.path}/restore", json={"as_of": as_of})
        assert_problem(answer, 404, "not-found")

    answer = ann.post(f"{item.path}/restore", json={"as_of": 10**9})
    problem = assert_problem(answer, 422, "validation-failed")

    assert problem["errors"][0]["pointer"] == "/as_of"


def test_a_restore_of_an_existing_item_needs_a_point(ann: Caller) -> None:
    number = ann.create()
    hows: list[dict[str, Any]] = [{}, {"json": {}}]

    for how in hows:
        assert_problem(ann.post(f"/items/{number}/restore", **how), 422, "validation-failed")


@pytest.mark.parametrize("as_of", [-1, 1.0, True, None, [], "", 2**63, {"x": 1}])
def test_a_restore_with_an_invalid_point_is_refused(ann: Caller, as_of: object) -> None:
    item = ChangedItem(ann)
    answer = ann.post(f"{item.path}/restore", json={"as_of": as_of})

    assert_problem(answer, 422, "validation-failed")


def test_a_restore_obeys_if_match(ann: Caller) -> None:
    item = ChangedItem(ann)
    for tag in ('"1"', f'W/"{item.deleted - 1}"', '"never given out"'):
        other = ann.post(f"{item.path}/restore", headers={"If-Match": tag})
        assert_problem(other, 412, "precondition-failed")

    right = ann.post(f"{item.path}/restore", headers={"If-Match": f'"{item.deleted}"'})

    assert right.status_code == 200


def test_a_repeated_restore_takes_effect_once(ann: Caller) -> None:
    item = ChangedItem(ann)
    headers = {"Idempotency-Key": "restore-once"}

    first, again = (ann.post(f"{item.path}/restore", headers=headers) for _ in range(2))

    assert first.status_code == again.status_code == 200
    assert first.headers["event-position"] == again.headers["event-position"]
    assert first.json() == again.json()


def test_the_past_of_another_users_item_is_a_404(ann: Caller, bob: Caller) -> None:
    item = ChangedItem(ann)

    for answer in (
        bob.get(f"{item.path}/history"),
        bob.get(f"{item.path}?as_of={item.created}"),
        bob.post(f"{item.path}/restore", json={"as_of": item.created}),
        bob.get("/items/99999999/history"),
    ):
        assert_problem(answer, 404, "not-found")
    assert bob.get(f"/items?as_of={item.created}").json() == []


def test_a_new_user_does_not_inherit_the_past_of_an_erased_one(new_api: Api) -> None:
    ann = new_api.caller("ann")
    item = ChangedItem(ann)

    ann.erase()
    other = new_api.caller("ann")

    assert_problem(other.get(f"{item.path}/history"), 404, "not-found")
    assert other.get(f"/items?as_of={item.patched}").json() == []


def test_a_history_includes_events_of_other_processes(new_api: Api) -> None:
    ann = new_api.caller()
    number = ann.create("here")

    new_api.execute(delete_item(ann.owner_id(number), number))

    assert [one["type"] for one in ann.get(f"/items/{number}/history").json()] == [
        "item.created",
        "item.deleted",
    ]


@pytest.mark.parametrize("query", ["", "&q=item&order=desc"])
@pytest.mark.parametrize("end", ["logged out", "erased"])
def test_a_long_list_of_the_past_is_read_at_the_pace_of_the_client(query: str, end: str) -> None:
    """The first part is sent early, and the client may lose access in the middle."""
    log = CountingLog()
    with Api(log=log) as api:
        ann = api.caller()
        api.execute(*(create_item(1, Content(f"item {number}")) for number in range(1500)))
        query = f"as_of={log.position}{query}"
        # What has not changed since is not read.
        api.execute(*(update_item(1, number, "changed since") for number in range(1, 1501)))
        ann.get("/items?limit=1")
        whole, lines = StreamReader(ann, "/items", "application/json", query), 0

        async def count() -> None:
            nonlocal lines
            lines = log.lines_read - before

        before = log.lines_read
        whole.read((b"item", count))
        assert (whole.is_complete, len(json.loads(whole.body))) == (True, 1500)
        assert 500 <= lines < 1000

        assert ann.head(f"/items?{query}").status_code == 200
        cut = StreamReader(ann, "/items", "application/json", query)
        cut.read((b"item", ways_to_lose_access(ann)[end]))
        assert (cut.status, cut.is_complete) == (200, False)
