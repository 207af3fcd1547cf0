"""A load of batches, actions and unique keys on several kinds, and its comparison with the log.

Each write has a name, which is its Idempotency-Key and, as ``requestid``, on its lines in the log.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.end_to_end.client import Answer
from tests.end_to_end.persistent import PersistentConnection
from tests.end_to_end.workload import Load, Workload

V2: Final = "/api/v2"
CODES: Final = 40
"""Codes that all clients compete for."""

_MIX: Final = {"batch": 2, "create": 4, "use": 5, "delete": 2, "read": 5, "list": 1}


class Mixed(msgspec.Struct):
    """What the clients saw.

    ``acknowledged`` has the subjects and versions of each write that succeeded, by its name. ``seen``
    has the newest version of each ticket that a response confirmed, and ``deleting`` the tickets that
    a client began to delete.
    """

    acknowledged: dict[str, Sequence[tuple[str, int]]] = {}
    refused: dict[str, int] = {}
    seen: dict[int, int] = {}
    deleting: set[int] = set()
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    stale: list[str] = []


class MixedClient:
    """A client that writes and reads all kinds at random."""

    def __init__(self, name: str, connection: PersistentConnection, seen: Mixed) -> None:
        self._name = name
        self._connection = connection
        self._seen = seen
        self._own: list[int] = []
        self._random = random.Random(name)
        self._count = 0

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Write and read until ``is_over``."""
        steps = {
            "batch": self._batch,
            "create": self._create,
            "use": self._use,
            "delete": self._delete,
            "read": self._read,
            "list": self._list,
        }
        try:
            while not is_over():
                (what,) = self._random.choices(list(_MIX), list(_MIX.values()))
                await steps[what]()
                self._seen.counts[what] += 1
        finally:
            self._seen.statuses += self._connection.statuses
            self._seen.counts["repeated requests"] += self._connection.repeats
            self._connection.close()

    async def _write(self, method: str, path: str, body: object = None) -> Answer:
        self._count += 1
        name = f"{self._name}-{self._count}"
        answer = await self._connection.send(method, V2 + path, body, name)
        if answer.status >= 300:
            self._seen.refused[name] = answer.status
            return answer
        if path == "/batch":
            versions = [part["version"] for part in answer.json()["responses"]]
            subjects = [part["body"]["id"] for part in answer.json()["responses"]]
            kinds = ("tickets", "pages", "items", "tickets")
            written = [f"{kind}/{number}" for kind, number in zip(kinds, subjects, strict=True)]
            self._seen.acknowledged[name] = list(zip(written, versions, strict=True))
        else:
            parts = path.strip("/").split("/")
            number = int(parts[1]) if len(parts) > 1 else answer.json()["id"]
            position = answer.number("event-position")
            self._seen.acknowledged[name] = [(f"{parts[0]}/{number}", position)]
        return answer

    def _note_version(self, number: int, version: int) -> None:
        self._seen.seen[number] = max(version, self._seen.seen.get(number, 0))

    async def _batch(self) -> None:
        """Create one of each kind, and use the new ticket: four events, or none."""
        word = f"{self._name}-{self._count}"
        code = self._random.choice([word, f"code {self._random.randrange(CODES)}"])
        requests = [
            {"method": "POST", "path": "/tickets", "body": {"code": code}},
            {"method": "POST", "path": "/pages", "body": {"name": word}},
            {"method": "POST", "path": "/items", "body": {"title": word}},
            {"method": "POST", "path": "/tickets/$0/use", "body": {"times": 1}},
        ]
        answer = await self._write("POST", "/batch", {"requests": requests})
        if answer.status == 200:
            ticket = answer.json()["responses"][-1]["body"]
            self._own.append(ticket["id"])
            self._note_version(ticket["id"], ticket["version"])

    async def _create(self) -> None:
        """Create a ticket with a code that others may have."""
        code = f"code {self._random.randrange(CODES)}"
        answer = await self._write("POST", "/tickets", {"code": code, "note": self._name})
        if answer.status == 201:
            self._own.append(answer.json()["id"])
            self._note_version(answer.json()["id"], answer.json()["version"])

    async def _use(self) -> None:
        if self._own:
            number = self._random.choice(self._own)
            answer = await self._write("POST", f"/tickets/{number}/use", {"times": 1})
            self._note_version(number, answer.json()["version"])

    async def _delete(self) -> None:
        if self._own:
            number = self._own.pop(self._random.randrange(len(self._own)))
            self._seen.deleting.add(number)
            await self._write("DELETE", f"/tickets/{number}")

    async def _read(self) -> None:
        """Read a ticket: it is as new as in every earlier response."""
        if not self._seen.seen:
            return
        number = self._random.choice(list(self._seen.seen))
        known = self._seen.seen[number]
        answer = await self._connection.send("GET", f"{V2}/tickets/{number}")
        self._compare(number, known, answer.json()["version"] if answer.status == 200 else 0)

    async def _list(self) -> None:
        """List the tickets: none is missing or older than in an earlier response."""
        known = dict(self._seen.seen)
        answer = await self._connection.send(
            "GET", f"{V2}/tickets?limit=1000&fields=id,version&sort=-id"
        )
        page = answer.json()
        found = {row["id"]: row["version"] for row in page["items"]}
        least = min(found, default=0) if page["next"] else 0
        for number, version in known.items():
            if number >= least:
                self._compare(number, version, found.get(number, 0))

    def _compare(self, number: int, known: int, version: int) -> None:
        if version < known and (version or number not in self._seen.deleting):
            self._seen.stale.append(f"ticket {number}: {version} after {known}")


async def run_mixed(load: Load, during: Callable[[], None]) -> Mixed:
    """Run the clients while ``during`` runs in a thread, and at least as long as the load says."""
    workload, seen, over = Workload(load), Mixed(), asyncio.Event()
    accounts = [await workload.create_account(f"mixed{number}") for number in range(load.users)]
    async with asyncio.TaskGroup() as group:
        for number in range(load.clients):
            authorization = accounts[number % load.users].authorization
            port = load.ports[number % len(load.ports)]
            connection = PersistentConnection(lambda port=port: port, authorization)  # type: ignore[misc]  # a default
            client = MixedClient(f"client{number}", connection, seen)
            group.create_task(client.run(over.is_set))
        await asyncio.to_thread(during)
        over.set()
    return seen


class Judged(msgspec.Struct):
    """The faults of a log, compared with what clients saw; and what the log has."""

    faults: list[str] = []
    counts: Counter[str] = msgspec.field(default_factory=Counter)
    uses: Counter[str] = msgspec.field(default_factory=Counter)
    live: set[str] = set()


def judge_log(log: Path, seen: Mixed) -> Judged:
    """Compare: each acknowledged write is there once, and no batch is there in part."""
    judged, lines = (
        Judged(list(seen.stale)),
        [json.loads(one) for one in log.read_bytes().splitlines()],
    )
    by_name: dict[str, list[tuple[str, int]]] = {}
    for line in lines:
        kind, _, verb = line["type"].partition(".")
        judged.counts[line["type"]] += 1
        if kind in {"ticket", "page", "item"}:
            by_name.setdefault(line["requestid"], []).append((line["subject"], int(line["id"])))
            if verb == "created":
                judged.live.add(line["subject"])
            elif verb == "deleted":
                judged.live.discard(line["subject"])
            elif verb == "use":
                judged.uses[line["subject"]] += 1
    for name, written in seen.acknowledged.items():
        found = by_name.get(name, [])
        if found != list(written):
            judged.faults.append(f"{name}: acknowledged {written}, in the log {found}")
    for name in seen.refused.keys() & by_name.keys():
        judged.faults.append(f"{name}: refused with {seen.refused[name]}, and in the log")
    judged.faults += [
        f"{name}: in the log, and neither acknowledged nor refused"
        for name in by_name.keys() - seen.acknowledged.keys() - seen.refused.keys()
    ]
    judged.faults += [
        f"status {status}, {count} times"
        for status, count in seen.statuses.items()
        if status >= 500 and status != 503
    ]
    judged.faults += [
        f"{name}: refused with {status}"
        for name, status in seen.refused.items()
        if status != 409  # A code is taken.
    ]
    return judged


def judge_rows(tickets: Sequence[Mapping[str, Any]], judged: Judged) -> None:
    """Compare the tickets that a server has with the log, and check that each code is unique."""
    codes = Counter(ticket["code"] for ticket in tickets)
    judged.faults += [f"{code}: {count} tickets" for code, count in codes.items() if count > 1]
    found = {f"tickets/{ticket['id']}": ticket["uses"] for ticket in tickets}
    expected = {one: judged.uses[one] for one in judged.live if one.startswith("tickets/")}
    if found != expected:
        judged.faults.append(f"tickets differ from the log: {found.items() ^ expected.items()}")
