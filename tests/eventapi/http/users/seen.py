"""What operators see of users, and what the log has about it."""

from __future__ import annotations

import json
from typing import Any

from tests.eventapi.http.client import Api, Caller, items_of

MEMBERS = [
    *("id", "username", "email", "email_verified", "full_name"),
    *("disabled", "roles", "created_at", "version"),
]


def user_of(root: Caller, caller: Caller) -> dict[str, Any]:
    """A user as an operator sees them."""
    (found,) = (
        one
        for one in items_of(root.get("/users", params={"q": caller.name}))
        if one["username"] == caller.name
    )
    user: dict[str, Any] = found
    return user


def place_of(root: Caller, caller: Caller) -> str:
    return f"/users/{user_of(root, caller)['id']}"


def records(server: Api, after: int) -> list[dict[str, Any]]:
    """The records after a position."""
    return [json.loads(line) for line in server.log_lines(after)]


def what_happened(server: Api, after: int) -> list[tuple[str, str, str]]:
    """Type, subject and actor of the events after a position."""
    return [(one["type"], one["subject"], one["actor"]) for one in records(server, after)]
