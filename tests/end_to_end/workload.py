"""A load of many clients on the items of a few users, so that they get in each other's way."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Changes, Fate, Kind, Operation

PASSWORD = "correct horse battery staple"

_MIX = {Kind.GET: 46, Kind.LIST: 6, Kind.PATCH: 28, Kind.CREATE: 10, Kind.DELETE: 10}
_READS = {Kind.GET: 9, Kind.LIST: 1}
_READER_IN = 4
"""One client in so many only reads: the others may all be waiting for their writes to be done."""

_MOST_ITEMS = 24
"""How many items a user may have before they only read, change and delete."""

_RECENT = 6
"""How many of the last written items are looked at most: there a stale read would show."""


_NEAR, _CONDITIONAL = 0.6, 0.3
"""How likely it is to choose a recent item, and to send If-Match."""

_LOGIN_TRIES = 20
_CONNECT_TRIES = 20
_PAUSE_SECONDS = 0.05


class Account(msgspec.Struct):
    """A user, and what the clients know together of the user's items: number to version."""

    subject: str
    authorization: str
    items: dict[int, int] = {}
    recent: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=_RECENT))

    def learn(self, operation: Operation) -> None:
        """Remember what an operation came to."""
        if operation.kind is Kind.DELETE and operation.succeeded:
            self.items.pop(operation.item, None)
        elif operation.version:
            self.items[operation.item] = max(operation.version, self.items.get(operation.item, 0))
        if operation.kind is not Kind.LIST and operation.succeeded:
            self.recent.append(operation.item)


class Load(msgspec.Struct, frozen=True):
    """How much, for how long, on which servers, and how many workers these have in all."""

    ports: Sequence[int]
    log: Path
    workers: int = 4
    clients: int = 64
    users: int = 4
    seconds: float = 8.0
    seed: int = 1


class Ran(msgspec.Struct):
    """What a load came to; ``connections`` counts those that were made to each worker."""

    operations: list[Operation]
    connections: Counter[int]
    seconds: float


class Client(msgspec.Struct, frozen=True):
    """Whom a client talks to, for whom, and of what how often."""

    port: int
    account: Account
    mix: Mapping[Kind, int]


class Workload:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.ran = Ran([], Counter(), 0.0)
        self._open: Counter[int] = Counter()
        self._may_end = False
        self._accounts: list[Account] = []
        self._random = random.Random(load.seed)
        self._count = 0

    async def run(self, during: Callable[[Workload], None] = lambda _: None) -> Ran:
        """Set the accounts up and let the clients loose; ``during`` happens half-way.

        The clients go on for as long as it takes.
        """
        for number in range(self.load.users):
            self._accounts.append(await self.account(f"user{number}-{self.load.seed}"))
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self.load.clients):
                port = self.load.ports[number % len(self.load.ports)]
                turn, user = divmod(number, len(self._accounts))
                mix = _READS if turn % _READER_IN == _READER_IN - 1 else _MIX
                client = Client(port, self._accounts[user], mix)
                group.create_task(self._drive(client, started + self.load.seconds))
            await asyncio.sleep(self.load.seconds / 2)
            await asyncio.to_thread(during, self)
            self._may_end = True
        self.ran.seconds = time.monotonic() - started
        return self.ran

    async def account(self, name: str) -> Account:
        """Register a user and log in."""
        connection = await self.connection(self._random.choice(self.load.ports))
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        registered = await connection.request("POST", "/auth/register", body)
        del body["email"]
        login = await connection.request("POST", "/auth/login", body)
        tries = 0
        while login.status != 200 and tries < _LOGIN_TRIES:
            # A right server needs no second try; one with a planted bug must get past this.
            await asyncio.sleep(_PAUSE_SECONDS)
            login = await connection.request("POST", "/auth/login", body)
            tries += 1
        connection.close()
        subject = self.subject(name, registered.number("event-position"))
        return Account(subject, f"Bearer {login.json()['access_token']}")

    async def connection(self, port: int) -> Connection:
        """A connection to a server; raises `OSError` and `BrokenError`."""
        return await Connection.open(port)

    def subject(self, name: str, position: int) -> str:
        """Who a user is in the log, registered at that position."""
        line = self.load.log.read_bytes().split(b"\n")[position - 1]
        found: str = msgspec.json.decode(line)["subject"]
        return found

    async def _drive(self, client: Client, deadline: float) -> None:
        connection: Connection | None = None
        try:
            while time.monotonic() < deadline or not self._may_end:
                if connection is None:
                    connection = await self._connect(client)
                else:
                    operation = self._operation(client)
                    connection = await self._perform(operation, connection, client.account)
        finally:
            if connection is not None:
                connection.close()

    async def _connect(self, client: Client) -> Connection | None:
        """A connection to a worker that does not have its share of them already, if that comes."""
        share = -(-self.load.clients // self.load.workers)
        for tries in range(_CONNECT_TRIES, 0, -1):
            try:
                connection = await self.connection(client.port)
            except (OSError, BrokenError):
                break
            if self._open[connection.worker] < share or tries == 1:
                self._open[connection.worker] += 1
                self.ran.connections[connection.worker] += 1
                return connection
            connection.close()
        # The operation that would have come next was never sent: it must not be in the log.
        self.ran.operations.append(self._operation(client))
        await asyncio.sleep(_PAUSE_SECONDS)
        return None

    def _operation(self, client: Client) -> Operation:
        choose, account = self._random, client.account
        self._count += 1
        (kind,) = choose.choices(list(client.mix), list(client.mix.values()))
        if not account.items:
            kind = Kind.LIST if client.mix is _READS else Kind.CREATE
        elif kind is Kind.CREATE and len(account.items) >= _MOST_ITEMS:
            kind = Kind.DELETE
        operation = Operation(
            kind=kind, requestid=f"load-{self.load.seed}-{self._count}", owner=account.subject
        )
        if kind not in {Kind.CREATE, Kind.LIST}:
            near = account.recent and choose.random() < _NEAR
            operation.item = choose.choice(account.recent if near else list(account.items))
        if kind in {Kind.PATCH, Kind.DELETE} and choose.random() < _CONDITIONAL:
            operation.if_match = account.items.get(operation.item, 1)
        operation.changes = self._changes(kind)
        return operation

    def _changes(self, kind: Kind) -> Changes:
        title, description = f"title {self._count}", f"description {self._count}"
        if kind is Kind.CREATE:
            return {"title": title, "description": description}
        if kind is Kind.PATCH:
            either: tuple[Changes, ...] = (
                {"title": title},
                {"description": description},
                {"description": None},
            )
            return self._random.choice(either)
        return {}

    async def _perform(
        self, operation: Operation, connection: Connection, account: Account
    ) -> Connection | None:
        """Carry an operation out and note what comes of it; the connection, if it still is one."""
        method, path = target(operation)
        headers = {
            "Authorization": account.authorization,
            "X-Request-ID": operation.requestid,
        }
        if operation.if_match is not None:
            headers["If-Match"] = f'"{operation.if_match}"'
        if operation.least:
            headers["Min-Event-Position"] = str(operation.least)
        self.ran.operations.append(operation)
        operation.worker = connection.worker
        operation.fate = Fate.UNKNOWN
        operation.start = time.monotonic_ns()
        try:
            answer = await connection.request(method, path, operation.changes or None, headers)
        except BrokenError:
            self._open[connection.worker] -= 1
            return None
        finally:
            operation.end = time.monotonic_ns()
        await self.told(operation, answer)
        account.learn(operation)
        return connection

    async def told(self, operation: Operation, answer: Answer) -> None:
        """Note an answer."""
        operation.written = self.load.log.stat().st_size
        note(operation, answer)


def target(operation: Operation) -> tuple[str, str]:
    """Method and path: single reads in version 1, the rest in version 2, which shows versions."""
    one = f"/items/{operation.item}"
    return {
        Kind.CREATE: ("POST", "/api/v2/items"),
        Kind.PATCH: ("PATCH", f"/api/v2{one}"),
        Kind.DELETE: ("DELETE", one),
        Kind.GET: ("GET", one),
        Kind.LIST: ("GET", "/api/v2/items?limit=1000"),
    }[operation.kind]


def note(operation: Operation, answer: Answer) -> None:
    """Write an answer down."""
    operation.fate = Fate.ANSWERED
    operation.status = answer.status
    operation.position = answer.number("event-position")
    if not operation.succeeded or operation.kind is Kind.DELETE:
        return
    body = answer.json()
    if operation.kind is Kind.LIST:
        operation.rows = [
            (item["id"], item["version"], (item["title"], item["description"]))
            for item in body["items"]
        ]
        return
    operation.version = answer.number("etag")
    operation.item = body["id"]
    operation.seen = (body["title"], body["description"])
