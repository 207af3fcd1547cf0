"""``/api/v2/webhooks``: what operators see and change."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventapi.commands.users import EraseUser, GrantRole
from eventapi.configuration.settings import Settings
from tests.eventapi.http.client import OPERATOR, Api, Caller, assert_problem, quiet_settings
from tests.eventapi.http.resources.server import V2
from tests.eventapi.webhooks.receiver import Receiver, always, receiving

URL = "https://example.org/hook"
MEMBERS = {
    *("id", "url", "types", "description", "created_at", "version", "disabled"),
    *("disabled_reason", "position", "lag", "last_status", "failing_since"),
}


def settings() -> Settings:
    return quiet_settings(webhook_private_addresses="on")


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(settings()) as running:
        yield running


@pytest.fixture
def root(api: Api) -> Caller:
    caller = api.caller("root", V2)
    api.execute(GrantRole("root", "operator", OPERATOR))
    return caller


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def until(api: Api, condition: Callable[[], bool]) -> None:
    """Let the app run until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        api.request("GET", "/health/live")
        time.sleep(0.02)


def create(root: Caller, **body: Any) -> Any:
    answer = root.post("/webhooks", json={"url": URL} | body)
    assert answer.status_code == 201
    return answer.json()


def test_a_webhook_is_created_with_a_secret_that_is_shown_once(api: Api, root: Caller) -> None:
    answer = root.post("/webhooks", json={"url": URL, "types": ["item.*"], "description": "shop"})
    webhook = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"].endswith("/api/v2/webhooks/1")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["event-position"] == str(webhook["version"]) == str(api.log.position)
    assert webhook["secret"].startswith("whsec_")
    assert webhook.keys() == MEMBERS | {"secret"}
    del webhook["secret"]
    assert root.get("/webhooks/1").json() == webhook
    assert root.get("/webhooks").json() == [webhook]
    assert webhook["types"] == ["item.*"]
    assert webhook["description"] == "shop"


def test_no_secret_is_in_the_log(api: Api, root: Caller) -> None:
    secrets = [create(root)["secret"]]
    secrets.append(root.post("/webhooks/1/rotate-secret").json()["secret"])
    assert len({*secrets}) == 2
    log = b"\n".join(api.log_lines()).decode()
    assert not any(secret.removeprefix("whsec_") in log for secret in secrets)


def test_a_repeated_creation_has_the_same_secret(root: Caller) -> None:
    headers = {"idempotency-key": "once"}
    answers = [root.post("/webhooks", json={"url": URL}, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 201]
    assert answers[0].json()["secret"] == answers[1].json()["secret"]
    assert len(root.get("/webhooks").json()) == 1


def test_a_repeated_creation_has_the_first_answer_whatever_happened_since(root: Caller) -> None:
    headers = {"idempotency-key": "once"}
    first = root.post("/webhooks", json={"url": URL}, headers=headers).json()
    root.post("/webhooks/1/rotate-secret")
    root.patch("/webhooks/1", json={"description": "changed"})
    assert (
        root.post("/webhooks", json={"url": URL}, headers=headers).json()["secret"]
        == (first["secret"])
    )
    root.delete("/webhooks/1")
    again = root.post("/webhooks", json={"url": URL}, headers=headers)
    assert (again.status_code, again.json()["description"]) == (201, "")
    other = root.post("/webhooks", json={"url": URL + "?"}, headers=headers)
    assert_problem(other, 422, "idempotency-key-reused")
    assert root.get("/webhooks").json() == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "ftp://example.org"}, "/url"),
        ({"url": "https://me:secret@example.org"}, "/url"),
        ({"url": URL, "types": ["user.made"]}, "/types/0"),
        ({"url": URL, "types": ["item.*", "webhook.*"]}, "/types/1"),
        ({"url": URL, "types": ["*"]}, "/types/0"),
        ({"url": URL, "types": "item.*"}, "/types"),
        ({"url": URL, "description": "\0"}, "/description"),
        ({"url": URL, "description": "\x1b[2J"}, "/description"),
        ({"url": URL, "description": "\u202ereversed"}, "/description"),
        ({"types": []}, "/url"),
    ],
)
def test_an_unusable_webhook_is_refused(
    api: Api, root: Caller, body: dict[str, Any], pointer: str
) -> None:
    before = api.log.position
    problem = assert_problem(root.post("/webhooks", json=body), 422, "validation-failed")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert api.log.position == before


def test_every_fault_is_reported_at_once_in_plain_words(root: Caller) -> None:
    create(root)
    body = {"url": "ftp://example.org", "types": ["*", 5, "item", "item.*"], "description": "\0"}
    form = "must be an event type, or KIND.*"
    for answer in (
        root.post("/webhooks", json=body),
        root.patch("/webhooks/1", json=body),
    ):
        problem = assert_problem(answer, 422, "validation-failed")
        assert {error["pointer"]: error["detail"] for error in problem["errors"]} == {
            "/url": "must begin with https:// or http:// and a host",
            "/types/0": form,
            "/types/1": "must be a string, not a whole number",
            "/types/2": form,
            "/description": "must have no control characters but tab, newline and carriage return",
        }


@pytest.mark.parametrize("port", ["0", "00", "65536", "-1", "8x"])
def test_a_port_that_does_not_exist_is_named(root: Caller, port: str) -> None:
    refused = root.post("/webhooks", json={"url": f"https://example.org:{port}/"})
    (error,) = assert_problem(refused, 422, "validation-failed")["errors"]
    assert error["detail"].startswith("must have a port from 1 to 65535, or none")


def test_an_unknown_type_is_refused_with_the_known_ones(root: Caller) -> None:
    answer = root.post("/webhooks", json={"url": URL, "types": ["user.made"]})
    assert "user.erased" in answer.text
    assert "item.created" in answer.text


def test_a_patch_changes_the_given_members_all_or_none(root: Caller) -> None:
    before = create(root)
    changed = root.patch("/webhooks/1", json={"types": ["user.erased"], "disabled": True}).json()
    assert changed == {name: value for name, value in before.items() if name != "secret"} | {
        "types": ["user.erased"],
        "disabled": True,
        "disabled_reason": "operator",
        "version": changed["version"],
        "lag": changed["lag"],
        "position": changed["position"],
    }
    enabled = root.patch("/webhooks/1", json={"disabled": False, "description": "x"}).json()
    assert (enabled["disabled"], enabled["disabled_reason"]) == (False, None)
    version = root.get("/webhooks/1").json()["version"]
    for body in ({}, {"disabled": False}):
        needless = root.patch("/webhooks/1", json=body)
        assert (needless.status_code, needless.headers["event-position"]) == (200, str(version))
    refused = root.patch("/webhooks/1", json={"url": "gopher://x", "disabled": True})
    assert_problem(refused, 422, "validation-failed")
    assert root.get("/webhooks/1").json()["version"] == version


def test_null_in_a_patch_removes_a_member(root: Caller) -> None:
    create(root, types=["item.*"], description="shop")
    changed = root.patch("/webhooks/1", json={"types": None, "description": None}).json()
    assert (changed["types"], changed["description"]) == ([], "")
    for name in ("url", "disabled"):
        assert_problem(root.patch("/webhooks/1", json={name: None}), 422, "validation-failed")


def test_a_webhook_outlives_the_operator_who_made_it(
    api: Api, root: Caller, receiver: Receiver
) -> None:
    secret = create(root, url=receiver.url, types=["user.erased"])["secret"]
    ann = api.caller("ann", V2)
    api.execute(GrantRole("ann", "operator", OPERATOR))
    api.execute(EraseUser("root", OPERATOR))
    until(api, lambda: len(receiver.deliveries) == 1)
    assert receiver.deliveries[0].verify(secret)["subject"] == "users/1"
    assert ann.get("/webhooks/1").json()["last_status"] == "ok"
    assert ann.patch("/webhooks/1", json={"disabled": True}).status_code == 200
    api.caller("eve", V2)
    disabled = ann.get("/webhooks/1").json()
    assert (disabled["disabled_reason"], disabled["lag"] > 0) == ("operator", True)


def test_a_deleted_webhook_is_not_found(root: Caller) -> None:
    create(root)
    assert root.delete("/webhooks/1").status_code == 204
    for answer in (
        root.get("/webhooks/1"),
        root.patch("/webhooks/1", json={"url": URL}),
        root.delete("/webhooks/1"),
        root.post("/webhooks/1/test"),
        root.post("/webhooks/1/replay", json={"after": 0}),
        root.post("/webhooks/1/rotate-secret"),
    ):
        assert_problem(answer, 404, "not-found")
    assert root.get("/webhooks").json() == []
    assert create(root)["id"] == 2


def test_events_reach_the_receiver_signed(api: Api, root: Caller, receiver: Receiver) -> None:
    secret = create(root, url=receiver.url, types=["item.*"])["secret"]
    root.post("/items", json={"title": "a canary title"})
    position = api.log.position
    until(api, lambda: receiver.positions == [position])
    (delivery,) = receiver.deliveries
    event = delivery.verify(secret)
    assert event["type"] == "item.created"
    assert "sealed" not in event["data"]
    assert json.loads(api.log_lines(position - 1, position)[0])["data"].keys() >= {"sealed"}
    until(api, lambda: root.get("/webhooks/1").json()["lag"] == 0)


def test_a_failing_receiver_is_named_and_makes_no_check_fail(
    api: Api, root: Caller, receiver: Receiver
) -> None:
    receiver.answer = always(500)
    create(root, url=receiver.url)
    root.post("/items", json={"title": "a title"})
    until(api, lambda: api.request("GET", "/health").json()["failing_webhooks"] == [1])
    assert api.request("GET", "/health/ready").status_code == 200
    seen = root.get("/webhooks/1").json()
    assert (seen["last_status"], seen["lag"]) == ("the receiver answered 500", 1)
    assert seen["failing_since"]
    metrics = api.request("GET", "/metrics").text
    assert 'eventapi_webhook_attempts_total{id="1"} 1.0' in metrics
    assert 'eventapi_webhook_failures_total{id="1"} 1.0' in metrics
    assert 'eventapi_follower_lag_events{follower="webhook-1"} 1.0' in metrics


def test_a_webhook_that_the_server_disabled_is_shown_until_it_is_enabled(
    api: Api, root: Caller, receiver: Receiver
) -> None:
    def failing() -> Any:
        return api.request("GET", "/health").json()["failing_webhooks"]

    def has_metric(line: str) -> bool:
        return line in api.request("GET", "/metrics").text.splitlines()

    create(root, types=["item.*"])
    root.patch("/webhooks/1", json={"disabled": True})
    receiver.answer = always(410)
    create(root, url=receiver.url, types=["item.*"])
    root.post("/items", json={"title": "a title"})
    until(api, lambda: root.get("/webhooks/2").json()["disabled_reason"] == "gone")
    # The follower of the webhook has ended.
    until(api, lambda: has_metric('eventapi_follower_lag_events{follower="webhook-2"} 0.0'))
    assert has_metric("eventapi_webhooks_disabled 1.0")
    assert failing() == [2]
    assert root.get("/webhooks/2").json()["last_status"] == "the receiver answered 410"
    receiver.answer = always(204)
    root.patch("/webhooks/2", json={"disabled": False})
    until(api, lambda: failing() == [] and has_metric("eventapi_webhooks_disabled 0.0"))


def test_a_replay_delivers_again(api: Api, root: Caller, receiver: Receiver) -> None:
    create(root, url=receiver.url, types=["item.*"])
    root.post("/items", json={"title": "a title"})
    position = api.log.position
    until(api, lambda: receiver.positions == [position])
    assert root.post("/webhooks/1/replay", json={"after": 0}).status_code == 200
    until(api, lambda: receiver.positions == [position] * 2)
    late = root.post("/webhooks/1/replay", json={"after": position + 99})
    assert_problem(late, 422, "validation-failed")


def test_a_test_reports_the_answer_of_the_receiver(root: Caller, receiver: Receiver) -> None:
    secret = create(root, url=receiver.url, types=["user.erased"])["secret"]
    assert root.post("/webhooks/1/test").json() == {
        "result": "delivered",
        "status": 204,
        "reason": None,
    }
    (delivery,) = receiver.deliveries
    assert delivery.verify(secret)["type"] == "webhook.test"
    receiver.answer = always(302)
    assert root.post("/webhooks/1/test").json() == {
        "result": "failed",
        "status": 302,
        "reason": "the receiver answered 302",
    }
    root.patch("/webhooks/1", json={"url": "http://127.0.0.1:1/"})
    failed = root.post("/webhooks/1/test").json()
    assert (failed["result"], failed["status"]) == ("failed", None)


def test_private_addresses_are_refused_by_default() -> None:
    with Api() as api, receiving() as receiver:
        root = api.caller("root", V2)
        api.execute(GrantRole("root", "operator", OPERATOR))
        create(root, url=receiver.url)
        failed = root.post("/webhooks/1/test").json()
    assert "not public" in failed["reason"]
    assert receiver.deliveries == []


def key_of(caller: Caller, *scopes: str) -> str:
    answer = caller.post("/auth/keys", json={"name": "a key", "scopes": [*scopes]})
    key: str = answer.json()["key"]
    return key


def test_a_key_of_an_operator_needs_the_scope(api: Api, root: Caller) -> None:
    read, write = key_of(root, "read"), key_of(root, "read", "write")
    body = {"url": URL}
    path = f"{V2}/webhooks"
    assert api.request("POST", path, token=read, json=body).status_code == 403
    assert api.request("POST", path, token=write, json=body).status_code == 201
    assert api.request("GET", path, token=read).status_code == 200
    assert api.request("POST", f"{path}/1/test", token=read).status_code == 403
    assert api.request("DELETE", f"{path}/1", token=write).status_code == 204


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_version_1_has_no_webhooks(api: Api, root: Caller, prefix: str) -> None:
    answer = api.request("GET", f"{prefix}/webhooks", token=root.token)
    assert answer.status_code == 404
