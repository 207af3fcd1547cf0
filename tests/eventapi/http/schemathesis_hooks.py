"""Hooks of schemathesis: logins, and values with correct but odd answers."""

from __future__ import annotations

import re
import secrets
from typing import Any, cast

import httpx
import schemathesis

USER = {"username": "schemathesis", "password": "correct horse battery staple"}

_IDEMPOTENCY_KEY = re.compile(r'"([ !#-\[\]-~]|\\["\\]){1,255}"|[!#-~]{1,255}')


def new_token(base_url: str) -> str:
    """The access token of a new session."""
    registration = USER | {"email": "schemathesis@example.org"}
    httpx.post(f"{base_url}/auth/register", json=registration)
    answer = httpx.post(f"{base_url}/auth/login", json=USER)
    return cast("str", answer.raise_for_status().json()["access_token"])


class _Login:
    def get(self, case: Any, context: Any) -> str:
        return new_token(case.operation.schema.get_base_url().rstrip("/"))

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


_LOGOUT = "/auth/logout$"


@schemathesis.auth(refresh_interval=600).skip_for(path_regex=_LOGOUT)
class LoginOnce(_Login):
    """One session for all requests that do not end it."""


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=_LOGOUT)
class LoginForEachRequest(_Login):
    """A new session for each request."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Replace values that lead to correct answers which look like failures.

    The server refuses a position that the log has not reached, an end before its beginning, and a key
    of an earlier request.
    """
    query = case.query or {}
    for name in ("as_of", "from", "to"):
        if str(query.get(name)).isdecimal():
            query[name] = "0"
    for first, second in (("from", "to"), ("since", "until")):
        if first in query:
            query.pop(second, None)
    headers = case.headers or {}
    if str(headers.get("Min-Event-Position")).isdecimal():
        headers["Min-Event-Position"] = "0"
    if _IDEMPOTENCY_KEY.fullmatch(str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = secrets.token_hex(8)
