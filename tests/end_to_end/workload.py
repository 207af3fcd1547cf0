"""A random load: many clients on the items of a few users, so that they conflict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Changes, Kind, Operation, Outcome
from tests.end_to_end.log_reader import read_whole, size_of
from tests.end_to_end.server import START_SECONDS

PASSWORD = "correct horse battery staple"

_WRITER_MIX = {Kind.GET: 46, Kind.LIST: 6, Kind.PATCH: 28, Kind.CREATE: 10, Kind.DELETE: 10}
_READER_MIX = {Kind.GET: 9, Kind.LIST: 1}
_CLIENTS_PER_READER = 4
"""One client in so many only reads, because all others may be waiting for writes."""

_MAX_ITEMS_PER_USER = 24
"""With so many items, a user's clients delete instead of creating."""

_RECENT_ITEMS = 6
"""How many of the last written items are preferred: stale reads show there."""


_NEAR, _CONDITIONAL = 0.6, 0.3
"""Probabilities of choosing a recent item, and of sending If-Match."""

_LOGIN_TRIES = 20
_CONNECT_TRIES = 20
_PAUSE_SECONDS = 0.05


class Account(msgspec.Struct):
    """A user, and the versions of the user's items that the clients have seen."""

    subject: str
    authorization: str
    items: dict[int, int] = {}
    recent: deque[int] = msgspec.field(default_factory=lambda: deque(maxlen=_RECENT_ITEMS))

    def update(self, operation: Operation) -> None:
        """Update the known versions from a finished operation."""
        is_deleted = operation.kind is Kind.DELETE and operation.succeeded
        if is_deleted or operation.status == 404:  # An answer from before may have put it back.
            self.items.pop(operation.item, None)
        elif operation.version:
            self.items[operation.item] = max(operation.version, self.items.get(operation.item, 0))
        if operation.kind is not Kind.LIST and operation.succeeded:
            self.recent.append(operation.item)


class Load(msgspec.Struct, frozen=True):
    """Parameters of a load; ``workers`` is the total over all servers.

    The load lasts ``seconds``, or longer, until there are more than ``min_operations``.
    """

    ports: Sequence[int]
    log: Path
    workers: int = 4
    clients: int = 64
    users: int = 4
    seconds: float = 8.0
    seed: int = 1
    min_operations: int = 0


class LoadResult(msgspec.Struct):
    """All operations of a load; ``connections`` counts connections by worker."""

    operations: list[Operation]
    connections: Counter[int]
    seconds: float


class Client(msgspec.Struct, frozen=True):
    """A client: its server, its user, and the weights of its operations."""

    port: int
    account: Account
    mix: Mapping[Kind, int]


class Workload:
    """One run of a load."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.result = LoadResult([], Counter(), 0.0)
        self._open: Counter[int] = Counter()
        self._is_over = False
        self._accounts: list[Account] = []
        self._random = random.Random(load.seed)
        self._count = 0

    async def run(self, during: Callable[[Workload], None] = lambda _: None) -> LoadResult:
        """Create the accounts, run the clients, and call ``during`` half-way in a thread.

        The clients continue until ``during`` has returned.
        """
        for number in range(self.load.users):
            self._accounts.append(await self.create_account(f"user{number}-{self.load.seed}"))
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self.load.clients):
                port = self.load.ports[number % len(self.load.ports)]
                turn, user = divmod(number, len(self._accounts))
                mix = (
                    _READER_MIX
                    if turn % _CLIENTS_PER_READER == _CLIENTS_PER_READER - 1
                    else _WRITER_MIX
                )
                client = Client(port, self._accounts[user], mix)
                group.create_task(self._drive(client, started + self.load.seconds))
            await asyncio.sleep(self.load.seconds / 2)
            await asyncio.to_thread(during, self)
            async with asyncio.timeout(START_SECONDS):
                while len(self.result.operations) <= self.load.min_operations:  # noqa: ASYNC110 - clients set no event
                    await asyncio.sleep(_PAUSE_SECONDS)
            self._is_over = True
        self.result.seconds = time.monotonic() - started
        return self.result

    async def create_account(self, name: str) -> Account:
        """Register a user and log in."""
        connection = await self.connection(self._random.choice(self.load.ports))
        body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
        registered = await connection.request("POST", "/auth/register", body)
        del body["email"]
        login = await connection.request("POST", "/auth/login", body)
        tries = 0
        while login.status != 200 and tries < _LOGIN_TRIES:
            # Only servers with a planted bug need a second attempt.
            await asyncio.sleep(_PAUSE_SECONDS)
            login = await connection.request("POST", "/auth/login", body)
            tries += 1
        connection.close()
        subject = self.subject(name, registered.number("event-position"))
        return Account(subject, f"Bearer {login.json()['access_token']}")

    async def connection(self, port: int) -> Connection:
        """Connect to a server; raises `OSError` and `BrokenError`."""
        return await Connection.open(port)

    def subject(self, name: str, position: int) -> str:
        """The subject in the log of a user who registered at that position."""
        line = read_whole(self.load.log).split(b"\n")[position - 1]
        found: str = msgspec.json.decode(line)["subject"]
        return found

    async def _drive(self, client: Client, deadline: float) -> None:
        connection: Connection | None = None
        try:
            while time.monotonic() < deadline or not self._is_over:
                if connection is None:
                    connection = await self._connect(client)
                else:
                    operation = self._operation(client)
                    connection = await self._perform(operation, connection, client.account)
        finally:
            if connection is not None:
                connection.close()

    async def _connect(self, client: Client) -> Connection | None:
        """Connect to a worker that has fewer connections than its share, if possible."""
        share = -(-self.load.clients // self.load.workers)
        for tries in range(_CONNECT_TRIES, 0, -1):
            try:
                connection = await self.connection(client.port)
            except (OSError, BrokenError):
                break
            if self._open[connection.worker] < share or tries == 1:
                self._open[connection.worker] += 1
                self.result.connections[connection.worker] += 1
                return connection
            connection.close()
        # Record the next operation as never sent, so that it must not be in the log.
        self.result.operations.append(self._operation(client))
        await asyncio.sleep(_PAUSE_SECONDS)
        return None

    def _operation(self, client: Client) -> Operation:
        choose, account = self._random, client.account
        self._count += 1
        (kind,) = choose.choices(list(client.mix), list(client.mix.values()))
        if not account.items:
            kind = Kind.LIST if client.mix is _READER_MIX else Kind.CREATE
        elif kind is Kind.CREATE and len(account.items) >= _MAX_ITEMS_PER_USER:
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
        """Send an operation and record its outcome; return the connection unless it broke."""
        method, path = method_and_path(operation)
        headers = {
            "Authorization": account.authorization,
            "X-Request-ID": operation.requestid,
        }
        if operation.if_match is not None:
            headers["If-Match"] = f'"{operation.if_match}"'
        if operation.min_position:
            headers["Min-Event-Position"] = str(operation.min_position)
        self.result.operations.append(operation)
        operation.worker = connection.worker
        operation.outcome = Outcome.UNKNOWN
        operation.start = time.monotonic_ns()
        try:
            answer = await connection.request(method, path, operation.changes or None, headers)
        except BrokenError:
            self._open[connection.worker] -= 1
            return None
        finally:
            operation.end = time.monotonic_ns()
        await self.on_answer(operation, answer)
        account.update(operation)
        return connection

    async def on_answer(self, operation: Operation, answer: Answer) -> None:
        """Record a response."""
        operation.log_size = size_of(self.load.log)
        record_answer(operation, answer)


def method_and_path(operation: Operation) -> tuple[str, str]:
    """Return method and path; version 2 of the API where responses must show versions."""
    one = f"/items/{operation.item}"
    return {
        Kind.CREATE: ("POST", "/api/v2/items"),
        Kind.PATCH: ("PATCH", f"/api/v2{one}"),
        Kind.DELETE: ("DELETE", one),
        Kind.GET: ("GET", one),
        Kind.LIST: ("GET", "/api/v2/items?limit=1000"),
    }[operation.kind]


def record_answer(operation: Operation, answer: Answer) -> None:
    """Copy a response into its operation."""
    operation.outcome = Outcome.ANSWERED
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
