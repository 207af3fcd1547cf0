"""A small client of the v1 API, which both the old service and the new one implement."""

import time
from types import TracebackType
from typing import Any, Self

import httpx

from benchmarks.process import ServerError
from benchmarks.sample_data import Account, Content

TIMEOUT = 60.0  # seconds; long, because a peer hashes passwords on its event loop


STALL_SECONDS = 120.0
"""A check of the chain that gets no further for so long has failed; a failed read is repeated."""


class UnexpectedAnswerError(Exception):
    """The service answered with another status than v1 specifies."""


def bearer(token: str) -> dict[str, str]:
    """The header that carries an access token."""
    return {"Authorization": f"Bearer {token}"}


def wait_until_checked(http: httpx.Client, pause: float = 0.5) -> None:
    """Wait until a server has checked the chain of its log, with a request each ``pause`` seconds.

    Raises `ServerError` if the check stalls.
    """
    reached, since = -1, time.monotonic()
    while (check := http.get("/health").json()["chain_check"]) and check["status"] != "done":
        if check["position"] != reached:
            reached, since = check["position"], time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise ServerError(f"the check of the log has stopped at {reached:,}")
        time.sleep(pause)


class Client:
    """Calls that must succeed; safe to share between threads."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, timeout=TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.http.close()

    def register(self, account: Account) -> None:
        """Register an account; a missing full name is not sent."""
        body = {
            "username": account.username,
            "email": account.email,
            "password": account.password,
        }
        if account.full_name is not None:
            body["full_name"] = account.full_name
        self._call("POST", "/auth/register", json=body)

    def login(self, account: Account) -> str:
        """Log in and return the access token."""
        body = {"username": account.username, "password": account.password}
        return str(self._call("POST", "/auth/login", json=body).json()["access_token"])

    def create_item(self, token: str, content: Content) -> int:
        """Create an item and return its id."""
        answer = self._call("POST", "/items", token, json=_item_body(content))
        return int(answer.json()["id"])

    def replace_item(self, token: str, item_id: int, content: Content) -> None:
        """Replace an item's title and description."""
        self._call("PUT", f"/items/{item_id}", token, json=_item_body(content))

    def delete_item(self, token: str, item_id: int) -> None:
        """Delete an item."""
        self._call("DELETE", f"/items/{item_id}", token, expect=204)

    def item_ids(self, token: str) -> list[int]:
        """Ids of the caller's first thousand items."""
        answer = self._call("GET", "/items?limit=1000", token)
        return [int(item["id"]) for item in answer.json()]

    def _call(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        json: Any = None,
        expect: int = 200,
    ) -> httpx.Response:
        headers = bearer(token) if token else None
        answer = self.http.request(method, path, json=json, headers=headers)
        if answer.status_code != expect:
            raise UnexpectedAnswerError(
                f"{method} {path}: {answer.status_code} instead of {expect}: {answer.text[:500]}"
            )
        return answer


def _item_body(content: Content) -> dict[str, str]:
    body = {"title": content.title}
    if content.description is not None:
        body["description"] = content.description
    return body
