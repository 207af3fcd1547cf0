"""A well-behaved client during an attack: how long it waits for its answers."""

from __future__ import annotations

import asyncio
import time

from tests.end_to_end.client import Answer, Connection

USER = "known-user"
PASSWORD = "correct horse battery staple"
PAUSE_SECONDS = 0.002


async def register(connection: Connection, name: str) -> None:
    """Register a user."""
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    answer = await connection.request("POST", "/auth/register", body)
    assert answer.status == 200, answer


async def log_in(connection: Connection, name: str, password: str) -> Answer:
    """Log in and return the answer."""
    body = {"username": name, "password": password}
    return await connection.request("POST", "/auth/login", body)


async def p99_of_reads(port: int, seconds: float) -> float:
    """The p99 of reading an item, in seconds, with a pause between requests."""
    connection = await Connection.open(port)
    answer = await log_in(connection, USER, PASSWORD)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    item = (await connection.request("POST", "/items", {"title": "read"}, headers)).json()["id"]
    end = time.perf_counter() + seconds
    times: list[float] = []
    while time.perf_counter() < end:
        started = time.perf_counter()
        answer = await connection.request("GET", f"/items/{item}", None, headers)
        times.append(time.perf_counter() - started)
        assert answer.status == 200, answer
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    return sorted(times)[len(times) * 99 // 100]
