"""Who may use each operation of the OpenAPI document, and how to send each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import httpx
import msgspec
from pyotp import TOTP

from tests.eventapi.http.client import PASSWORD, Api, Caller
from tests.openapi import served
from tests.security.webhooks import webhook_of


class Access(Enum):
    """Who may use an operation."""

    PUBLIC = "every client, with any token or none"
    OPTIONAL = "every client without a token; with one, its user"
    SESSION = "every logged-in user, for their own data"
    AUDITOR = "auditors"
    STAFF = "operators and auditors"
    OPERATOR = "operators"
    READER = "those who may read the resource in the path, and auditors"
    OWNER = "the owner of the resource in the path; others get a 404"


class Rule(msgspec.Struct, frozen=True):
    """Who may use an operation, and a body with which it succeeds.

    ``by_session``: no API key may use it, whatever its scopes.
    """

    access: Access
    body: Any = None
    by_session: bool = False


_ITEM = {"title": "a title"}
_PASSWORDS = {"current_password": PASSWORD, "new_password": "another " + PASSWORD}

ACCESS: Mapping[tuple[str, str], Rule] = {
    ("GET", "/"): Rule(Access.PUBLIC),
    ("GET", "/docs"): Rule(Access.PUBLIC),
    ("GET", "/openapi.json"): Rule(Access.PUBLIC),
    ("GET", "/problems/{slug}"): Rule(Access.PUBLIC),
    ("GET", "/health"): Rule(Access.PUBLIC),
    ("GET", "/health/live"): Rule(Access.PUBLIC),
    ("GET", "/health/ready"): Rule(Access.PUBLIC),
    ("GET", "/metrics"): Rule(Access.PUBLIC),
    ("POST", "/auth/register"): Rule(Access.PUBLIC, {"username": "x"}),
    ("POST", "/auth/login"): Rule(Access.PUBLIC, {"username": "x"}),
    ("POST", "/auth/login/second-factor"): Rule(Access.PUBLIC, {"challenge": "x"}),
    ("POST", "/auth/refresh"): Rule(Access.PUBLIC, {"refresh": "x"}),
    ("POST", "/auth/password/forgot"): Rule(Access.PUBLIC, {"email": "x"}),
    ("POST", "/auth/password/reset"): Rule(Access.PUBLIC, {"token": "x"}),
    ("POST", "/auth/email/verify"): Rule(Access.PUBLIC, {"token": "x"}),
    ("POST", "/auth/email/verification"): Rule(
        Access.OPTIONAL, {"email": "no-such-one@example.org"}, by_session=True
    ),
    ("POST", "/auth/logout"): Rule(Access.SESSION, by_session=True),
    ("POST", "/auth/password"): Rule(Access.SESSION, _PASSWORDS, by_session=True),
    ("GET", "/auth/me"): Rule(Access.SESSION),
    ("PATCH", "/auth/me"): Rule(Access.SESSION, {"full_name": "A Name"}, by_session=True),
    ("DELETE", "/auth/me"): Rule(Access.SESSION, {"password": PASSWORD}, by_session=True),
    ("GET", "/auth/me/events"): Rule(Access.SESSION),
    ("GET", "/auth/me/export"): Rule(Access.SESSION, by_session=True),
    ("GET", "/auth/sessions"): Rule(Access.SESSION, by_session=True),
    ("DELETE", "/auth/sessions"): Rule(Access.SESSION, by_session=True),
    ("DELETE", "/auth/sessions/{session_id}"): Rule(Access.OWNER, by_session=True),
    ("POST", "/auth/keys"): Rule(Access.SESSION, {"name": "a key"}, by_session=True),
    ("GET", "/auth/keys"): Rule(Access.SESSION, by_session=True),
    ("DELETE", "/auth/keys/{key_id}"): Rule(Access.OWNER, by_session=True),
    ("POST", "/auth/totp"): Rule(Access.SESSION, by_session=True),
    ("POST", "/auth/totp/confirm"): Rule(Access.SESSION, {"code": "123456"}, by_session=True),
    ("DELETE", "/auth/totp"): Rule(Access.SESSION, {"password": PASSWORD}, by_session=True),
    ("POST", "/items"): Rule(Access.SESSION, _ITEM),
    ("GET", "/items"): Rule(Access.SESSION),
    ("GET", "/items/{item_id}"): Rule(Access.OWNER),
    ("GET", "/items/{item_id}/history"): Rule(Access.OWNER),
    ("POST", "/items/{item_id}/restore"): Rule(Access.OWNER, {"as_of": "2999-01-01T00:00:00Z"}),
    ("PUT", "/items/{item_id}"): Rule(Access.OWNER, _ITEM),
    ("PATCH", "/items/{item_id}"): Rule(Access.OWNER, _ITEM),
    ("DELETE", "/items/{item_id}"): Rule(Access.OWNER),
    ("GET", "/items/events"): Rule(Access.SESSION),
    ("POST", "/batch"): Rule(
        Access.SESSION, {"requests": [{"method": "POST", "path": "/items", "body": _ITEM}]}
    ),
    ("GET", "/users"): Rule(Access.STAFF),
    ("POST", "/users"): Rule(
        Access.OPERATOR,
        {"username": "newcomer", "email": "newcomer@example.org"},
        by_session=True,
    ),
    ("GET", "/users/{user_id}"): Rule(Access.STAFF),
    ("PATCH", "/users/{user_id}"): Rule(Access.OPERATOR, {"disabled": True}, by_session=True),
    ("POST", "/users/{user_id}/password-reset"): Rule(
        Access.OPERATOR, {"link": True}, by_session=True
    ),
    ("DELETE", "/users/{user_id}"): Rule(Access.OPERATOR, by_session=True),
    ("GET", "/webhooks"): Rule(Access.STAFF),
    ("POST", "/webhooks"): Rule(Access.OPERATOR, {"url": "https://example.org/"}),
    ("GET", "/webhooks/{webhook_id}"): Rule(Access.STAFF),
    ("PATCH", "/webhooks/{webhook_id}"): Rule(Access.OPERATOR, {"description": "new"}),
    ("POST", "/webhooks/{webhook_id}/test"): Rule(Access.OPERATOR),
    ("POST", "/webhooks/{webhook_id}/replay"): Rule(Access.OPERATOR, {"after": 0}),
    ("POST", "/webhooks/{webhook_id}/rotate-secret"): Rule(Access.OPERATOR),
    ("DELETE", "/webhooks/{webhook_id}"): Rule(Access.OPERATOR),
    ("GET", "/audit/diff"): Rule(Access.AUDITOR),
    ("GET", "/audit/events"): Rule(Access.AUDITOR),
    ("GET", "/audit/events/{position}"): Rule(Access.AUDITOR),
    ("GET", "/audit/state"): Rule(Access.AUDITOR),
    ("GET", "/audit/evidence"): Rule(Access.AUDITOR),
    ("GET", "/log/checkpoint"): Rule(Access.PUBLIC),
    ("GET", "/log/cosigned"): Rule(Access.PUBLIC),
    ("GET", "/log/key"): Rule(Access.PUBLIC),
    ("GET", "/log/consistency/{size}"): Rule(Access.PUBLIC),
    ("GET", "/log/tile/{level}/{place}"): Rule(Access.PUBLIC),
    ("GET", "/log/tile/entries/{place}"): Rule(Access.AUDITOR),
    ("GET", "/log/proof/{position}"): Rule(Access.READER),
}


class Operation(msgspec.Struct, frozen=True):
    """An operation of the document; ``path`` is a template."""

    method: str
    path: str

    @property
    def rule(self) -> Rule:
        plain = self.path.removeprefix("/api/v1").removeprefix("/api/v2")
        return ACCESS["GET" if self.method == "HEAD" else self.method, plain]

    @property
    def needs_an_event(self) -> bool:
        """Whether `send` creates an item, key or webhook first, which is one event."""
        names = ("{item_id}", "{position}", "{user_id}", "{key_id}", "{webhook_id}")
        return any(name in self.path for name in names)

    def send(self, api: Api, owner: Caller, token: str | None) -> httpx.Response:
        """Send the operation with a token, for a resource of the owner."""
        path = self.path.replace("{slug}", "not-found").replace("{size}", "1")
        path = path.replace("{level}/{place}", "0/000.p/1").replace("{place}", "000.p/1")
        if path.endswith("/audit/evidence"):
            path += f"?user={owner.name}"
        if "{item_id}" in path:
            path = path.replace("{item_id}", str(owner.create()))
        if "{user_id}" in path:
            path = path.replace("{user_id}", str(owner.owner_id(owner.create())))
        if "{webhook_id}" in path:
            path = path.replace("webhooks/{webhook_id}", webhook_of(api))
        if "{session_id}" in path:
            (session,) = owner.get("/auth/sessions").json()
            path = path.replace("{session_id}", session["id"])
        if "{position}" in path:
            owner.create()
            path = path.replace("{position}", str(api.log.position))
        if "{key_id}" in path:
            key = owner.post("/auth/keys", json={"name": "hers"}).json()
            path = path.replace("{key_id}", key["id"])
        body = {} if self.rule.body is None else {"json": self.rule.body}
        if "/auth/totp" in path and self.rule.body:
            code = started_code(api, token)
            body = {"json": self.rule.body | {"code": code}} if "code" in self.rule.body else body
            if self.method == "DELETE":
                api.request("POST", "/auth/totp/confirm", token=token, json={"code": code})
        # A stream does not end; HEAD has the same status.
        method = "HEAD" if path.endswith("/items/events") else self.method
        return api.request(method, path, token=token, **body)


def started_code(api: Api, token: str | None) -> str:
    """The code that confirms a new secret of the caller; a wrong one if there is none."""
    answer = api.request("POST", "/auth/totp", token=token)
    now = api.edge.services.journal.clock.seconds()
    return TOTP(answer.json()["secret"]).at(int(now)) if answer.is_success else "123456"


def _documented() -> list[Operation]:
    with Api() as api:
        paths = served(api.request("GET", "/openapi.json").json())
    return [Operation(method.upper(), path) for path in paths for method in paths[path]]


DOCUMENTED = _documented()


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def operations_for(*kinds: Access) -> list[Operation]:
    return [one for one in DOCUMENTED if one.rule.access in kinds]
