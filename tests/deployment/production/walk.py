"""Send every operation in the OpenAPI document once through the balancer."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema_rs

from tests.openapi import served

PASSWORD = "correct horse battery staple"
_PATH_PARAMETERS = {
    "slug": "forbidden",
    "level": "0",
    "place": "000.p/1",
    "position": "1",
    "size": "1",
}
_SESSION_ENDS = ("/auth/logout", "/auth/sessions")
"""Paths whose operations end the session."""

_PRIVATE_PATHS = ("/health", "/metrics")


class Walk:
    """Sends all operations as a registered auditor, and records ``statuses``."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self._client = client
        self._name = name
        self._session: dict[str, str] = {}
        self._document: dict[str, Any] = client.get("/openapi.json").json()
        self.statuses: dict[str, int] = {}

    def run(self) -> None:
        """Send all operations; raises `AssertionError` for an undocumented response."""
        for path, operations in served(self._document).items():
            for method, operation in operations.items():
                if not self._session or path.endswith(_SESSION_ENDS):
                    self._login()
                self._send(method.upper(), path, operation)
                if path.endswith(_SESSION_ENDS):
                    self._session = {}

    def _login(self) -> None:
        body = {"username": self._name, "password": PASSWORD}
        token = self._client.post("/auth/login", json=body).json()["access_token"]
        self._session = {"Authorization": f"Bearer {token}"}

    def _send(self, method: str, path: str, operation: dict[str, Any]) -> None:
        parameters = _PATH_PARAMETERS | {"item_id": str(self._item()), "session_id": "0" * 32}
        url = path
        for name, value in parameters.items():
            url = url.replace(f"{{{name}}}", value)
        headers = dict(self._session)
        if path.endswith("/items/events"):
            headers["Accept"] = "text/event-stream"
        body = self._body(path, operation)
        with self._client.stream(method, url, headers=headers, json=body) as answer:
            if "text/event-stream" not in answer.headers.get("content-type", ""):
                answer.read()
            self._check(method, path, operation, answer)
        self.statuses[f"{method} {path}"] = answer.status_code

    def _check(
        self, method: str, path: str, operation: dict[str, Any], answer: httpx.Response
    ) -> None:
        what = f"{method} {path}: {answer.status_code}"
        assert answer.headers["x-request-id"], what
        if path.endswith(_PRIVATE_PATHS):
            assert answer.status_code == 404, what
            return
        response = operation["responses"].get(str(answer.status_code))
        assert response is not None, what
        assert answer.status_code < 500, what
        if "content" not in response:
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = response["content"][media_type]["schema"]
        if not (media_type.endswith("json") and answer.is_stream_consumed and answer.content):
            return
        if media_type == "application/x-ndjson":
            for line in answer.text.splitlines():
                json.loads(line)
            return
        whole = {"components": self._document["components"], "allOf": [schema]}
        jsonschema_rs.validate(whole, answer.json())

    def _item(self) -> int:
        created = self._client.post("/items", json={"title": "a title"}, headers=self._session)
        number: int = created.json()["id"]
        return number

    def _body(self, path: str, operation: dict[str, Any]) -> dict[str, str] | None:
        """A body that the operation accepts and that does not change the user's account."""
        if "requestBody" not in operation:
            return None
        for end, body in {
            "/auth/register": {"username": "x", "email": "x", "password": PASSWORD},
            "/auth/login": {"username": self._name, "password": PASSWORD},
            "/auth/refresh": {"refresh_token": "none"},
            "/auth/password": {"current_password": "wrong", "new_password": PASSWORD},
            "/auth/me": {"full_name": "Ann"},
            "/restore": {},
        }.items():
            if path.endswith(end):
                return body
        return {"title": "another title"}
