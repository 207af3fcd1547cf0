"""Request bodies: well-formed JSON, depth, media type, size and visible text."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.eventapi.http.client import (
    PASSWORD,
    PREFIXES,
    Api,
    Caller,
    assert_problem,
    quiet_settings,
    registration,
)

JSON = {"content-type": "application/json"}

MALFORMED = {
    "nothing": b"",
    "blank": b" ",
    "half": b'{"title": "a"',
    "more": b'{"title": "a"} x',
    "two": b'{"title": "a"}{"title": "a"}',
    "comma": b'{"title": "a",}',
    "quotes": b"{'title': 'a'}",
    "bare": b"{title: 1}",
    "comment": b'{"title": "a" /* c */}',
    "NaN": b'{"title": NaN}',
    "NaN elsewhere": b'{"title": "a", "x": NaN}',
    "Infinity": b'{"title": "a", "description": -Infinity}',
    "tab in a string": b'{"title": "a\tb"}',
    "NUL behind": b'{"title": "a"}\x00',
    "latin-1": b'{"title": "\xe9"}',
    "overlong": b'{"title": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"title": "\xed\xa0\x80"}',
    "lone surrogate": rb'{"title": "\ud800"}',
    "lone low surrogate": rb'{"title": "a\udc00b"}',
    "surrogates turned round": rb'{"title": "\udc00\ud800"}',
    "byte order mark": b'\xef\xbb\xbf{"title": "a"}',
    "UTF-16": '{"title": "a"}'.encode("utf-16"),
    "UTF-32": '{"title": "a"}'.encode("utf-32"),
    "doubled": b'{"title": "a", "title": "a"}',
    "doubled by an escape": rb'{"title": "a", "t\u0069tle": "b"}',
    "doubled inside": b'{"title": "a", "x": {"y": 1, "y": 2}}',
    "doubled, unknown": b'{"title": "a", "x": 1, "x": 1}',
    "bad escape": rb'{"title": "\x"}',
    "leading zero": b'{"title": 01}',
    "half and mistyped": b'{"title": 5',
}
DEPTHS = [33, 34, 64, 500, 999, 1000, 1001, 5000, 20_000]


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_that_is_not_json_is_malformed(ann: Caller, method: str, body: bytes) -> None:
    number = ann.create()
    path = "/items" if method == "POST" else f"/items/{number}"
    position = ann.api.log.position

    answer = ann.request(method, path, content=body, headers=JSON)

    assert_problem(answer, 400, "malformed-body")
    assert ann.api.log.position == position


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_body_that_is_not_json_is_malformed_without_a_login_too(
    api: Api, path: str, body: bytes
) -> None:
    assert_problem(api.request("POST", path, content=body, headers=JSON), 400, "malformed-body")


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """An otherwise valid object with ``depth`` levels, of which it is the first."""
    inner = opening * (depth - 1) + b"1" + closing * (depth - 1)
    return b'{"title": "a", "description": ' + inner + b"}"


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_nested_deeper_than_32_levels_is_malformed(
    ann: Caller, depth: int, opening: bytes, closing: bytes
) -> None:
    body = nested(depth, opening, closing)
    if len(body) > 65_536:
        body = nested(5000, opening, closing)
    position = ann.api.log.position

    answer = ann.post("/items", content=body, headers=JSON)

    assert_problem(answer, 400, "malformed-body")
    assert ann.api.log.position == position


def test_empty_brackets_count_as_a_level(ann: Caller) -> None:
    body = b'{"title": "a", "description": ' + b"[" * 32 + b"]" * 32 + b"}"
    assert_problem(ann.post("/items", content=body, headers=JSON), 400, "malformed-body")


def test_a_body_nested_32_levels_deep_is_well_formed(ann: Caller) -> None:
    answer = ann.post("/items", content=nested(32, b"[", b"]"), headers=JSON)
    assert_problem(answer, 422, "validation-failed")


def test_control_brackets_in_a_string_are_not_levels(ann: Caller) -> None:
    text = "[" * 100 + "{" * 100
    assert ann.post("/items", json={"title": "a", "description": text}).status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"', b"true", b"[[1]]"])
def test_a_body_must_be_an_object(ann: Caller, body: bytes) -> None:
    problem = assert_problem(
        ann.post("/items", content=body, headers=JSON), 422, "validation-failed"
    )
    assert [error["pointer"] for error in problem["errors"]] == [""]


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "1e400", "-0", "1.5", "1e-400"])
def test_a_number_of_any_size_is_not_a_string(ann: Caller, number: str) -> None:
    body = f'{{"title": {number}}}'.encode()

    answer = ann.post("/items", content=body, headers=JSON)
    problem = assert_problem(answer, 422, "validation-failed")

    assert [error["pointer"] for error in problem["errors"]] == ["/title"]


def test_an_unknown_field_is_named_by_a_json_pointer(ann: Caller) -> None:
    problem = ann.under("/api/v2").post("/items", json={"title": "a", "x/~y": 1}).json()
    assert problem["errors"] == [{"pointer": "/x~1~0y", "detail": "is not known here"}]


@pytest.mark.parametrize(
    "name",
    ["title\x00", "\u202etitle", "Title", "`", "a` - at `$.b`", "[0]", "$.title", "é", "a\nb"],
)
def test_an_unknown_field_with_any_name_is_refused(ann: Caller, name: str) -> None:
    answer = ann.under("/api/v2").post("/items", json={"title": "a", name: 1})
    assert_problem(answer, 422, "validation-failed")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json ; charset=utf8; profile=x",
        "application/json;",
    ],
)
def test_media_types_of_json_are_accepted(ann: Caller, kind: str) -> None:
    answer = ann.post("/items", content=b'{"title": "a"}', headers={"content-type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/problem+json",
        "application/merge-patch+json",
        "application/json, text/plain",
        "application/json; charset=latin-1",
        "application/json; x=y; charset=utf-16",
        "é",
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_other_media_types_are_refused(ann: Caller, method: str, kind: str | None) -> None:
    me = ann.under("/api/v2")
    path = "/items" if method == "POST" else f"/items/{me.create()}"
    headers = [] if kind is None else [(b"content-type", kind.encode("latin-1"))]
    position = me.api.log.position

    answer = me.request(method, path, content=b'{"title": "a"}', headers=headers)

    assert_problem(answer, 415, "unsupported-media-type")
    assert me.api.log.position == position


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_encoded_body_is_refused(ann: Caller, prefix: str, coding: str) -> None:
    """Also one that is not encoded: a proxy in front might decode it, and read another value."""
    me = ann.under(prefix)
    for content in (b'{"title": "a"}', gzip.compress(b'{"title": "a"}')):
        headers = {"content-type": "application/json", "content-encoding": coding}
        answer = me.post("/items", content=content, headers=headers)
        problem = assert_problem(answer, 415, "unsupported-media-type")
        assert "Content-Encoding" in problem["detail"]


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_a_body_may_be_declared_as_not_encoded(ann: Caller, coding: str) -> None:
    headers = {"content-encoding": coding}
    assert ann.post("/items", json={"title": "a"}, headers=headers).status_code == 200


def test_a_coding_before_another_line_of_the_header_is_refused(ann: Caller) -> None:
    headers = [("content-encoding", "gzip"), ("content-encoding", "identity")]
    answer = ann.api.request(
        "POST",
        "/items",
        content=b'{"title": "a"}',
        headers=[("authorization", f"Bearer {ann.token}"), *headers],
    )
    assert_problem(answer, 415, "unsupported-media-type")


def test_an_encoded_form_is_refused(ann: Caller) -> None:
    answer = ann.api.request(
        "POST",
        "/auth/login",
        data={"username": ann.name, "password": PASSWORD},
        headers={"content-encoding": "deflate"},
    )
    assert_problem(answer, 415, "unsupported-media-type")


LIMIT = 65_536


def padded(size: int) -> bytes:
    body = b'{"title": "a"}'
    return body + b" " * (size - len(body))


async def in_chunks(content: bytes, size: int = 4096) -> AsyncIterator[bytes]:
    """Yield a body in parts, so that its length is not declared."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


def test_a_body_at_the_limit_is_accepted(ann: Caller) -> None:
    for content in (padded(LIMIT), in_chunks(padded(LIMIT))):
        assert ann.post("/items", content=content, headers=JSON).status_code == 200


@pytest.mark.parametrize("path", ["/items", "/auth/register", "/auth/login"])
def test_a_body_beyond_the_limit_is_refused_with_and_without_a_length(
    ann: Caller, path: str
) -> None:
    position = ann.api.log.position
    for content in (padded(LIMIT + 1), in_chunks(padded(LIMIT + 1)), in_chunks(padded(10**6))):
        answer = ann.post(path, content=content, headers=JSON)
        assert_problem(answer, 413, "body-too-large")

    assert ann.api.log.position == position


def test_an_endless_body_is_refused_at_the_limit(ann: Caller) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4096
            yield b" " * 4096

    assert_problem(ann.post("/items", content=endless(), headers=JSON), 413, "body-too-large")
    assert sent < 4 * LIMIT


@pytest.mark.parametrize("length", ["x", "0x3", "1.5", "\xb2", "9" * 5_000])
def test_a_content_length_that_is_not_a_number_is_malformed(ann: Caller, length: str) -> None:
    headers = {**JSON, "content-length": length.encode("latin-1")}
    answer = ann.post("/items", content=b'{"title": "a"}', headers=headers)

    assert_problem(answer, 400, "malformed-body")


def test_a_setting_changes_the_limit_of_a_body() -> None:
    with Api(quiet_settings(max_body_bytes=200)) as api:
        body = b'{"username": "ann", "email": "a@b.co", "password": "12345678"}'
        for size, status in ((200, 200), (201, 413)):
            content = body + b" " * (size - len(body))
            answer = api.request("POST", "/auth/register", content=content, headers=JSON)
            assert answer.status_code == status


@pytest.mark.parametrize(
    "title", [" ", "\u200b", "\u2060\ufeff", "\u00ad", "\u3164", "\u2800", "\U000e0041", "\u180e"]
)
def test_a_title_of_invisible_characters_is_blank(ann: Caller, prefix: str, title: str) -> None:
    me = ann.under(prefix)
    number = me.create("visible")
    before = me.api.log.position

    for method, path in (("POST", "/items"), ("PUT", f"/items/{number}")):
        answer = me.request(method, path, json={"title": title})
        assert_blank(answer, "/title")

    assert_blank(me.patch(f"/items/{number}", json={"title": title}), "/title")
    assert me.api.log.position == before


def test_a_full_name_may_be_empty_but_not_invisible(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    for full_name in ("", " ", None, "\u200bAnn"):
        assert me.patch("/auth/me", json={"full_name": full_name}).status_code == 200
    assert_blank(me.patch("/auth/me", json={"full_name": "\u200b"}), "/full_name")

    body = registration("unseen", full_name="\u3164")
    answer = me.api.request("POST", f"{prefix}/auth/register", json=body)
    assert_blank(answer, "/full_name")


def assert_blank(answer: httpx.Response, pointer: str) -> None:
    """Assert that a text was refused because no character of it is visible."""
    problem = assert_problem(answer, 422, "validation-failed")
    assert [one["pointer"] for one in problem["errors"]] == [pointer]
