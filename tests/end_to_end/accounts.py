"""Register a user of a real server and log in."""

from __future__ import annotations

import httpx

PASSWORD = "correct horse"

TIMEOUT_SECONDS = 60.0
"""A timeout for clients of real servers, against hanging on a busy machine."""


def log_in(client: httpx.Client, name: str) -> dict[str, str]:
    """Register a user, log in and return the Authorization header."""
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    registered = client.post("/auth/register", json=body)
    assert registered.status_code == 200, registered.text
    del body["email"]
    token = client.post("/auth/login", json=body).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}
