"""What users type in all requests that write reaches no receiver, of declared resources too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest

from eventapi.resources.registry import Registry
from tests.eventapi.http.client import Caller, quiet_settings
from tests.eventapi.http.resources.server import V2, ResourceApi
from tests.eventapi.webhooks.receiver import Receiver, receiving
from tests.security.test_canary import spellings
from tests.shop import Invoice

PASSWORD = "correct horse battery"
TYPED = {
    "name": "canaryname",
    "other": "othercanary",
    "email": "canary.mail@example.org",
    "new email": "canary.new@example.org",
    "full name": "Canary Fullname",
    "title": "canary title 5521",
    "description": "canary description 9917",
    "agent": "canary-agent/4.4",
    "key": "canary key 7719",
    "number": "CANARY-8812",
    "note": "canary note 6604",
    "barcode": "canary barcode 3145",
    "argument": "canary argument 1183",
    "unknown": "nobody.canary",
    "idempotency": "canary-idempotency-5507",
}
CLEAR = 123_454_321
"""A value of a field that its declarer calls not personal."""


@pytest.fixture
def api() -> Iterator[ResourceApi]:
    settings = quiet_settings(webhook_private_addresses="on")
    with ResourceApi(Registry([Invoice]), settings=settings) as running:
        yield running


def use_account(api: ResourceApi, user: Caller) -> None:
    """Change, verify and read the account in every way that is an event."""
    user.patch("/auth/me", json={"email": TYPED["new email"], "full_name": TYPED["full name"]})
    user.post("/auth/email/verification")
    key = user.post("/auth/keys", json={"name": TYPED["key"], "scopes": ["read"]}).json()
    user.delete(f"/auth/keys/{key['id']}")
    secret = user.post("/auth/totp").json()["secret"]
    user.post("/auth/totp/confirm", json={"code": pyotp.TOTP(secret).now()})
    user.delete("/auth/totp", json={"password": PASSWORD})
    for name in (TYPED["name"], TYPED["unknown"]):
        api.login(name, "a wrong password")
    api.request("POST", f"{V2}/auth/password/forgot", json={"email": TYPED["email"]})
    passwords = {"current_password": PASSWORD, "new_password": PASSWORD + "!"}
    user.post("/auth/password", json=passwords)


def use_resources(user: Caller) -> None:
    """Write items and invoices in every way."""
    item = {"title": TYPED["title"], "description": TYPED["description"]}
    invoice = {name: TYPED[name] for name in ("number", "note", "barcode")} | {"cents": CLEAR}
    share = {"can": "read"}
    for collection, body in (("items", item), ("invoices", invoice)):
        headers = {"idempotency-key": TYPED["idempotency"] + collection}
        made = user.post(f"/{collection}", json=body, headers=headers)
        assert made.status_code == 201, made.text
        path = f"/{collection}/{made.json()['id']}"
        assert user.put(path, json=body | {[*body][1]: TYPED["argument"]}).status_code == 200
        assert user.delete(path).status_code == 204
        assert user.post(f"{path}/restore", json={}).status_code == 200
    pay = user.post(f"{path}/pay", json={"note": TYPED["argument"]})
    assert pay.status_code == 200, pay.text
    assert user.put(f"{path}/shares/{TYPED['other']}", json=share).status_code < 300
    assert user.delete(f"{path}/shares/{TYPED['other']}").status_code == 204
    batch = {"requests": [{"method": "POST", "path": "/items", "body": item}] * 2}
    assert user.post("/batch", json=batch).status_code == 200


def fill(api: ResourceApi, receiver: Receiver) -> None:
    """Create a webhook for all types, and write events of users with canaries."""
    root = api.user("root", "operator")
    assert root.post("/webhooks", json={"url": receiver.url}).status_code == 201
    api.caller(TYPED["other"], V2)
    account = {"username": TYPED["name"], "email": TYPED["email"], "password": PASSWORD}
    agent = {"user-agent": TYPED["agent"]}
    registered = api.request("POST", f"{V2}/auth/register", json=account, headers=agent)
    assert registered.status_code == 201
    login = {"username": TYPED["name"], "password": PASSWORD}
    tokens = api.request("POST", f"{V2}/auth/login", json=login, headers=agent).json()
    user = Caller(api, TYPED["name"], tokens, V2)
    use_resources(user)
    use_account(api, user)
    managed = root.post(
        "/users", json={"username": "canary.made", "email": "canary.made@example.org"}
    ).json()
    for disabled in (True, False):
        root.patch(f"/users/{managed['id']}", json={"disabled": disabled, "roles": ["auditor"]})
    root.post(f"/users/{managed['id']}/password-reset")
    root.delete(f"/users/{managed['id']}")
    assert user.erase(PASSWORD + "!").status_code == 204


def wanted(lines: list[bytes]) -> list[Any]:
    """The events after the creation of the webhook, except those about webhooks."""
    events = [json.loads(line) for line in lines]
    types = [one["type"] for one in events]
    return [
        one for one in events[types.index("webhook.created") :] if one["type"][:8] != "webhook."
    ]


@pytest.mark.long
def test_no_value_that_a_user_typed_reaches_a_receiver(api: ResourceApi) -> None:
    with receiving() as receiver:
        fill(api, receiver)
        lines = api.log_lines()
        events = wanted(lines)
        end = time.monotonic() + 60
        while len(receiver.deliveries) < len(events) and time.monotonic() < end:
            api.request("GET", "/health/live")
            time.sleep(0.02)
    assert [one.event["type"] for one in receiver.deliveries] == [one["type"] for one in events]
    assert {"invoice.pay", "invoice.shared", "user.erased"} <= {one["type"] for one in events}
    assert len({one["type"] for one in events}) > 20
    sent = b"\n".join(
        b"%r %b" % (sorted(one.headers.items()), one.body) for one in receiver.deliveries
    )
    values = [*TYPED.values(), PASSWORD, "canary.made"]
    assert [value for value in values if any(form in sent for form in spellings(value))] == []
    assert b"sealed" not in sent.replace(b"sealedfor", b"")
    # Controls: the search finds what is there.
    assert str(CLEAR).encode() in sent
    assert b'"sealed"' in b"\n".join(lines)
