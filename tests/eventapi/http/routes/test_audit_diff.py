"""Auditors compare two moments of the log over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from eventapi.testing.given import at, created, registered
from eventapi.testing.sample_log import write
from events.vocabulary.users import UserErased
from tests.eventapi.http.client import Api, Caller, assert_problem

BOTH = pytest.mark.parametrize("prefix", ["", "/api/v2"])


@pytest.fixture
def api(new_api: Api) -> Api:
    """An app for one test, because the tests compare positions."""
    return new_api


@pytest.fixture
def auditor(api: Api) -> Caller:
    return api.auditor("auditor").under("/api/v2")


def shown(caller: Caller, query: str) -> dict[str, dict[str, Any]]:
    """The differences by subject."""
    answer = caller.get(f"/audit/diff?{query}")
    assert answer.status_code == 200, answer.text
    return {one["subject"]: one for one in answer.json()["items"]}


@BOTH
def test_a_change_is_shown_field_by_field(api: Api, auditor: Caller, prefix: str) -> None:
    ann = api.caller("ann").under("/api/v2")
    number = ann.create("before", "the same")
    start = api.log.position
    ann.patch(f"/items/{number}", json={"title": "after"})
    end = api.log.position

    answer = auditor.under(prefix).get(f"/audit/diff?from={start}&to={end}")

    assert answer.json() == {
        "from": start,
        "to": end,
        "items": [
            {
                "subject": f"items/{number}",
                "change": "changed",
                "version": {"before": start, "after": end},
                "fields": {"title": {"before": "before", "after": "after"}},
                "sealed": [],
                "readable": True,
            }
        ],
        "next": None,
    }


def test_without_open_no_sealed_value_is_shown(api: Api, auditor: Caller) -> None:
    start = api.log.position
    ann = api.caller("ann")
    number = ann.create("a secret title")
    ann.post("/auth/keys", json={"name": "a secret key"})

    answer = auditor.get(f"/audit/diff?from={start}&open=false")
    opened = auditor.get(f"/audit/diff?from={start}")

    assert "secret" not in answer.text
    assert "ann" not in answer.text
    found = {one["subject"]: one for one in answer.json()["items"]}
    assert found[f"items/{number}"]["sealed"] == ["title", "description"]
    assert found["users/2"]["fields"]["status"] == {"after": "enabled"}
    assert "a secret title" in opened.text
    assert "a secret key" in opened.text
    assert "argon2" not in opened.text


@pytest.mark.parametrize(
    ("method", "query", "recorded"),
    [("GET", "", 1), ("GET", "&open=false", 0), ("HEAD", "", 0)],
    ids=["opened", "closed", "HEAD"],
)
def test_that_values_are_opened_is_an_event_of_their_user(
    api: Api, auditor: Caller, method: str, query: str, recorded: int
) -> None:
    ann = api.caller("ann").under("/api/v2")
    start = api.log.position
    ann.create("one")
    ann.create("two")
    end = api.log.position

    answer = auditor.request(method, f"/audit/diff?from={start}&to={end}{query}")

    assert answer.status_code == 200
    lines = [json.loads(line) for line in api.log_lines(end)]
    assert [one["type"] for one in lines] == ["audit.opened"] * recorded
    for line in lines:
        assert line["subject"] == ann.get("/items/1/history").json()[0]["actor"]
        assert line["data"]["count"] == 2
        assert answer.headers["event-position"] == line["id"]


@pytest.mark.parametrize(
    ("subject", "recorded"), [("items/1", {"subject": "items/1"}), ("items", {}), ("", {})]
)
def test_the_event_names_the_entity_that_was_compared(
    api: Api, auditor: Caller, subject: str, recorded: dict[str, str]
) -> None:
    ann = api.caller("ann").under("/api/v2")
    start = api.log.position
    ann.create("one")
    end = api.log.position

    auditor.get(f"/audit/diff?from={start}&to={end}&subject={subject}")

    (line,) = [json.loads(line) for line in api.log_lines(end)]
    query = line["data"]["query"]
    assert query.keys() == {"since", "until", *recorded}
    assert query.items() >= recorded.items()


def test_an_erased_user_leaves_only_the_fact(api: Api, auditor: Caller) -> None:
    ann = api.caller("ann").under("/api/v2")
    number = ann.create("a title")
    before = api.log.position
    ann.patch(f"/items/{number}", json={"title": "another title"})
    changed = api.log.position
    assert ann.erase().status_code == 204
    end = api.log.position

    erased = shown(auditor, f"from={before}&to={end}")
    earlier = shown(auditor, f"from={before}&to={changed}")

    assert {subject: one["change"] for subject, one in erased.items()} == {
        f"items/{number}": "erased",
        "users/2": "erased",
    }
    assert all(one["fields"] == {} and not one["readable"] for one in erased.values())
    assert earlier[f"items/{number}"]["fields"] == {}
    assert not earlier[f"items/{number}"]["readable"]


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("items", ["items/1", "items/2"]),
        ("items/2", ["items/2"]),
        ("items/9", []),
        ("users", ["users/1", "users/2"]),
        ("users/2", ["users/2"]),
        ("keys", []),
        ("webhooks", []),
    ],
)
def test_a_subject_selects_a_collection_or_an_entity(
    api: Api, auditor: Caller, subject: str, found: list[str]
) -> None:
    ann = api.caller("ann")
    ann.create()
    ann.create()
    assert [*shown(auditor, f"subject={subject}")] == found


def test_pages_together_are_all_differences(api: Api, auditor: Caller) -> None:
    ann = api.caller("ann")
    for _ in range(12):
        ann.create()
    whole = auditor.get("/audit/diff").json()

    upto = api.log.position  # That the whole was opened is an event, too.
    found: list[Any] = []
    for page in auditor.pages("/audit/diff?limit=5&to=2999-01-01T00:00:00Z"):
        found += page.json()["items"]
        assert page.json()["to"] == upto
        assert page.json()["next"] == page.links.get("next", {}).get("url")
        ann.create()

    assert found == whole["items"]
    assert len(found) == 14


def test_moments_may_be_times() -> None:
    written = write([registered(1, "ann"), *(created(number, 1) for number in range(1, 5))])
    with Api(log=written.log, vault=asyncio.run(written.vault())) as api:
        auditor = api.auditor().under("/api/v2")
        answer = auditor.get(f"/audit/diff?from={at(2)}&to={at(4)}&subject=items").json()
        assert (answer["from"], answer["to"]) == (2, 4)
        assert [one["subject"] for one in answer["items"]] == ["items/2", "items/3"]
        same = auditor.get(f"/audit/diff?from={at(2)}&to={at(2)}").json()
        assert (same["from"], same["to"], same["items"], same["next"]) == (2, 2, [], None)
        later = auditor.get("/audit/diff?from=2999-01-01T00:00:00Z").json()
        assert later["items"] == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("from=999", "from"),
        ("to=999", "to"),
        ("from=x", "from"),
        ("to=2026-01-01", "to"),
        ("from=2026-02-30T00:00:00Z", "from"),
        ("from=3&to=2", "to"),
        ("from=2999-01-01T00:00:01Z&to=2999-01-01T00:00:00Z", "to"),
        ("from=3&to=2000-01-01T00:00:00Z", "to"),
        ("subject=sessions", "subject"),
        ("subject=items/x", "subject"),
        ("subject=%00", "subject"),
        ("open=yes", "open"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("start=1", "start"),
        ("from=1&from=2", "from"),
    ],
)
def test_a_bad_query_is_refused_with_its_name(auditor: Caller, query: str, name: str) -> None:
    problem = assert_problem(auditor.get(f"/audit/diff?{query}"), 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [f"/{name}"]


def test_an_erasure_after_both_moments_hides_the_values() -> None:
    history = [registered(1, "ann"), registered(2, "bob"), created(1, 2), ("users/2", UserErased())]
    written = write(history)
    with Api(log=written.log, vault=asyncio.run(written.vault(["users/2"]))) as api:
        (found,) = shown(api.auditor(), "from=2&to=3").values()
    assert (found["change"], found["readable"]) == ("created", False)
    assert found["sealed"] == ["title", "description"]
    assert found["fields"].keys() == {"owner", "created_at", "shares"}
