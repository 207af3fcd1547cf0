"""Opening sealed values is an event, which is durable before they are shown."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from eventapi.accounts.openings import record_opening, record_openings
from eventapi.accounts.service import Operator
from eventapi.commands.users import EraseUser, RevokeRole
from eventapi.http.routes import audit
from events.errors import LogUnavailable, Overloaded, StorageFull
from events.vocabulary.security import PackQuery
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem, items_of
from tests.eventapi.http.logs import FailingLog

TITLE = "a secret title"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app of this module in this process, because tests look into its log."""
    with Api() as running:
        yield running


@pytest.fixture
def auditor(api: Api) -> Caller:
    return api.auditor()


@pytest.fixture
def ann(api: Api) -> Caller:
    return api.caller()


def position_of(caller: Caller) -> int:
    """Make an item, and return the position of its event."""
    created = caller.post("/items", json={"title": TITLE})
    return int(created.headers["event-position"])


def last_line(api: Api) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(api.log_lines()[-1])
    return line


def test_values_are_shown_once_their_opening_is_in_the_log(
    api: Api, auditor: Caller, ann: Caller, prefix: str
) -> None:
    position = position_of(ann)
    opened = auditor.under(prefix).get(f"/audit/events/{position}")
    assert opened.json()["personal"]["title"] == TITLE
    line = last_line(api)
    assert (line["type"], line["data"]) == ("audit.opened", {"position": position})
    owner = json.loads(api.log_lines()[position - 1])["sealedfor"]
    assert line["subject"] == owner != line["actor"]
    assert line["requestid"] == opened.headers["x-request-id"]
    assert opened.headers["event-position"] == line["id"]


def test_each_opening_is_an_event_of_its_own(api: Api, auditor: Caller, ann: Caller) -> None:
    position = position_of(ann)
    before = api.log.position
    for _ in range(3):
        auditor.get(f"/audit/events/{position}")
    assert api.log.position == before + 3


def test_only_opened_values_are_recorded(api: Api, auditor: Caller, ann: Caller) -> None:
    granted = next(
        json.loads(line)["id"] for line in api.log_lines() if b'"user.role_granted"' in line
    )
    position, before = position_of(ann), api.log.position
    assert auditor.get(f"/audit/events/{granted}").json()["personal"] is None
    assert auditor.get("/audit/events").status_code == 200
    assert auditor.get("/audit/events/999999").status_code == 404
    assert auditor.head(f"/audit/events/{position}").status_code == 200
    assert ann.get(f"/audit/events/{position}").status_code == 403
    assert api.log.position == before
    assert "event-position" not in auditor.get(f"/audit/events/{granted}").headers


def test_a_head_has_the_length_of_the_answer(auditor: Caller, ann: Caller) -> None:
    path = f"/audit/events/{position_of(ann)}"
    head, answer = auditor.head(path), auditor.get(path)
    assert head.headers["content-type"] == answer.headers["content-type"]
    assert int(head.headers["content-length"]) >= len(answer.json()["personal"]["title"])


def test_values_of_an_erased_user_are_not_opened(api: Api, auditor: Caller, ann: Caller) -> None:
    position = position_of(ann)
    api.execute(EraseUser(ann.name, OPERATOR))
    assert auditor.get("/auth/me").status_code == 200
    before = api.log.position
    assert auditor.get(f"/audit/events/{position}").json()["personal"] is None
    assert api.log.position == before


def test_the_user_sees_who_opened_what(auditor: Caller, ann: Caller) -> None:
    position = position_of(ann)
    auditor.get(f"/audit/events/{position}")
    shown = items_of(ann.get("/auth/me/events"))[0]
    assert (shown["type"], shown["changes"]) == ("audit.opened", {"position": position})
    assert shown["actor"].startswith("users/")
    assert shown.keys() & {"address", "user_agent", "session", "key"} == set()


def test_an_opening_with_an_api_key_does_not_show_the_key_to_the_user(
    api: Api, auditor: Caller, ann: Caller
) -> None:
    body = {"name": "audit", "scopes": ["read", "audit"]}
    key = auditor.under("/api/v2").post("/auth/keys", json=body).json()
    position = position_of(ann)
    opened = api.request("GET", f"/audit/events/{position}", token=key["key"])
    assert opened.json()["personal"]["title"] == TITLE
    lines = map(json.loads, api.log_lines(position))
    (opening,) = [line for line in lines if line["type"] == "audit.opened"]
    assert opening["apikey"] == key["id"]
    shown = items_of(ann.get("/auth/me/events"))[0]
    assert shown["type"] == "audit.opened"
    assert shown.keys() & {"address", "user_agent", "session", "key"} == set()


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [(StorageFull("full"), 507, "storage-full"), (LogUnavailable("gone"), 503, "log-unavailable")],
)
def test_what_cannot_be_recorded_is_not_shown(error: Exception, status: int, slug: str) -> None:
    log = FailingLog()
    with Api(log=log) as api:
        auditor, ann = api.auditor(), api.caller()
        position = position_of(ann)
        log.failure = error
        refused = auditor.get(f"/audit/events/{position}")
        assert_problem(refused, status, slug)
        assert TITLE not in refused.text
        log.failure = None
        assert auditor.get(f"/audit/events/{position}").json()["personal"]["title"] == TITLE


def test_a_role_that_was_lost_meanwhile_opens_nothing(
    api: Api, auditor: Caller, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = position_of(ann)

    async def after_the_loss(*arguments: Any) -> Any:
        await api.execute_async(RevokeRole(auditor.name, "auditor", OPERATOR))
        return await record_opening(*arguments)

    monkeypatch.setattr(audit, "record_opening", after_the_loss)
    assert_problem(auditor.get(f"/audit/events/{position}"), 403, "forbidden")


def test_a_user_who_is_erased_meanwhile_is_shown_as_erased(
    api: Api, auditor: Caller, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    position = position_of(ann)

    async def after_the_erasure(*arguments: Any) -> Any:
        await api.execute_async(EraseUser(ann.name, OPERATOR))
        return await record_opening(*arguments)

    monkeypatch.setattr(audit, "record_opening", after_the_erasure)
    answer = auditor.get(f"/audit/events/{position}")
    assert (answer.status_code, answer.json()["personal"]) == (200, None)
    assert TITLE not in answer.text


def test_an_operator_opens_a_pack(api: Api, ann: Caller) -> None:
    bob = api.caller()
    positions = [position_of(ann), position_of(ann), position_of(bob)]
    services = api.edge.services
    query = PackQuery(since="2026-01-01T00:00:00.000000Z")

    async def open_pack() -> int:
        records = await services.history.records(positions)
        users = Counter(record.sealedfor for record in records)
        return await record_openings(Operator(services.journal), "operator/root", query, users)

    before = api.log.position
    assert api.run(open_pack()) == before + 2
    lines = [json.loads(line) for line in api.log_lines(before)]
    found = [(line["actor"], line["data"]["count"]) for line in lines]
    assert found == [("operator/root", 2), ("operator/root", 1)]
    assert {line["data"]["query"]["since"] for line in lines} == {query.since}
    assert items_of(ann.get("/auth/me/events"))[0]["changes"]["count"] == 2

    bob.erase()
    before = api.log.position
    with pytest.raises(Overloaded):
        api.run(open_pack())
    assert api.log.position == before


def test_many_openings_at_once_are_all_recorded(api: Api, auditor: Caller, ann: Caller) -> None:
    position, before = position_of(ann), api.log.position

    async def open_all() -> list[int]:
        path = f"/audit/events/{position}"
        answers = await asyncio.gather(
            *(api.request_async("GET", path, token=auditor.token) for _ in range(8))
        )
        return [answer.status_code for answer in answers]

    assert api.run(open_all()) == [200] * 8
    assert api.log.position == before + 8
