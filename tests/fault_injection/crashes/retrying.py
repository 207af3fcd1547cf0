"""Clients that repeat every write, with an Idempotency-Key, until it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle

import msgspec

from tests.end_to_end.history import Kind, Operation, Outcome
from tests.end_to_end.log_reader import size_of
from tests.end_to_end.persistent import PersistentConnection
from tests.end_to_end.workload import Account, Load, method_and_path, record_answer


class RetryTotals(msgspec.Struct):
    """The operations of these clients, and the number of repeated requests."""

    operations: list[Operation] = []
    repeats: int = 0


class RetryingClient:
    """A client that creates, changes and deletes an item, over and over."""

    def __init__(self, name: str, load: Load, account: Account, retried: RetryTotals) -> None:
        self._name = name
        self._log = load.log
        self._account = account
        self._retried = retried
        ports = cycle(load.ports)
        self._connection = PersistentConnection(lambda: next(ports), account.authorization)
        self._count = 0

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Run until ``is_over``; the last item is still deleted."""
        try:
            while not is_over():
                created = await self._write(Kind.CREATE, 0)
                await self._write(Kind.PATCH, created.item)
                await self._write(Kind.DELETE, created.item)
        finally:
            self._connection.close()

    async def _write(self, kind: Kind, item: int) -> Operation:
        """Send a write until it is answered, and record it as one operation."""
        self._count += 1
        name = f"{self._name}-{self._count}"
        operation = Operation(kind=kind, requestid=name, owner=self._account.subject, item=item)
        if kind is not Kind.DELETE:
            operation.changes = {"title": name}
        if kind is Kind.CREATE:
            operation.changes["description"] = None
        operation.outcome = Outcome.UNKNOWN
        operation.start = time.monotonic_ns()
        self._retried.operations.append(operation)
        repeats = self._connection.repeats
        method, path = method_and_path(operation)
        answer = await self._connection.send(method, path, operation.changes or None, name)
        operation.worker = self._connection.worker
        self._retried.repeats += self._connection.repeats - repeats
        operation.end = time.monotonic_ns()
        operation.log_size = size_of(self._log)
        record_answer(operation, answer)
        return operation
