"""Auditors collect evidence over HTTP: the pack, its limits and refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from eventapi.journal.journal import Journal
from eventapi.testing.given import created, registered
from eventapi.testing.sample_log import Written, write
from events.errors import SigningSuspended, StorageFull
from events.log.memory import MemoryLog
from events.messages.errors import LOG_KEY_UNCONFIRMED
from events.transparency.checkpoints import Checkpoints
from tests.eventapi.evidence.packs import faults_in, files_in, rows_of
from tests.eventapi.http.client import Api, Caller, assert_problem
from tests.eventapi.http.streams import StreamReader, ways_to_lose_access

PATH = "/api/v2/audit/evidence"


@pytest.fixture
def auditor(api: Api) -> Caller:
    return api.auditor()


def pack_of(auditor: Caller, query: str) -> dict[str, bytes]:
    answer = auditor.get(f"{PATH}?{query}")
    assert answer.status_code == 200, answer.text
    return files_in(answer.content)


def test_a_pack_is_a_zip_with_a_name(api: Api, auditor: Caller) -> None:
    number = api.caller().create("a title")

    answer = auditor.get(f"{PATH}?subject=items/{number}")

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == (
        f'attachment; filename="evidence-items-{number}.zip"'
    )
    assert answer.headers["cache-control"] == "no-store"
    files = files_in(answer.content)
    (line,) = rows_of(files["lines.jsonl"])
    assert json.loads(line)["subject"] == f"items/{number}"
    assert faults_in(files, api.request("GET", "/log/key").text.strip()) == []


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_version_1_has_it_too(api: Api, auditor: Caller, prefix: str) -> None:
    number = api.caller().create("a title")

    answer = auditor.get(f"{prefix}/audit/evidence?subject=items/{number}")

    assert faults_in(files_in(answer.content)) == []


def test_the_pack_of_a_user_has_the_lines_about_and_by_the_user(api: Api, auditor: Caller) -> None:
    ann = api.caller()
    number = ann.create("first title")
    ann.patch(f"/items/{number}", json={"title": "second title"})

    files = pack_of(auditor, f"user={ann.name}&open=true")

    kinds = [json.loads(line)["type"] for line in rows_of(files["lines.jsonl"])]
    assert kinds == ["user.registered", "session.started", "item.created", "item.updated"]
    opened = [json.loads(row) for row in rows_of(files["opened.jsonl"])]
    assert opened[0]["shown"]["username"] == ann.name
    assert [row["clear"]["title"] for row in opened[2:]] == ["first title", "second title"]
    assert faults_in(files) == []


def test_opening_values_is_recorded_before_they_are_shown(api: Api, auditor: Caller) -> None:
    ann, ben = api.caller(), api.caller()
    number = ann.create("a title")
    ben.create("another title")
    before = len(api.log_lines())
    subject = json.loads(api.log_lines()[before - 2])["sealedfor"]

    files = pack_of(auditor, f"subject=items/{number}&open=true&since=1")

    (line,) = (json.loads(line) for line in api.log_lines()[before:])
    assert (line["type"], line["subject"]) == ("audit.opened", subject)
    assert line["data"]["query"]["subject"] == f"items/{number}"
    assert line["data"]["count"] == 1
    assert rows_of(files["opened.jsonl"]) != []
    answer = auditor.get(f"{PATH}?subject=items/{number}")
    assert "event-position" not in answer.headers
    assert len(api.log_lines()) == before + 1
    answer = auditor.get(f"{PATH}?subject=items/{number}&open=true")
    assert answer.headers["event-position"] == str(len(api.log_lines())) == str(before + 2)


def test_without_a_record_of_the_opening_nothing_is_opened(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StorageFull("the disk is full")

    auditor = new_api.auditor()
    number = auditor.create("a title")
    monkeypatch.setattr(Journal, "execute_all", fail)

    assert_problem(auditor.get(f"{PATH}?subject=items/{number}&open=true"), 507, "storage-full")
    assert auditor.get(f"{PATH}?subject=items/{number}").status_code == 200
    assert_nothing_is_held(new_api)


def test_a_part_of_the_log_can_be_selected(api: Api, auditor: Caller) -> None:
    ann = api.caller()
    positions = [int(ann.post("/items", json={"title": "x"}).headers["event-position"])]
    positions += [int(ann.post("/items", json={"title": "y"}).headers["event-position"])]

    files = pack_of(auditor, f"user={ann.name}&since={positions[0]}&until={positions[0]}")

    assert [json.loads(line)["id"] for line in rows_of(files["lines.jsonl"])] == [str(positions[0])]


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", ["/subject"]),
        ("subject=items/1&user=ann", ["/subject"]),
        ("subject=items/1&since=soon", ["/since"]),
        ("subject=items/1&until=2026-02-30T00:00:00Z", ["/until"]),
        ("subject=items/1&open=yes", ["/open"]),
        ("subject=%00", ["/subject"]),
        ("subject=items/1&more=1", ["/more"]),
    ],
)
def test_a_bad_query_is_refused(auditor: Caller, query: str, pointers: list[str]) -> None:
    problem = assert_problem(auditor.get(f"{PATH}?{query}"), 422, "validation-failed")

    assert [one["pointer"] for one in problem["errors"]] == pointers


@pytest.mark.parametrize(
    "query", ["subject=items/999999", "user=no-such-one", "user=users/9999999"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_an_event_it_is_not_found(auditor: Caller, query: str, method: str) -> None:
    answer = auditor.request(method, f"{PATH}?{query}")

    assert answer.status_code == 404
    if method == "GET":
        assert_problem(answer, 404, "not-found")


def test_head_has_the_headers_only(api: Api, auditor: Caller) -> None:
    number = api.caller().create("a title")
    before = api.log_lines()

    answer = auditor.head(f"{PATH}?subject=items/{number}&open=true")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/zip"
    assert api.log_lines() == before


def test_only_auditors_may_collect_it(api: Api) -> None:
    ann = api.caller()

    assert_problem(ann.get(f"{PATH}?user={ann.name}"), 403, "forbidden")
    assert_problem(api.request("GET", f"{PATH}?user={ann.name}"), 401, "unauthenticated")


@pytest.fixture(scope="module")
def many() -> Written:
    """The log of a user with many items."""
    return write([registered(1, "ann"), *(created(number, 1) for number in range(1, 200))])


@pytest.fixture
def large_api(many: Written) -> Iterator[Api]:
    log = MemoryLog(list(many.lines), many.log.head)
    with Api(log=log, vault=asyncio.run(many.vault())) as api:
        yield api


def assert_nothing_is_held(api: Api) -> None:
    services = api.edge.services
    assert not services.exports._exports
    assert services.history._reads == 0
    assert not services.history._callers


@pytest.mark.parametrize("way", ["logged out", "role revoked", "erased"])
def test_a_pack_is_cut_off_when_the_auditor_loses_access(large_api: Api, way: str) -> None:
    auditor = large_api.auditor()
    reader = StreamReader(auditor, PATH, "*/*", "user=ann")

    reader.read((b"lines.jsonl", ways_to_lose_access(auditor)[way]))

    assert (reader.status, reader.is_complete) == (200, False)
    assert b"manifest.json" not in reader.body
    assert_nothing_is_held(large_api)


def test_control_a_pack_is_whole_when_the_auditor_keeps_access(large_api: Api) -> None:
    reader = StreamReader(large_api.auditor(), PATH, "*/*", "user=ann")

    reader.read()

    assert reader.is_complete
    assert len(rows_of(files_in(reader.body)["lines.jsonl"])) == 200
    assert faults_in(files_in(reader.body)) == []
    assert_nothing_is_held(large_api)


def test_the_number_of_collections_at_once_is_limited(large_api: Api) -> None:
    auditor = large_api.auditor()
    refused: list[httpx.Response] = []

    async def ask_again() -> None:
        refused.append(await large_api.request_async("GET", f"{PATH}?user=ann", auditor.token))

    with large_api.edge.services.exports.admit(2):
        reader = StreamReader(auditor, PATH, "*/*", "user=ann")
        reader.read((b"lines.jsonl", ask_again))

    assert reader.is_complete
    assert_problem(refused[0], 503, "overloaded")
    assert_nothing_is_held(large_api)


def test_while_nothing_may_be_signed_there_is_no_evidence(
    new_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def suspended(_: Checkpoints) -> None:
        raise SigningSuspended(LOG_KEY_UNCONFIRMED)

    auditor = new_api.auditor()
    monkeypatch.setattr(Checkpoints, "current", suspended)

    assert_problem(auditor.get(f"{PATH}?subject=users/1"), 503, "log-unavailable")
    assert_nothing_is_held(new_api)
