"""Change-Reason, and the session of a request: on the line, in the seal, in what readers see."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

import pytest

from eventapi.commands.users import GrantRole
from tests.eventapi.http.client import OPERATOR, PASSWORD, Api, Caller, assert_problem

PREFIXES = ("", "/api/v2")
REASON = "the customer asked for it: 日本 \U0001f35c"


@pytest.fixture
def api(new_api: Api) -> Api:
    """An app for one test, because the tests read the whole log."""
    return new_api


@pytest.fixture
def root(api: Api) -> Caller:
    caller = api.caller("root", "/api/v2")
    for role in ("operator", "auditor"):
        api.execute(GrantRole("root", role, OPERATOR))
    return caller


def because(reason: str | bytes = REASON, **headers: str) -> dict[str, Any]:
    """The headers of a request with a reason."""
    return {"change-reason": reason if isinstance(reason, bytes) else reason.encode(), **headers}


def last_lines(api: Api, count: int = 1) -> list[dict[str, Any]]:
    return [json.loads(line) for line in api.log_lines()][-count:]


def reasons(caller: Caller, path: str) -> list[str | None]:
    return [entry.get("reason") for entry in caller.get(f"{path}/history").json()]


# Where a reason is shown


@pytest.mark.parametrize("prefix", PREFIXES)
def test_history_shows_the_reason_of_each_change(api: Api, prefix: str) -> None:
    ann = api.caller(prefix=prefix)
    number = ann.post("/items", json={"title": "a"}, headers=because("first")).json()["id"]
    path = f"/items/{number}"
    assert ann.patch(path, json={"title": "b"}).status_code == 200
    assert ann.put(path, json={"title": "c"}, headers=because("third")).status_code == 200
    assert ann.delete(path, headers=because()).status_code == 204
    assert ann.post(f"{path}/restore", headers=because("")).status_code == 200
    assert reasons(ann, path) == ["first", None, "third", REASON, None]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_entry_without_a_reason_has_the_members_of_before(api: Api, prefix: str) -> None:
    ann = api.caller(prefix=prefix)
    (entry,) = ann.get(f"/items/{ann.create()}/history").json()
    assert list(entry) == ["position", "time", "type", "actor", "changes"]


def test_auditor_and_owner_can_prove_an_opened_event(api: Api, root: Caller) -> None:
    ann = api.caller()
    position = ann.post("/items", json={"title": "a"}, headers=because()).headers["event-position"]
    opened = root.get(f"/audit/events/{position}").json()
    lines = map(json.loads, ann.get("/auth/me/export").text.splitlines())
    (exported,) = (line for line in lines if line["record"]["id"] == position)
    for found in (opened, exported):
        assert found["personal"] == {"title": "a", "description": None}
        assert found["reason"] == REASON
        digest = urlsafe_b64encode(sha256(found["clear"].encode()).digest()).rstrip(b"=")
        assert found["record"]["commitment"] == digest.decode()


def test_text_with_a_password_hash_is_not_handed_out(api: Api, root: Caller) -> None:
    assert api.request(
        "POST",
        "/auth/register",
        json={"username": "ann", "email": "ann@example.org", "password": PASSWORD},
        headers=because("invited"),
    ).is_success
    (line,) = last_lines(api)
    opened = root.get(f"/audit/events/{line['id']}").json()
    assert opened["reason"] == "invited"
    assert "password_hash" not in json.dumps(opened)
    assert "clear" not in opened
    assert opened["personal"]["username"] == "ann"


def test_no_reason_is_readable_in_the_log(api: Api, root: Caller) -> None:
    ann = api.caller()
    ann.post("/items", json={"title": "a"}, headers=because("a secret cause"))
    ann.delete(f"/items/{ann.create()}", headers=because("a secret cause"))
    assert b"secret cause" not in b"".join(api.log_lines())


# Which key seals it


def test_reason_of_a_change_is_sealed_for_whom_it_concerns(api: Api, root: Caller) -> None:
    ann = api.caller("ann", "/api/v2")
    number = root.get("/users?q=ann").json()["items"][0]["id"]
    assert root.patch(f"/users/{number}", json={"disabled": True}, headers=because()).is_success
    (disabled,) = last_lines(api)
    assert (disabled["type"], disabled["sealedfor"]) == ("user.disabled", f"users/{number}")
    assert root.patch(f"/users/{number}", json={"disabled": False}).is_success
    assert "sealedfor" not in last_lines(api)[0]
    hook = root.post("/webhooks", json={"url": "https://example.org/"}, headers=because())
    assert hook.status_code == 201
    (created,) = last_lines(api)
    assert (created["type"], created["sealedfor"]) == ("webhook.created", created["actor"])
    assert root.get(f"/audit/events/{created['id']}").json()["reason"] == REASON
    assert root.get(f"/audit/events/{created['id']}").json()["personal"] is None
    assert ann.name == "ann"


def test_reasons_of_a_user_go_with_the_key(api: Api, root: Caller) -> None:
    ann = api.caller("ann", "/api/v2")
    ann.delete(f"/items/{ann.create()}", headers=because())
    (deleted,) = last_lines(api)
    number = root.get("/users?q=ann").json()["items"][0]["id"]
    assert root.delete(f"/users/{number}", headers=because()).status_code == 204
    (erased,) = last_lines(api)
    assert erased["type"] == "user.erased"
    for line in (deleted, erased):
        opened = root.get(f"/audit/events/{line['id']}").json()
        assert opened["personal"] is None
        assert opened.keys() == {"record", "personal", "proof"}
        assert line["commitment"]


# Several events of one request


def test_every_event_of_a_batch_has_the_reason(api: Api) -> None:
    ann = api.caller(prefix="/api/v2")
    requests = [
        {"method": "POST", "path": "/items", "body": {"title": "a"}},
        {"method": "PATCH", "path": "/items/$0", "body": {"title": "b"}},
        {"method": "DELETE", "path": "/items/$0"},
    ]
    answer = ann.post("/batch", json={"requests": requests}, headers=because())
    assert answer.status_code == 200, answer.text
    number = answer.json()["responses"][0]["body"]["id"]
    assert reasons(ann, f"/items/{number}") == [REASON] * 3


@pytest.mark.parametrize("prefix", PREFIXES)
def test_repeat_with_another_reason_is_another_request(api: Api, prefix: str) -> None:
    ann = api.caller(prefix=prefix)

    def create(reason: str) -> Any:
        headers = because(reason, **{"idempotency-key": "k"})
        return ann.post("/items", json={"title": "a"}, headers=headers)

    first = create("one")
    assert create("one").json() == first.json()
    assert_problem(create("two"), 422, "idempotency-key-reused")
    assert_problem(create(""), 422, "idempotency-key-reused")
    assert reasons(ann, f"/items/{first.json()['id']}") == ["one"]


# Faults


@pytest.mark.parametrize(
    "reason",
    [
        *("x" * 501, "日" * 501, "a\tb", "a\x7fb", "a\u0085b", "a\u202eb", "a\u2066b", "\u200b"),
        *(b"caf\xe9", b"\xff", b"\xed\xa0\x80"),
    ],
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_bad_reason_is_refused_and_changes_nothing(
    api: Api, prefix: str, reason: str | bytes
) -> None:
    ann = api.caller(prefix=prefix)
    number, before = ann.create(), len(api.log_lines())
    for method, path, body in (
        ("POST", "/items", {"title": "a"}),
        ("DELETE", f"/items/{number}", None),
        ("PATCH", "/auth/me", {"full_name": "Ann"}),
        ("POST", "/auth/password/forgot", {"email": "nobody@example.org"}),
    ):
        answer = ann.request(method, path, json=body, headers=because(reason))
        problem = assert_problem(answer, 422, "validation-failed")
        assert "Change-Reason" in json.dumps(problem)
    assert len(api.log_lines()) == before


@pytest.mark.parametrize("reason", ["x" * 500, "\U0001f35c" * 500])
def test_longest_reason_is_accepted(api: Api, reason: str) -> None:
    ann = api.caller(prefix="/api/v2")
    answer = ann.post("/items", json={"title": "a"}, headers=because(reason))
    assert reasons(ann, f"/items/{answer.json()['id']}") == [reason]


def test_bad_token_is_reported_before_a_bad_reason(api: Api) -> None:
    answer = api.request("POST", "/api/v2/items", json={"title": "a"}, headers=because(b"\xff"))
    assert_problem(answer, 401, "unauthenticated")


def test_readers_may_send_the_header_too(api: Api) -> None:
    ann = api.caller(prefix="/api/v2")
    assert ann.get("/items", headers=because(b"\xff")).status_code == 200


# The session of a request


def test_line_names_the_session_of_its_request(api: Api) -> None:
    ann = api.caller()
    number = ann.create()
    ann.patch("/auth/me", json={"full_name": "Ann"})
    lines = last_lines(api, 2)
    assert [line["session"] for line in lines] == [ann.session_id] * 2
    names = list(lines[0])
    assert names.index("session") == names.index("requestid") + 1
    started = [line for line in last_lines(api, 99) if line["type"] == "session.started"]
    assert started[-1]["subject"] == f"sessions/{ann.session_id}"
    assert all("session" not in line for line in started)
    assert number


def test_line_of_an_api_key_names_the_key_and_no_session(api: Api) -> None:
    ann = api.caller(prefix="/api/v2")
    body = {"name": "robot", "scopes": ["write"]}
    key = ann.post("/auth/keys", json=body).json()
    assert api.request("POST", "/api/v2/items", json={"title": "a"}, token=key["key"]).is_success
    created = [line for line in last_lines(api, 3) if line["type"] == "item.created"][-1]
    assert created["apikey"] == key["id"]
    assert "session" not in created


def test_every_write_of_the_document_has_the_header(api: Api) -> None:
    document = api.request("GET", "/openapi.json").json()
    shared = document["components"]["parameters"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            found = [
                shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                for one in operation.get("parameters", [])
            ]
            names = {one["name"] for one in found if one["in"] == "header"}
            assert ("Change-Reason" in names) == (method != "get"), (method, path)


def test_the_document_allows_one_line(api: Api) -> None:
    parameters = api.request("GET", "/openapi.json").json()["components"]["parameters"].values()
    (pattern,) = {one["schema"]["pattern"] for one in parameters if one["name"] == "Change-Reason"}
    for refused in ("a\tb", "a\x7fb", "a\u0085b", "a\u202eb", "a\u2066b"):
        assert not re.search(pattern, refused)
    assert re.search(pattern, REASON)
