"""Clients that repeat every write, with an Idempotency-Key, until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Kind, Operation, Outcome
from tests.end_to_end.workload import Account, Load, method_and_path, record_answer

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 300.0

_RETRY_STATUSES = {409, 503, 507}
"""Statuses after which the same request is sent again."""


class RetryTotals(msgspec.Struct):
    """The operations of these clients, and the number of repeated requests."""

    operations: list[Operation] = []
    repeats: int = 0


class RetryingClient:
    """A client that creates, changes and deletes an item, over and over."""

    def __init__(self, name: str, load: Load, account: Account, retried: RetryTotals) -> None:
        self._name = name
        self._port = load.ports[0]
        self._log = load.log
        self._account = account
        self._retried = retried
        self._connection: Connection | None = None
        self._count = 0

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Run until ``is_over``; the last item is still deleted."""
        try:
            while not is_over():
                created = await self._write(Kind.CREATE, 0)
                await self._write(Kind.PATCH, created.item)
                await self._write(Kind.DELETE, created.item)
        finally:
            self._disconnect()

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
        answer = await self._send_until_answered(operation, time.monotonic() + PATIENCE_SECONDS)
        operation.end = time.monotonic_ns()
        operation.log_size = self._log.stat().st_size
        record_answer(operation, answer)
        return operation

    async def _send_until_answered(self, operation: Operation, deadline: float) -> Answer:
        method, path = method_and_path(operation)
        headers = {
            "Authorization": self._account.authorization,
            "X-Request-ID": operation.requestid,
            "Idempotency-Key": f'"{operation.requestid}"',
        }
        while time.monotonic() < deadline:
            try:
                if self._connection is None:
                    self._connection = await Connection.open(self._port)
                operation.worker = self._connection.worker
                answer = await self._connection.request(
                    method, path, operation.changes or None, headers
                )
            except (OSError, BrokenError):
                self._disconnect()
            else:
                if answer.status not in _RETRY_STATUSES:
                    return answer
            self._retried.repeats += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise TimeoutError(f"no answer in {PATIENCE_SECONDS} s to {operation}")

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
