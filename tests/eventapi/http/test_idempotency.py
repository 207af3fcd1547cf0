"""Idempotency-Key: a repeated request gets the first answer, byte for byte."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest

from eventapi.http.idempotency import parse_key
from tests.eventapi.http.client import Api, Caller, assert_problem, quiet_settings, registration

KEY = {"idempotency-key": '"0b71a3fa-d0a1-4b0e-8a51-3f4c1f6a4f0e"'}


def same(first: httpx.Response, second: httpx.Response) -> bool:
    """Whether two answers are equal except for their request ids."""
    ours = {"x-request-id", "date"}
    headers = [
        [(name, value) for name, value in answer.headers.multi_items() if name not in ours]
        for answer in (first, second)
    ]
    parts = (first.status_code, first.content), (second.status_code, second.content)
    return parts[0] == parts[1] and headers[0] == headers[1]


def test_a_repeated_create_makes_one_item(ann: Caller, prefix: str) -> None:
    me = ann.under(prefix)
    first = me.post("/items", json={"title": "once"}, headers=KEY)

    second = me.post("/items", json={"title": "once"}, headers=KEY)

    assert same(first, second)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert "once" in me.get("/items").text
    assert me.get("/items").text.count("once") == 1


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_repeated_change_happens_once(ann: Caller, prefix: str, method: str) -> None:
    """The second answer to a deletion is that of the first, not a 404."""
    me = ann.under(prefix)
    number = me.create()
    how: dict[str, Any] = {} if method == "DELETE" else {"json": {"title": "changed"}}

    first = me.request(method, f"/items/{number}", headers=KEY, **how)

    assert first.status_code < 300
    assert same(first, me.request(method, f"/items/{number}", headers=KEY, **how))


def test_a_repeated_request_gets_the_first_answer_although_the_item_has_changed(
    ann: Caller, prefix: str
) -> None:
    """The server rebuilds the answer from the log."""
    me = ann.under(prefix)
    number = me.create()
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/items", {"json": {"title": "new", "description": "\U0001f600" * 5000}}),
        ("PUT", f"/items/{number}", {"json": {"title": "replaced"}}),
        ("PATCH", f"/items/{number}", {"json": {"description": "patched"}}),
        ("DELETE", f"/items/{number}", {}),
        ("POST", f"/items/{number}/restore", {}),
        ("PATCH", f"/items/{number}", {"json": {"title": "patched"}}),
    ]
    headers = [{"idempotency-key": f"key-{place}"} for place in range(len(requests))]

    def send_all() -> list[httpx.Response]:
        return [
            me.request(method, path, headers=key, **how)
            for (method, path, how), key in zip(requests, headers, strict=True)
        ]

    first = send_all()
    assert all(answer.status_code < 300 for answer in first)

    me.patch(f"/items/{number}", json={"title": "later"})
    assert all(map(same, first, send_all()))

    me.delete(f"/items/{number}")
    assert all(map(same, first, send_all()))


def test_a_retry_is_answered_although_the_first_request_outdated_its_condition(
    ann: Caller,
) -> None:
    number = ann.create()
    headers = KEY | {"if-match": ann.get(f"/items/{number}").headers["etag"]}

    first = ann.patch(f"/items/{number}", json={"title": "new"}, headers=headers)

    assert first.status_code == 200
    assert same(first, ann.patch(f"/items/{number}", json={"title": "new"}, headers=headers))


def test_a_repeated_registration_makes_one_account(api: Api) -> None:
    body = registration("once")
    first = api.request("POST", "/auth/register", json=body, headers=KEY)
    assert first.status_code == 200
    assert same(first, api.request("POST", "/auth/register", json=body, headers=KEY))

    other = body | {"password": "another password"}
    assert_problem(
        api.request("POST", "/auth/register", json=other, headers=KEY),
        422,
        "idempotency-key-reused",
    )


def test_registrations_of_different_names_do_not_share_keys(api: Api, prefix: str) -> None:
    """Otherwise a key of another client could refuse a registration."""
    for number in range(2):
        name = f"key-{number}{prefix.replace('/', '-')}"
        body = registration(name)
        answer = api.request("POST", f"{prefix}/auth/register", json=body, headers=KEY)
        assert answer.status_code == (201 if prefix == "/api/v2" else 200), number
        assert answer.json()["username"] == name


def test_a_registration_may_be_retried_from_another_address() -> None:
    """A phone that changes its network is still the same client."""
    body = registration("mobile")
    with Api(quiet_settings(trusted_proxies=("127.0.0.1",))) as api:
        first, second = (
            api.request("POST", "/auth/register", json=body, headers=KEY | {"x-forwarded-for": one})
            for one in ("198.51.100.1", "203.0.113.9")
        )
        assert first.status_code == 200
        assert same(first, second)


def test_the_idempotency_key_in_the_log_does_not_reveal_the_registered_name(
    new_api: Api,
) -> None:
    """After an erasure, a dictionary of names and the key must not identify the user."""
    body = registration("ann")
    key = KEY["idempotency-key"].strip('"')

    assert new_api.request("POST", "/auth/register", json=body, headers=KEY).status_code == 200

    lines = [json.loads(line) for line in new_api.log_lines()]
    (found,) = (line["idempotencykey"] for line in lines if "idempotencykey" in line)
    for names in (("ann",), ("ann", "ann@example.org"), ("register", "ann", "ann@example.org")):
        for separator in ("\0", ""):
            guess = separator.join((*names, key))
            assert hashlib.sha256(guess.encode()).hexdigest() != found
    assert hashlib.sha256(f"\0{key}".encode()).hexdigest() != found


def test_a_key_of_another_request_is_refused(ann: Caller) -> None:
    ann.post("/items", json={"title": "one"}, headers=KEY)

    again = ann.post("/items", json={"title": "two"}, headers=KEY)

    assert_problem(again, 422, "idempotency-key-reused")
    assert len(ann.get("/items").json()) == 1


def test_a_key_is_the_same_with_and_without_quotes(ann: Caller) -> None:
    bare = {"idempotency-key": KEY["idempotency-key"].strip('"')}
    first = ann.post("/items", json={"title": "one"}, headers=KEY)

    assert same(first, ann.post("/items", json={"title": "one"}, headers=bare))


@pytest.mark.parametrize(
    ("quoted", "bare"), [(r'"a\"b"', 'a"b'), (r'"a\\b"', r"a\b"), (r'"\\\""', r"\"")]
)
def test_a_quoted_key_is_a_string_of_a_structured_field(quoted: str, bare: str) -> None:
    """RFC 9651, section 3.3.3: a backslash stands before a quote and before a backslash."""
    assert parse_key(quoted) == bare


def test_users_do_not_share_keys(ann: Caller, bob: Caller) -> None:
    first = ann.post("/items", json={"title": "one"}, headers=KEY).json()
    second = bob.post("/items", json={"title": "one"}, headers=KEY).json()

    assert first["id"] != second["id"]


def test_without_a_key_every_request_takes_effect(ann: Caller) -> None:
    for _ in range(2):
        ann.post("/items", json={"title": "one"})
    assert len(ann.get("/items").json()) == 2


def test_a_refused_request_does_not_use_its_key(ann: Caller) -> None:
    assert_problem(ann.patch("/items/999999", json={}, headers=KEY), 404, "not-found")
    assert ann.post("/items", json={"title": "one"}, headers=KEY).status_code == 200


@pytest.mark.parametrize(
    "key", ["", '""', "a" * 256, '"' + "a" * 256 + '"', "tab\tkey", '"open', r'"\"', r'"a\b"']
)
def test_a_malformed_key_is_refused(ann: Caller, key: str) -> None:
    answer = ann.post("/items", json={"title": "one"}, headers={"idempotency-key": key})
    assert_problem(answer, 422, "validation-failed")


@pytest.mark.parametrize(
    "key", ["a", "a" * 255, '"' + "a" * 255 + '"', '"with a space"', '"' + r"\"" * 255 + '"']
)
def test_a_well_formed_key_is_accepted(ann: Caller, key: str) -> None:
    answer = ann.post("/items", json={"title": "one"}, headers={"idempotency-key": key})
    assert answer.status_code == 200


def test_one_of_two_identical_concurrent_requests_takes_effect(ann: Caller) -> None:
    how = {"token": ann.token, "json": {"title": "one"}, "headers": KEY}

    answers = ann.api.request_all([("POST", "/items", dict(how)), ("POST", "/items", dict(how))])

    assert len(ann.get("/items").json()) == 1
    for answer in answers:
        if answer.status_code != 200:
            assert_problem(answer, 409, "request-in-progress")
    assert 200 in {answer.status_code for answer in answers}
