"""A running server moves from a file to a database; only writes pause."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.server import Server, by_serve, hold_log_lock
from tests.end_to_end.workload import Load, Workload
from tests.eventapi.cli.running import run
from tests.servers.postgresql import PostgreSQL

WRITERS = 4
ONCE = {"Idempotency-Key": "once-and-no-more"}

Headers = dict[str, str]


def copy_to_database(data: Path, url: str) -> dict[str, Any]:
    """Copy a log to a database; return the command's JSON output."""
    file = str(data / "events.jsonl")
    ended = run(data, "log", "copy", file, url, "--data", str(data), "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def show_checkpoint(data: Path, url: str) -> None:
    """Run `log restore` on the database with the newest checkpoint of the file."""
    newest = str(data / "events.jsonl.checkpoint")
    ended = run(data, "log", "restore", "--checkpoint", newest, "--log", url, "--data", str(data))
    assert ended.code == 0, ended.err


async def checkpoint_size(port: int) -> int:
    """The tree size in the checkpoint that a server returns."""
    connection = await Connection.open(port)
    answer = await connection.request("GET", "/log/checkpoint")
    connection.close()
    assert answer.status == 200, answer.body
    return int(answer.body.split(b"\n")[1])


async def post(port: int, title: str, headers: Headers) -> Answer:
    """Create an item."""
    connection = await Connection.open(port)
    answer = await connection.request("POST", "/items", {"title": title}, headers)
    connection.close()
    assert answer.status == 200, answer.body
    return answer


async def write(port: int, headers: Headers, acknowledged: dict[int, str]) -> None:
    """Create items until the server stops, and record the acknowledged ones."""
    connection = await Connection.open(port)
    try:
        while True:
            title = f"item {len(acknowledged)}"
            answer = await connection.request("POST", "/items", {"title": title}, headers)
            if answer.status != 200:
                return
            acknowledged[answer.json()["id"]] = title
    except BrokenError:
        pass
    finally:
        connection.close()


async def titles(port: int, headers: Headers, numbers: list[int]) -> dict[int, str]:
    """The titles of items, by number."""
    connection = await Connection.open(port)
    found = {}
    for number in numbers:
        answer = await connection.request("GET", f"/items/{number}", headers=headers)
        assert answer.status == 200, (number, answer.body)
        found[number] = answer.json()["title"]
    connection.close()
    return found


def test_running_server_moves_from_a_file_to_postgresql(data: Path, postgresql: PostgreSQL) -> None:
    """Writes pause during the second copy, which has only the rest; reads continue."""
    url = postgresql.new_database()
    acknowledged: dict[int, str] = {}

    async def move(stack: ExitStack, old: Server, new: Server) -> None:
        account = await Workload(Load([old.port], old.log)).create_account("ann")
        headers = {"Authorization": account.authorization}
        once = await post(old.port, "once", headers | ONCE)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(write(old.port, headers, acknowledged))
            first = await asyncio.to_thread(copy_to_database, data, url)
            with hold_log_lock(data / "events.jsonl"):
                await checkpoint_size(old.port)
                rest = await asyncio.to_thread(copy_to_database, data, url)
                await asyncio.to_thread(show_checkpoint, data, url)
                written = list(acknowledged)
                await asyncio.to_thread(stack.enter_context, new)
                assert list(await titles(old.port, headers, written[:1])) == written[:1]
                await asyncio.to_thread(old.kill)
        assert rest["new"] > 0, "the first copy already had everything"
        assert rest["events"] == first["events"] + rest["new"] >= 3 + len(acknowledged)
        assert await titles(new.port, headers, list(acknowledged)) == acknowledged
        assert (await post(new.port, "once", headers | ONCE)).json() == once.json()
        more = await post(new.port, "one more", headers)
        assert more.number("event-position") == rest["events"] + 1
        assert await checkpoint_size(new.port) == rest["events"] + 1

    old, new = Server(data, 2, by_serve), Server(data, 2, by_serve, {"EVENTAPI_LOG": url})
    with ExitStack() as stack:
        stack.enter_context(old)
        asyncio.run(move(stack, old, new))
    checked = run(data, "log", "verify", "--seals", EVENTAPI_DATA=str(data), EVENTAPI_LOG=url)
    assert checked.code == 0, checked.out
