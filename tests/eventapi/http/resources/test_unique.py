"""Values that must be unique, also if two processes write at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.bootstrap.storage import SYSTEM
from eventapi.commands.resources import Create
from eventapi.journal.journal import Journal
from events.errors import NotUnique
from tests.eventapi.http.client import Caller, assert_problem
from tests.eventapi.http.resources.kinds import INVOICES
from tests.eventapi.http.resources.server import ResourceApi

INVOICE = INVOICES.by_collection["invoices"]


@pytest.fixture(scope="module")
def api() -> Iterator[ResourceApi]:
    with ResourceApi(INVOICES) as running:
        yield running


@pytest.fixture
def me(api: ResourceApi) -> Caller:
    return api.user()


def create(me: Caller, number: str) -> dict[str, Any]:
    answer = me.post("/invoices", json={"number": number})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_taken_value_is_refused_by_every_way_to_set_it(me: Caller) -> None:
    create(me, "A")
    other = create(me, "B")
    path = f"/invoices/{other['id']}"
    renamed = me.put(path, json={"number": "C"})
    create(me, "B")

    attempts = [
        me.post("/invoices", json={"number": "A"}),
        me.put(path, json={"number": "A"}),
        me.patch(path, json={"number": "A"}),
        me.post(f"{path}/renumber", json={"number": "A"}),
        # Its own earlier value is that of another invoice now.
        me.post(f"{path}/restore", json={"as_of": other["version"]}),
    ]

    for answer in attempts:
        problem = assert_problem(answer, 409, "not-unique")
        assert [fault["pointer"] for fault in problem["errors"]] == ["/number"]
    assert me.get(path).json() == renamed.json()


def test_a_value_is_free_after_a_change_and_a_deletion(me: Caller) -> None:
    first = create(me, "A")
    me.patch(f"/invoices/{first['id']}", json={"number": "B"})
    second = create(me, "A")
    me.delete(f"/invoices/{second['id']}")
    third = create(me, "A")

    assert_problem(me.post(f"/invoices/{second['id']}/restore", json={}), 409, "not-unique")
    me.delete(f"/invoices/{third['id']}")
    assert me.post(f"/invoices/{second['id']}/restore", json={}).json()["number"] == "A"


def test_setting_the_own_value_again_is_no_conflict(me: Caller) -> None:
    path = f"/invoices/{create(me, 'A')['id']}"
    for answer in (me.put(path, json={"number": "A"}), me.patch(path, json={"number": "A"})):
        assert answer.status_code == 200


def test_another_owner_may_have_the_value_unless_it_is_global(api: ResourceApi) -> None:
    ann, bob = api.user(), api.user()
    create(ann, "A")
    create(bob, "A")

    assert ann.post("/passports", json={"code": "X"}).status_code == 201
    problem = assert_problem(bob.post("/passports", json={"code": "X"}), 409, "not-unique")
    assert [fault["pointer"] for fault in problem["errors"]] == ["/code"]


def test_one_of_two_concurrent_requests_wins(me: Caller) -> None:
    requests = [
        ("POST", "/api/v2/invoices", {"token": me.token, "json": {"number": f"N{at // 4}"}})
        for at in range(12)
    ]
    statuses = [answer.status_code for answer in me.api.request_all(requests)]
    assert sorted(statuses) == [201] * 3 + [409] * 9


def test_one_of_two_processes_wins(api: ResourceApi, me: Caller) -> None:
    """Two journals over one log, as two processes have them, and the server itself."""
    create(me, "FIRST")
    user = owner_of(me)
    values = {"number": "RACE", "customer": "c", "cents": 0, "due": None}
    values |= {"paid": False, "rate": 0.0, "tags": []}

    async def race() -> list[object]:
        journals = [Journal(api.log, api.vault, INVOICES.vocabulary, SYSTEM) for _ in range(2)]
        for journal in journals:
            await journal.start()
        results = await asyncio.gather(
            *(journal.execute(Create(INVOICE, user, values)) for journal in journals),
            api.request_async("POST", "/api/v2/invoices", me.token, json={"number": "RACE"}),
            return_exceptions=True,
        )
        for journal in journals:
            await journal.close()
        return list(results)

    *written, answer = api.run(race())

    refused = [one for one in written if isinstance(one, NotUnique)]
    refusals = len(refused) + (answer.status_code == 409)  # type: ignore[attr-defined]  # a response
    assert refusals == 2
    numbers = [one["number"] for one in me.get("/invoices").json()["items"]]
    assert numbers.count("RACE") == 1


def owner_of(me: Caller) -> int:
    """The number of a user who has an invoice."""
    one = me.get("/invoices").json()["items"][0]
    actor: str = me.get(f"/invoices/{one['id']}/history").json()[0]["actor"]
    return int(actor.removeprefix("users/"))
