"""What auditors read: events as they are, one opened and proven, the state at any point."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from eventapi.cli.opening import state_at
from eventapi.commands.users import GrantRole
from events.log.port import EventLog
from events.transparency.merkle import leaf_hash, root_from_inclusion
from events.transparency.signed_note import Inclusion, TreeHead, Verifier
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import PASSWORD, Api, Caller, assert_problem, elsewhere

NDJSON = {"accept": "application/x-ndjson"}


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as running:
        yield running


@pytest.fixture
def auditor(api: Api) -> Caller:
    caller = api.caller("auditor")
    elsewhere(api, GrantRole(caller.name, "auditor", "operator/test"))
    return caller


def lines_of(log: EventLog) -> list[bytes]:
    async def read() -> list[bytes]:
        return [line async for run in log.read() for line in run]

    return asyncio.run(read())


def test_pages_lead_through_all_events(api: Api, auditor: Caller) -> None:
    for number in range(10):
        auditor.create(f"item {number}")
    found: list[Any] = []
    where: str | None = "/audit/events?limit=3"
    while where is not None:
        answer = auditor.get(where)
        assert len(answer.json()["items"]) <= 3
        found += answer.json()["items"]
        where = answer.json()["next"]
        assert ("link" in answer.headers) == (where is not None)
    assert found == [msgspec.json.decode(line) for line in lines_of(api.log)]


def test_lines_are_those_of_the_log_byte_for_byte(api: Api, auditor: Caller) -> None:
    auditor.create("ä")
    lines = lines_of(api.log)
    answer = auditor.get("/audit/events", headers=NDJSON)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.content == b"".join(line + b"\n" for line in lines)
    answer = auditor.get("/audit/events?after=1&limit=2", headers=NDJSON)
    assert answer.content == b"".join(line + b"\n" for line in lines[1:3])


LINES, LIVE, PAGE = "application/x-ndjson", "text/event-stream", "application/json"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", PAGE),
        ("text/html, application/*", PAGE),
        (f"{LINES}, */*", LINES),
        (f"{PAGE}, {LINES.upper()}", LINES),
        (f"{PAGE}, {LINES};q=0.5", PAGE),
        (f"{LINES};q=0.5, */*;q=0.1", LINES),
        (f"{LINES};q=0", PAGE),
        (f"{LIVE};q=0, {LINES};q=0.001", LINES),
        (f"{LIVE}; q=0.1, {LINES}; q=0.9", LINES),
        (f"{LIVE}, {LINES}", LIVE),
        (f"{LIVE};q=often", LIVE),
    ],
)
def test_what_is_accepted_most_gladly_is_given(auditor: Caller, accept: str, kind: str) -> None:
    answer = auditor.request("HEAD", "/audit/events", headers={"accept": accept})
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("type=item.created", ["item.created"] * 2),
        ("subject=items/1", ["item.created", "item.deleted"]),
        ("subject=items/1&type=item.deleted", ["item.deleted"]),
        ("actor=operator/test", ["user.role_granted"]),
        ("actor=operator/te", []),
    ],
)
def test_only_what_is_wanted(api: Api, auditor: Caller, query: str, kinds: list[str]) -> None:
    number = auditor.create()
    auditor.create()
    auditor.request("DELETE", f"/items/{number}")
    page = auditor.get(f"/audit/events?{query}").json()
    assert ([one["type"] for one in page["items"]], page["next"]) == (kinds, None)
    text = auditor.get(f"/audit/events?{query}", headers=NDJSON).text
    assert [msgspec.json.decode(line)["type"] for line in text.splitlines()] == kinds


def test_a_page_looks_through_so_many_events_and_says_where_to_go_on(
    api: Api, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.http.routes.audit._MOST_SCANNED", 2)
    for _ in range(5):
        auditor.create()
    found, pages = 0, 0
    where: str | None = "/audit/events?type=item.created"
    while where is not None:
        page = auditor.get(where).json()
        found, where, pages = found + len(page["items"]), page["next"], pages + 1
    assert (found, pages) == (5, (api.log.position + 1) // 2)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", "after=x", "type=%00", "type=item."]
)
def test_a_bad_query_is_told(auditor: Caller, query: str) -> None:
    assert_problem(auditor.get(f"/audit/events?{query}"), 422, "validation-failed")


def test_an_event_is_opened_and_proven(api: Api, auditor: Caller) -> None:
    auditor.create("a title")
    position = api.log.position
    answer = auditor.get(f"/audit/events/{position}")
    line = lines_of(api.log)[position - 1]
    assert b'"record":' + line in answer.content
    assert answer.json()["personal"] == {"title": "a title", "description": None}
    proof = Inclusion.of(answer.json()["proof"])
    head = TreeHead.of(proof.checkpoint)
    assert proof.index == position - 1
    found = root_from_inclusion(proof.index, head.size, leaf_hash(line), proof.hashes)
    assert found == head.root
    verifier = Verifier.of(auditor.get("/log/key").text)
    assert verifier.has_signed(proof.checkpoint)


def test_nobody_is_shown_a_password_hash(api: Api, auditor: Caller) -> None:
    opened = auditor.get("/audit/events/1").json()["personal"]
    assert opened == {
        "username": "auditor",
        "email": "auditor@example.org",
        "full_name": None,
    }
    assert "argon2" not in auditor.get("/audit/events/1").text


def test_what_is_erased_is_not_opened_and_still_proven(api: Api, auditor: Caller) -> None:
    other = api.caller("other")
    position = api.log.position - 1
    assert auditor.get(f"/audit/events/{position}").json()["personal"]["username"] == "other"
    assert other.request("DELETE", "/auth/me", json={"password": PASSWORD}).status_code == 204
    event = auditor.get(f"/audit/events/{position}").json()
    assert event["personal"] is None
    assert Inclusion.of(event["proof"]).index == position - 1


@pytest.mark.parametrize("position", ["0", "99", "x", "-1", "01", "9" * 30])
def test_there_is_no_such_event(auditor: Caller, position: str) -> None:
    assert_problem(auditor.get(f"/audit/events/{position}"), 404, "not-found")


def test_the_state_at_any_point_is_that_of_the_log(api: Api, auditor: Caller) -> None:
    auditor.create()
    for position in range(api.log.position + 1):
        said = auditor.get(f"/audit/state?as_of={position}").json()
        state = asyncio.run(state_at(api.log, MemoryVault(), position))
        assert (said["position"], said["digest"]) == (position, state.digest())
    now = auditor.get("/audit/state").json()
    assert now == said
    assert now["users"] == {"enabled": 1, "disabled": 0, "erased": 0}
    assert now["items"] == {"live": 1, "deleted": 0}
    by_time = auditor.get("/audit/state", params={"as_of": now["time"]}).json()
    assert by_time == now


@pytest.mark.parametrize("as_of", ["99", "x", "-1", "2026-01-01"])
def test_a_point_that_is_none_is_told(auditor: Caller, as_of: str) -> None:
    assert_problem(auditor.get(f"/audit/state?as_of={as_of}"), 422, "validation-failed")


def test_digests_of_earlier_points_stay_as_they_were(api: Api, auditor: Caller) -> None:
    """Also where what was there then is erased now."""
    other = api.caller()
    other.create()
    positions = range(api.log.position + 1)
    before = [auditor.get(f"/audit/state?as_of={at}").json()["digest"] for at in positions]
    other.request("DELETE", "/auth/me", json={"password": PASSWORD})
    after = [auditor.get(f"/audit/state?as_of={at}").json()["digest"] for at in positions]
    assert before == after
    assert all(one != other for one, other in pairwise(before))
