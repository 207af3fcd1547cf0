"""Conditional requests (RFC 9110, section 13)."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from tests.eventapi.http.client import Api, Caller, assert_problem


class Versioned(msgspec.Struct, frozen=True):
    """An item that was changed once, with the entity tags of both versions."""

    caller: Caller
    number: int
    old: str
    tag: str

    def ask(self, method: str, headers: Any) -> httpx.Response:
        how: dict[str, Any] = {"headers": headers}
        if method in {"PUT", "PATCH"}:
            how["json"] = {"title": "changed"}
        return self.caller.request(method, f"/items/{self.number}", **how)

    def read(self) -> httpx.Response:
        return self.caller.get(f"/items/{self.number}")


@pytest.fixture
def item(ann: Caller, prefix: str) -> Versioned:
    me = ann.under(prefix)
    number = me.create()
    old = me.get(f"/items/{number}").headers["etag"]
    tag = me.patch(f"/items/{number}", json={"title": "second"}).headers["etag"]
    assert old != tag
    return Versioned(me, number, old, tag)


def test_an_etag_is_strong_and_contains_the_version(item: Versioned) -> None:
    read = item.read()
    assert read.headers["etag"] == item.tag
    assert not item.tag.startswith("W/")

    version = item.caller.under("/api/v2").get(f"/items/{item.number}").json()["version"]
    assert item.tag == f'"{version}"'


MATCHING = [
    "{tag}",
    "W/{tag}",
    "*",
    " {tag} ",
    '"0", {tag}',
    "{tag}, {old}",
    '"a,b", {tag}',
    ',, {tag},"x"',
]
OTHER = [
    "{old}",
    "W/{old}",
    'W/"{bare}-gzip"',
    '"0"',
    '"x"',
    "{bare}",
    "",
    '""',
    '"{tag}"x',
    '"0{bare}"',
    "**",
    '"*"',
]
WRITES = ["PUT", "PATCH", "DELETE"]


def filled(text: str, item: Versioned) -> str:
    return text.format(tag=item.tag, old=item.old, bare=item.tag.strip('"'))


@pytest.mark.parametrize("condition", MATCHING)
@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_done_if_if_match_names_the_version(
    item: Versioned, method: str, condition: str
) -> None:
    answer = item.ask(method, {"if-match": filled(condition, item)})

    assert answer.status_code == (204 if method == "DELETE" else 200)
    assert "event-position" in answer.headers


@pytest.mark.parametrize("condition", OTHER)
@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_refused_if_if_match_does_not_name_the_version(
    item: Versioned, method: str, condition: str
) -> None:
    before, position = item.read(), item.caller.api.log.position
    answer = item.ask(method, {"if-match": filled(condition, item)})
    assert_problem(answer, 412, "precondition-failed")

    after = item.read()
    assert (after.content, after.headers["etag"]) == (before.content, before.headers["etag"])
    assert item.caller.api.log.position == position


@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_refused_if_if_none_match_names_the_version(
    item: Versioned, method: str
) -> None:
    position = item.caller.api.log.position

    for condition in ("*", item.tag, f"W/{item.tag}", f'"x", {item.tag}'):
        answer = item.ask(method, {"if-none-match": condition})
        assert_problem(answer, 412, "precondition-failed")

    assert item.caller.api.log.position == position
    assert item.ask(method, {"if-none-match": item.old}).status_code in {200, 204}


@pytest.mark.parametrize("condition", [*MATCHING, "W/{tag}", 'W/{old}, W/{tag}, "9"'])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_read_of_the_version_in_if_none_match_is_a_304(
    item: Versioned, method: str, condition: str
) -> None:
    answer = item.ask(method, {"if-none-match": filled(condition, item)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == item.tag
    assert "content-type" not in answer.headers


@pytest.mark.parametrize("condition", [c for c in OTHER if c != "W/{tag}"])
def test_a_read_of_a_version_not_in_if_none_match_is_complete(
    item: Versioned, condition: str
) -> None:
    answer = item.ask("GET", {"if-none-match": filled(condition, item)})
    assert (answer.status_code, answer.content) == (200, item.read().content)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_match_applies_to_reads_and_before_if_none_match(item: Versioned, method: str) -> None:
    assert item.ask(method, {"if-match": item.old}).status_code == 412
    assert item.ask(method, {"if-match": item.tag}).status_code == 200

    both = {"if-match": item.old, "if-none-match": item.tag}
    assert item.ask(method, both).status_code == 412
    assert item.ask(method, {"if-match": "*", "if-none-match": item.tag}).status_code == 304


def test_conditions_on_several_lines_are_one_list(item: Versioned) -> None:
    lines = [("if-none-match", item.tag), ("if-none-match", '"x"')]
    assert item.ask("GET", lines).status_code == 304
    lines = [("if-match", item.tag), ("if-match", '"x"')]
    assert item.ask("PATCH", lines).status_code == 200


def test_one_of_many_concurrent_writes_to_one_version_is_done(api: Api, item: Versioned) -> None:
    path = f"{item.caller.prefix}/items/{item.number}"
    how = {"token": item.caller.token, "headers": {"if-match": item.tag}}

    answers = api.request_all(("PATCH", path, how | {"json": {"title": str(n)}}) for n in range(20))
    statuses = [answer.status_code for answer in answers]

    assert sorted(statuses) == [200] + [412] * 19
    assert item.read().json()["title"] == str(statuses.index(200))
