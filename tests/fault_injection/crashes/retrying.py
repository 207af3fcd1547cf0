"""Clients that send every write, with an Idempotency-Key, until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Fate, Kind, Operation
from tests.end_to_end.workload import Account, Load, note, target

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 300.0

_AGAIN = {409, 503, 507}
"""Answers that ask for another try of the same request."""


class Retried(msgspec.Struct):
    """The operations of such clients, and how many requests they took beyond one each."""

    operations: list[Operation] = []
    repeats: int = 0


class Stubborn:
    """One such client: it makes an item, changes it, deletes it, and begins again."""

    def __init__(self, name: str, load: Load, account: Account, retried: Retried) -> None:
        self._name = name
        self._port = load.ports[0]
        self._log = load.log
        self._account = account
        self._retried = retried
        self._connection: Connection | None = None
        self._count = 0

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Go on until it is over; what was begun is ended."""
        try:
            while not is_over():
                made = await self._insist(Kind.CREATE, 0)
                await self._insist(Kind.PATCH, made.item)
                await self._insist(Kind.DELETE, made.item)
        finally:
            self._hang_up()

    async def _insist(self, kind: Kind, item: int) -> Operation:
        """Send a request until it is answered, and note it as one operation."""
        self._count += 1
        name = f"{self._name}-{self._count}"
        operation = Operation(kind=kind, requestid=name, owner=self._account.subject, item=item)
        if kind is not Kind.DELETE:
            operation.changes = {"title": name}
        if kind is Kind.CREATE:
            operation.changes["description"] = None
        operation.fate = Fate.UNKNOWN
        operation.start = time.monotonic_ns()
        self._retried.operations.append(operation)
        answer = await self._answered(operation, time.monotonic() + PATIENCE_SECONDS)
        operation.end = time.monotonic_ns()
        operation.written = self._log.stat().st_size
        note(operation, answer)
        return operation

    async def _answered(self, operation: Operation, deadline: float) -> Answer:
        method, path = target(operation)
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
                self._hang_up()
            else:
                if answer.status not in _AGAIN:
                    return answer
            self._retried.repeats += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise TimeoutError(f"no answer in {PATIENCE_SECONDS} s to {operation}")

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
