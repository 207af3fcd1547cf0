"""Two servers over one log serve two versions of an application while one is upgraded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import httpx
import msgspec
import pytest

from tests.end_to_end.accounts import log_in
from tests.end_to_end.persistent import PersistentConnection
from tests.end_to_end.server import ROOT, Server, by_serve

V2: Final = "/api/v2"
CLIENTS: Final = 4
PAUSE_SECONDS: Final = 1.5

OLD: Final = """
from eventapi.resources import Clear, Refused, Resource, action


class Invoice(Resource):
    unique = ("number",)

    number: str
    cents: Clear[int]


class Label(Resource):
    word: str
"""
NEW: Final = """
from msgspec import structs

from eventapi.resources import Clear, Refused, Resource, action


class Invoice(Resource):
    unique = ("number",)

    number: str
    cents: Clear[int]
    note: str = "none"
    paid: Clear[bool] = False

    @action
    def pay(self) -> "Invoice":
        return structs.replace(self, paid=True)


class Label(Resource):
    word: str


class Receipt(Resource):
    text: str
"""


class Seen(msgspec.Struct):
    """The statuses of all answers, by server and collection; and the numbers of new invoices."""

    statuses: Counter[tuple[str, str, int]] = msgspec.field(default_factory=Counter)
    invoices: list[str] = []


class Cluster:
    """Two servers of one worker each over one log, and their clients."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self._directory = directory
        self._settings = settings
        for name, source in (("old", OLD), ("new", NEW)):
            (directory / name).mkdir()
            (directory / name / "shop.py").write_text(source)
        self._stack = ExitStack()
        self.servers: dict[str, Server] = {}
        self.upgraded: set[str] = set()
        self.seen = Seen()
        self.is_over = False

    def start(self, name: str, code: str) -> None:
        """Start a server with the code of a version, instead of the one of that name."""
        path = {"PYTHONPATH": f"{ROOT}:{self._directory / code}", "EVENTAPI_RESOURCES": "shop"}
        server = Server(self._directory / "data", 1, by_serve, self._settings | path)
        if name in self.servers:
            assert self.servers[name].stop() == 0
        self.servers[name] = self._stack.enter_context(server)

    def upgrade(self, name: str) -> None:
        """Restart a server with the new code."""
        self.start(name, "new")
        self.upgraded.add(name)

    def __enter__(self) -> Self:
        self.start("a", "old")
        self.start("b", "old")
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def get(self, name: str, path: str, headers: dict[str, str] | None = None) -> Any:
        """The body of an answer of a server."""
        url = self.servers[name].url + path
        return httpx.get(url, headers=headers, timeout=60).raise_for_status().json()

    async def run_client(self, name: str, number: int, authorization: str) -> None:
        """Write and read all kinds through a server, until the load is over."""
        connection = PersistentConnection(lambda: self.servers[name].port, authorization)
        count = 0

        async def send(method: str, collection: str, path: str = "", body: Any = None) -> Any:
            write = f"{name}-{number}-{count}-{collection}{path}" if method == "POST" else ""
            url = f"{V2}/{collection}{path}"
            answer = await connection.send(method, url, body, write, retries=False)
            self.seen.statuses[name, collection, answer.status] += 1
            return answer.json() if answer.status < 300 else {}

        while not self.is_over:
            count += 1
            word = f"{name}-{number}-{count}"
            is_new = name in self.upgraded
            await send("POST", "items", body={"title": word})
            await send("POST", "labels", body={"word": word})
            more = {"note": "new"} if is_new else {}
            invoice = await send("POST", "invoices", body={"number": word, "cents": count} | more)
            if invoice:
                self.seen.invoices.append(word)
            parts = [
                {"method": "POST", "path": "/items", "body": {"title": word}},
                {"method": "POST", "path": "/labels", "body": {"word": word}},
            ]
            await send("POST", "batch", body={"requests": parts})
            if is_new:
                await send("POST", "invoices", f"/{invoice['id']}/pay")
                await send("POST", "receipts", body={"text": word})
            for collection in ("items", "labels", "invoices"):
                await send("GET", collection, "?limit=5&sort=-id")
            if is_new or name == "a":
                await send("GET", "receipts")
        connection.close()


async def upgrade_both(cluster: Cluster, headers: dict[str, str]) -> Sequence[str]:
    """Upgrade one server after the other under a load; return what the old one did not know."""
    authorization = headers["Authorization"]
    async with asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            for number in range(CLIENTS):
                group.create_task(cluster.run_client(name, number, authorization))
        await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.to_thread(cluster.upgrade, "b")
        await asyncio.sleep(PAUSE_SECONDS)
        health = await asyncio.to_thread(cluster.get, "a", "/health")
        before = cluster.seen.statuses.copy()
        await asyncio.to_thread(cluster.upgrade, "a")
        await asyncio.sleep(PAUSE_SECONDS)
        cluster.is_over = True
    after = cluster.seen.statuses - before
    assert after["a", "receipts", 201]
    assert after["a", "invoices", 201]
    unknown: Sequence[str] = health["unknown_kinds"]
    return unknown


@pytest.mark.parametrize("store", ["file", "postgresql"])
def test_an_upgrade_of_one_server_after_the_other_fails_no_request(
    tmp_path: Path, store: str, request: pytest.FixtureRequest
) -> None:
    """But those to routes that the old one lacks, and about a kind that only the new one knows."""
    settings = {}
    if store != "file":
        settings["EVENTAPI_LOG"] = request.getfixturevalue(store).new_database()
    with Cluster(tmp_path, settings) as cluster:
        with httpx.Client(base_url=cluster.servers["a"].url, timeout=60) as client:
            headers = log_in(client, "ann")
        unknown = asyncio.run(upgrade_both(cluster, headers))

        assert unknown == ["invoice", "receipt"]
        failed = {key for key in cluster.seen.statuses if key[2] >= 400}
        assert failed == {("a", "receipts", 404), ("a", "invoices", 503)}, cluster.seen.statuses
        for name in ("a", "b"):
            assert cluster.get(name, "/health")["unknown_kinds"] == []
            found, url = [], f"{V2}/invoices?limit=1000&fields=number"
            while url:
                page = cluster.get(name, url.removeprefix(cluster.servers[name].url), headers)
                found += [row["number"] for row in page["items"]]
                url = page["next"]
            assert len(set(found)) == len(found)
            assert set(cluster.seen.invoices) <= set(found)
