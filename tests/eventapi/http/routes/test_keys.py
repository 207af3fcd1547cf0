"""API keys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventapi.commands.users import DisableUser, EnableUser
from eventapi.http.operation import operation_of
from tests.eventapi.http.client import OPERATOR, PASSWORD, Api, Caller, assert_problem
from tests.eventapi.http.links import types

V2 = "/api/v2"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """An app of this module in this process, because tests look into its services."""
    with Api() as running:
        yield running


@pytest.fixture
def ann(api: Api) -> Caller:
    return api.caller(prefix=V2)


def make(caller: Caller, **members: Any) -> dict[str, Any]:
    answer = caller.post("/auth/keys", json={"name": "a key"} | members)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


def use(caller: Caller, key: dict[str, Any], method: str, path: str, **how: Any) -> httpx.Response:
    return caller.api.request(method, V2 + path, token=key["key"], **how)


def test_a_key_is_shown_once(ann: Caller) -> None:
    key = make(ann, name="nightly", scopes=["read"], expires_at="2999-01-01T00:00:00+01:00")
    assert key["key"].startswith(f"eak_{key['id']}_")
    shown = {name: value for name, value in key.items() if name != "key"}
    assert shown == {
        "id": key["id"],
        "name": "nightly",
        "scopes": ["read"],
        "created_at": key["created_at"],
        "expires_at": "2998-12-31T23:00:00.000000Z",
        "last_used_at": None,
    }
    assert ann.get("/auth/keys").json() == [shown]


def test_keys_read_and_write_in_both_versions(ann: Caller) -> None:
    key = make(ann)
    created = use(ann, key, "POST", "/items", json={"title": "a"})
    assert created.status_code == 201
    line = json.loads(ann.api.log_lines()[int(created.headers["event-position"]) - 1])
    assert line["apikey"] == key["id"]
    for prefix in ("", "/api/v1", V2):
        answer = ann.api.request("GET", f"{prefix}/items", token=key["key"])
        assert answer.status_code == 200


@pytest.mark.parametrize("scopes", [["read"], ["write"]])
def test_a_key_needs_the_scope_of_the_method(ann: Caller, scopes: list[str]) -> None:
    key = make(ann, scopes=scopes)
    reads, writes = scopes == ["read"], scopes == ["write"]
    read = use(ann, key, "GET", "/items")
    write = use(ann, key, "POST", "/items", json={"title": "a"})
    assert (read.status_code == 200, write.status_code == 201) == (reads, writes)
    if reads:
        mine = ann.create()
        for path in ("/items", f"/items/{mine}"):
            assert use(ann, key, "GET", path).headers["allow"] == "GET, HEAD"
    assert_problem(write if reads else read, 403, "forbidden")


def test_a_key_audits_with_the_scope_and_the_role(api: Api) -> None:
    auditor = api.auditor()
    caller = auditor.under(V2)
    without, with_scope = make(caller), make(caller, scopes=["audit"])
    assert_problem(use(caller, without, "GET", "/audit/events"), 403, "forbidden")
    assert use(caller, with_scope, "GET", "/audit/events").status_code == 200
    body = {"name": "a", "scopes": ["audit"]}
    answer = api.caller(prefix=V2).post("/auth/keys", json=body)
    assert_problem(answer, 422, "validation-failed")


def test_a_key_manages_no_account(ann: Caller) -> None:
    """Every request below /auth but those that only read the account is refused."""
    key = make(ann, scopes=["read", "write"])
    before = len(types(ann.api))
    refused = set()
    for route in ann.api.edge.routes:
        path = route.path.replace("{session_id:str}", "x").replace("{key_id:str}", key["id"])
        if not path.startswith(f"{V2}/auth/"):
            continue
        for handler in route.route_handlers:
            operation = operation_of(handler)
            if operation is None or not handler.resolve_guards():
                continue
            for method in handler.http_methods - {"HEAD"}:
                answer = ann.api.request(str(method), path, token=key["key"], json=_body(path))
                if answer.status_code == 403:
                    refused.add(f"{method} {path.removeprefix(V2)}")
    allowed = {"GET /auth/me", "GET /auth/me/events"}
    assert refused >= {
        "DELETE /auth/me",
        "PATCH /auth/me",
        "POST /auth/password",
        "POST /auth/keys",
        "GET /auth/keys",
        f"DELETE /auth/keys/{key['id']}",
        "POST /auth/totp",
        "DELETE /auth/totp",
        "POST /auth/totp/confirm",
        "GET /auth/sessions",
        "DELETE /auth/sessions",
        "POST /auth/logout",
        "POST /auth/email/verification",
    }
    assert not refused & allowed
    assert set(types(ann.api, before)) <= {"key.used"}


def _body(path: str) -> dict[str, str]:
    bodies = {
        f"{V2}/auth/me": {"password": PASSWORD},
        f"{V2}/auth/keys": {"name": "another"},
        f"{V2}/auth/totp": {"password": PASSWORD},
        f"{V2}/auth/totp/confirm": {"code": "123456"},
        f"{V2}/auth/password": {"current_password": PASSWORD, "new_password": "a new password"},
    }
    return bodies.get(path, {})


def test_a_revoked_key_is_dead_at_once(ann: Caller) -> None:
    key = make(ann)
    assert use(ann, key, "GET", "/items").status_code == 200
    assert ann.delete(f"/auth/keys/{key['id']}").status_code == 204
    assert_problem(use(ann, key, "GET", "/items"), 401, "unauthenticated")
    assert_problem(ann.delete(f"/auth/keys/{key['id']}"), 404, "not-found")
    assert ann.get("/auth/keys").json() == []


def test_another_users_key_cannot_be_revoked(ann: Caller) -> None:
    key = make(ann)
    answer = ann.api.caller(prefix=V2).delete(f"/auth/keys/{key['id']}")
    assert_problem(answer, 404, "not-found")
    assert use(ann, key, "GET", "/items").status_code == 200


@pytest.mark.parametrize("scopes", [["AAA"], ["read", "AAA"], [], "read", [1], None])
def test_unknown_scopes_are_refused(ann: Caller, scopes: object) -> None:
    body = {"name": "a", "scopes": scopes, "expires_at": "2000-01-01T00:00:00Z"}
    assert_problem(ann.post("/auth/keys", json=body), 422, "validation-failed")


def test_keys_of_disabled_and_erased_users_are_refused(ann: Caller) -> None:
    key = make(ann)
    ann.api.execute(DisableUser(ann.name, OPERATOR))
    assert_problem(use(ann, key, "GET", "/items"), 401, "unauthenticated")
    ann.api.execute(EnableUser(ann.name, OPERATOR))
    assert use(ann, key, "GET", "/items").status_code == 200
    again = Caller(ann.api, ann.name, ann.api.login(ann.name).json(), V2)
    assert again.erase().status_code == 204
    assert_problem(use(ann, key, "GET", "/items"), 401, "unauthenticated")


def test_an_expired_key_is_refused_and_a_past_expiry_is_not_accepted(ann: Caller) -> None:
    body = {"name": "a", "expires_at": "2020-01-01T00:00:00Z"}
    assert_problem(ann.post("/auth/keys", json=body), 422, "validation-failed")
    body["expires_at"] = "tomorrow"
    assert_problem(ann.post("/auth/keys", json=body), 422, "validation-failed")


def test_every_changed_bit_of_a_key_is_refused(ann: Caller) -> None:
    key = make(ann)
    text = key["key"]
    for at in range(len(text)):
        for bit in range(7):
            letter = chr(ord(text[at]) ^ 1 << bit)
            if not "!" <= letter <= "~":
                continue
            changed = key | {"key": text[:at] + letter + text[at + 1 :]}
            assert use(ann, changed, "GET", "/auth/me").status_code == 401, letter
    assert use(ann, key, "GET", "/auth/me").status_code == 200


def test_a_use_is_shown_and_recorded_once(ann: Caller) -> None:
    key = make(ann)
    before = len(types(ann.api))
    headers = {"x-request-id": "request-7", "change-reason": "none, because nothing changes"}
    for _ in range(3):
        assert use(ann, key, "GET", "/items", headers=headers).status_code == 200
    (shown,) = ann.get("/auth/keys").json()
    assert shown["last_used_at"] > key["created_at"]
    assert types(ann.api, before) == ["key.used"]
    line = json.loads(ann.api.log_lines()[-1])
    assert (line["apikey"], line["requestid"]) == (key["id"], "request-7")
    opened = ann.api.auditor().under(V2).get(f"/audit/events/{line['id']}").text
    assert "user_agent" in opened
    assert headers["change-reason"] not in opened


def test_the_number_of_keys_is_limited(api: Api) -> None:
    user = api.caller(prefix=V2)
    for _ in range(100):
        make(user)
    answer = user.post("/auth/keys", json={"name": "one more"})
    assert_problem(answer, 409, "quota-exceeded")


def test_the_log_has_no_key_and_no_name_in_clear(ann: Caller) -> None:
    key = make(ann, name="a very personal name")
    text = b"".join(ann.api.log_lines()).decode()
    assert key["key"].split("_")[2] not in text
    assert "very personal" not in text


def test_a_revoked_key_ends_its_event_streams(ann: Caller) -> None:
    key = make(ann)
    path, headers = f"{V2}/items/events", {"accept": "text/event-stream"}

    async def follow() -> None:
        stream = ann.api.request_async("GET", path, token=key["key"], headers=headers)
        task = asyncio.ensure_future(stream)
        while not ann.api.edge.services.live_events.count:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.01)
        revoke = f"{V2}/auth/keys/{key['id']}"
        await ann.api.request_async("DELETE", revoke, token=ann.token)
        assert (await asyncio.wait_for(task, 10)).status_code == 200

    ann.api.run(follow())
