"""Auditors read events, single events with proofs, and the state at any point."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from eventapi.cli.opening import state_at
from eventapi.testing.sample_log import write
from events.transparency.merkle import leaf_hash
from events.transparency.signed_note import Inclusion, TreeHead, Verifier
from events.vault.memory import MemoryVault
from tests.eventapi.account_events import HIDDEN, life_of_account
from tests.eventapi.http.client import Api, Caller, assert_problem, quiet_settings
from tests.eventapi.http.streams import NDJSON, SSE
from tests.events.transparency.proof_checks import root_from_inclusion

AS_LINES = {"accept": NDJSON}


@pytest.fixture
def api(new_api: Api) -> Api:
    """An app for one test, because the tests compare the whole log."""
    return new_api


@pytest.fixture
def auditor(api: Api) -> Caller:
    return api.auditor("auditor")


def test_the_pages_together_are_all_events(api: Api, auditor: Caller) -> None:
    for number in range(10):
        auditor.create(f"item {number}")

    found: list[Any] = []
    url: str | None = "/audit/events?limit=3"
    while url is not None:
        answer = auditor.get(url)
        assert len(answer.json()["items"]) <= 3
        found += answer.json()["items"]
        url = answer.json()["next"]
        assert ("link" in answer.headers) == (url is not None)

    assert found == [msgspec.json.decode(line) for line in api.log_lines()]


def test_lines_are_those_of_the_log_byte_for_byte(api: Api, auditor: Caller) -> None:
    auditor.create("ä")
    lines = api.log_lines()

    answer = auditor.get("/audit/events", headers=AS_LINES)
    part = auditor.get("/audit/events?after=1&limit=2", headers=AS_LINES)

    assert answer.headers["content-type"] == NDJSON
    assert answer.content == b"".join(line + b"\n" for line in lines)
    assert part.content == b"".join(line + b"\n" for line in lines[1:3])


PAGE = "application/json"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", PAGE),
        ("text/html, application/*", PAGE),
        (f"{NDJSON}, */*", NDJSON),
        (f"{PAGE}, {NDJSON.upper()}", NDJSON),
        (f"{PAGE}, {NDJSON};q=0.5", PAGE),
        (f"{NDJSON};q=0.5, */*;q=0.1", NDJSON),
        (f"{NDJSON};q=0", PAGE),
        (f"{SSE};q=0, {NDJSON};q=0.001", NDJSON),
        (f"{SSE}; q=0.1, {NDJSON}; q=0.9", NDJSON),
        (f"{SSE}, {NDJSON}", SSE),
        (f"{SSE};q=often", SSE),
    ],
)
def test_the_answer_has_the_media_type_that_the_client_prefers(
    auditor: Caller, accept: str, kind: str
) -> None:
    answer = auditor.head("/audit/events", headers={"accept": accept})
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
def test_a_query_filters_events(api: Api, auditor: Caller, query: str, kinds: list[str]) -> None:
    number = auditor.create()
    auditor.create()
    auditor.delete(f"/items/{number}")

    page = auditor.get(f"/audit/events?{query}").json()
    text = auditor.get(f"/audit/events?{query}", headers=AS_LINES).text

    assert ([one["type"] for one in page["items"]], page["next"]) == (kinds, None)
    assert [msgspec.json.decode(line)["type"] for line in text.splitlines()] == kinds


def test_a_page_scans_for_a_bounded_time_and_links_to_the_rest(
    api: Api, auditor: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.http.routes.audit._LINES_PER_PART", 2)
    monkeypatch.setattr("eventapi.http.routes.audit._SCAN_SECONDS", 0)
    for _ in range(5):
        auditor.create()

    found, pages = 0, 0
    url: str | None = "/audit/events?type=item.created"
    while url is not None:
        page = auditor.get(url).json()
        found, url, pages = found + len(page["items"]), page["next"], pages + 1

    assert (found, pages) == (5, (api.log.position + 1) // 2)


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "after=-1", "after=x", "type=%00", "type=item."),
        *("subject=foo", "subject=", "subject=items/x", "subject=items/7%0A"),
        *("actor=ann", "actor=", "actor=items/1"),
    ],
)
def test_a_bad_query_is_refused(auditor: Caller, query: str) -> None:
    assert_problem(auditor.get(f"/audit/events?{query}"), 422, "validation-failed")


def test_one_event_is_decrypted_and_proven(api: Api, auditor: Caller) -> None:
    auditor.create("a title")
    position = api.log.position
    line = api.log_lines()[-1]

    answer = auditor.get(f"/audit/events/{position}")

    assert b'"record":' + line in answer.content
    assert answer.json()["personal"] == {"title": "a title", "description": None}
    proof = Inclusion.parse(answer.json()["proof"])
    head = TreeHead.parse(proof.checkpoint)
    assert proof.index == position - 1
    found = root_from_inclusion(proof.index, head.size, leaf_hash(line), proof.hashes)
    assert found == head.root
    verifier = Verifier.parse(auditor.get("/log/key").text)
    assert verifier.verify(proof.checkpoint)


def test_an_auditor_is_not_shown_password_hashes(api: Api, auditor: Caller) -> None:
    opened = auditor.get("/audit/events/1").json()["personal"]

    assert opened == {
        "username": "auditor",
        "email": "auditor@example.org",
        "full_name": None,
    }
    assert "argon2" not in auditor.get("/audit/events/1").text


def test_an_event_of_an_erased_user_is_not_decrypted_but_still_proven(
    api: Api, auditor: Caller
) -> None:
    other = api.caller("other")
    position = api.log.position - 1
    assert auditor.get(f"/audit/events/{position}").json()["personal"]["username"] == "other"
    assert other.erase().status_code == 204

    event = auditor.get(f"/audit/events/{position}").json()

    assert event["personal"] is None
    assert Inclusion.parse(event["proof"]).index == position - 1


@pytest.mark.parametrize("position", ["0", "99", "x", "-1", "01", "9" * 30])
def test_an_event_at_an_unknown_position_is_a_404(auditor: Caller, position: str) -> None:
    assert_problem(auditor.get(f"/audit/events/{position}"), 404, "not-found")


def test_the_state_at_any_position_is_the_fold_of_the_log(api: Api, auditor: Caller) -> None:
    auditor.create()
    for position in range(api.log.position + 1):
        shown = auditor.get(f"/audit/state?as_of={position}").json()
        state = api.run(state_at(quiet_settings(), api.log, MemoryVault(), position))
        assert (shown["position"], shown["digest"]) == (position, state.digest())
    now = auditor.get("/audit/state").json()
    assert now == shown
    assert now["users"] == {"enabled": 1, "disabled": 0, "erased": 0}
    assert now["items"] == {"live": 1, "deleted": 0}

    by_time = auditor.get("/audit/state", params={"as_of": now["time"]}).json()
    assert by_time == now


@pytest.mark.parametrize("as_of", ["99", "x", "-1", "2026-01-01"])
def test_an_invalid_point_in_time_is_refused(auditor: Caller, as_of: str) -> None:
    assert_problem(auditor.get(f"/audit/state?as_of={as_of}"), 422, "validation-failed")


def test_an_erasure_does_not_change_digests_at_earlier_positions(api: Api, auditor: Caller) -> None:
    other = api.caller()
    other.create()
    positions = range(api.log.position + 1)
    before = [auditor.get(f"/audit/state?as_of={at}").json()["digest"] for at in positions]
    other.erase()

    # Not from the server, which remembers summaries of the past.
    folds = [api.run(state_at(quiet_settings(), api.log, MemoryVault(), at)) for at in positions]
    after = [state.digest() for state in folds]

    assert before == after
    assert all(one != other for one, other in pairwise(before))


def test_an_auditor_is_shown_no_secret_of_any_account() -> None:
    written = write(life_of_account(1, "ann"))
    with Api(log=written.log, vault=asyncio.run(written.vault())) as api:
        auditor = api.auditor()
        texts = [
            str(auditor.get(f"/audit/events/{position}").json()["personal"])
            for position in range(1, len(written.lines) + 1)
        ]

    assert [hidden for hidden in HIDDEN if hidden in "".join(texts)] == []
    assert "my key" in "".join(texts)
