"""The events of a rare subject are found without reading the log."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventapi.queries import subject_index
from eventapi.resources.registry import Registry
from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import write
from events.log.port import Head
from events.sealing import Keyring
from projections.replay import replay
from projections.snapshots import Snapshots
from tests.eventapi.http.client import Api, Caller
from tests.eventapi.http.routes.test_audit_range import CountingLog
from tests.eventapi.http.streams import NDJSON
from tests.shop import Invoice

EVENTS = 1_000
Served = tuple[Api, CountingLog, Caller]


@pytest.fixture
def served() -> Iterator[Served]:
    """An app over a log of the items of two users, its log, and an auditor."""
    items = [created(number, 1 + number % 2) for number in range(1, EVENTS - 1)]
    written = write([registered(1, "ann"), registered(2, "ben"), *items])
    log = CountingLog(written.lines, Head(EVENTS, written.records[-1].hash))
    with Api(log=log, vault=asyncio.run(written.vault())) as api:
        yield api, log, api.auditor()


def scanned(api: Api, subject: str) -> list[int]:
    """The positions of a subject's events, by reading every line."""
    lines = [msgspec.json.decode(line) for line in api.log_lines()]
    return [int(line["id"]) for line in lines if line["subject"] == subject]


def found(auditor: Caller, query: str) -> list[int]:
    """The positions on the only page of a query."""
    page = auditor.get(f"/audit/events?{query}").json()
    assert page["next"] is None
    return [int(one["id"]) for one in page["items"]]


@pytest.mark.parametrize(
    "subject", ["users/2", "items/77", "items/998", "items/9999", "users/9999"]
)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_events_of_a_subject_are_all_found_without_reading_the_log(
    served: Served, subject: str, order: str
) -> None:
    api, log, auditor = served
    there = scanned(api, subject)
    before = log.lines_read
    assert found(auditor, f"subject={subject}&order={order}") == sorted(
        there, reverse=order == "desc"
    )
    assert log.lines_read - before <= 2 * len(there)


def test_control_a_subject_beyond_the_index_is_found_by_reading(served: Served) -> None:
    api, log, auditor = served
    session = scanned(api, f"sessions/{auditor.session_id}")
    before = log.lines_read
    assert found(auditor, f"subject=sessions/{auditor.session_id}") == session != []
    assert log.lines_read - before >= EVENTS


def test_lines_of_json_use_the_index_too(served: Served) -> None:
    _, log, auditor = served
    before = log.lines_read
    text = auditor.get("/audit/events?subject=items/77", headers={"accept": NDJSON}).text
    assert [msgspec.json.decode(line)["subject"] for line in text.splitlines()] == ["items/77"]
    assert log.lines_read - before <= 2


def test_pages_of_a_subject_are_complete_in_both_orders(served: Served) -> None:
    api, _, auditor = served
    item = auditor.create()
    for number in range(40):
        auditor.patch(f"/items/{item}", json={"title": f"title {number}"})
    there = scanned(api, f"items/{item}")
    assert len(there) == 41
    for order, wanted in (("asc", there), ("desc", there[::-1])):
        pages = auditor.pages(f"/audit/events?subject=items/{item}&limit=7&order={order}")
        assert [int(one["id"]) for page in pages for one in page.json()["items"]] == wanted


def test_other_filters_and_bounds_apply_to_a_subject(served: Served) -> None:
    api, _, auditor = served
    item = auditor.create()
    auditor.patch(f"/items/{item}", json={"title": "another"})
    first, second = scanned(api, f"items/{item}")
    assert found(auditor, f"subject=items/{item}&type=item.updated") == [second]
    assert found(auditor, f"subject=items/{item}&actor=users/1") == []
    assert found(auditor, f"subject=items/{item}&until={first}") == [first]
    assert found(auditor, f"subject=items/{item}&after={first}") == [second]


def test_subjects_of_deleted_and_erased_entities_are_complete(served: Served) -> None:
    api, _, auditor = served
    other = api.caller("other")
    item, deleted = other.create(), other.create()
    other.delete(f"/items/{deleted}")
    assert found(auditor, f"subject=items/{deleted}") == scanned(api, f"items/{deleted}")
    other.erase()
    for subject in (f"items/{item}", f"items/{deleted}", "users/4"):
        assert found(auditor, f"subject={subject}") == scanned(api, subject) != []


def test_a_share_taken_back_from_a_deleted_resource_is_found(tmp_path: Path) -> None:
    """Also after a restore and a restart."""
    registry = Registry([Invoice])
    with Api(registry=registry) as api:
        owner, auditor, friend = api.caller("ann"), api.auditor("ben"), api.caller("cid")
        place = "/api/v2/invoices/1"
        owner.post("/api/v2/invoices", json={"number": "A1", "cents": 1}).raise_for_status()
        owner.put(f"{place}/shares/{friend.name}", json={"can": "read"}).raise_for_status()
        owner.delete(place).raise_for_status()
        owner.delete(f"{place}/shares/{friend.name}").raise_for_status()
        there = scanned(api, "invoices/1")
        assert len(there) == 4
        assert found(auditor, "subject=invoices/1") == there
        owner.post(f"{place}/restore").raise_for_status()
        there = scanned(api, "invoices/1")
        assert len(there) == 5
        assert found(auditor, "subject=invoices/1") == there
        keyring = Keyring()
        state = api.run(replay(api.log, keyring, api.vault, registry.vocabulary))
        snapshots = Snapshots(tmp_path, registry.vocabulary)
        snapshots.write(state, keyring, secrets.token_bytes)
        log, vault = api.log, api.vault
    with Api(log=log, vault=vault, registry=registry, snapshots=snapshots) as again:
        auditor = Caller(again, "ben", again.login("ben").json())
        assert found(auditor, "subject=invoices/1") == there


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_of_a_subject_ends_in_time_although_nothing_matches(
    served: Served, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page begins at the last line that was compared, and no line is read twice."""
    monkeypatch.setattr("eventapi.http.routes.audit._SCAN_SECONDS", 0)
    _, log, auditor = served
    item = auditor.create()
    for number in range(40):
        auditor.patch(f"/items/{item}", json={"title": f"title {number}"})
    query = f"/audit/events?subject=items/{item}&type=item.created&order={order}"
    before = log.lines_read
    pages = [page.json() for page in auditor.pages(query)]
    assert len(pages) == 3
    assert [one["type"] for page in pages for one in page["items"]] == ["item.created"]
    assert log.lines_read - before <= 2 * 41


def test_a_subject_of_many_events_is_read_from_the_log(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_index, "MAX_INDEXED_EVENTS", 1)
    api, log, auditor = served
    item = auditor.create()
    auditor.patch(f"/items/{item}", json={"title": "another"})
    before = log.lines_read
    assert found(auditor, f"subject=items/{item}") == scanned(api, f"items/{item}")
    assert log.lines_read - before >= EVENTS
