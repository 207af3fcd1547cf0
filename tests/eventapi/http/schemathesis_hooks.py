"""How schemathesis logs in: once for all, and anew where the request ends the session."""

from __future__ import annotations

import re
import secrets
from typing import Any, cast

import httpx
import schemathesis

USER = {"username": "schemathesis", "password": "correct horse battery staple"}


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
    """One session for all that leaves it alive."""


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=_LOGOUT)
class LoginAnew(_Login):
    """A session of its own for every request."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Keep good headers from leading to answers that are right but look wrong.

    A position that the log is far from reaching would be waited for in vain, or is not yet, and a
    key that an earlier request had would be refused.
    """
    query = case.query or {}
    if str(query.get("as_of")).isdecimal():
        query["as_of"] = "0"
    headers = case.headers or {}
    if str(headers.get("Min-Event-Position")).isdecimal():
        headers["Min-Event-Position"] = "0"
    if re.fullmatch(r'"[ !#-~]{1,255}"|[!#-~]{1,255}', str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = secrets.token_hex(8)
