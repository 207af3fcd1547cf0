"""A load through the balancer of a stack whose parts fail and recover."""

from __future__ import annotations

import asyncio
import ssl
import sys

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Operation, Outcome
from tests.end_to_end.workload import Client, Load, Workload, record_answer

BALANCER = -1
"""Used as worker id: connections may break, and the outcome of a request may be unknown."""

UNKNOWN_OUTCOME_STATUSES = {502, 504}
UNAVAILABLE_STATUS = 503
_PAUSE_SECONDS = 0.02


class BalancerWorkload(Workload):
    """A load through the balancer of a stack.

    Each request sends Min-Event-Position with the highest position that any client has seen.
    """

    def __init__(self, load: Load, trust: ssl.SSLContext) -> None:
        super().__init__(load)
        self._trust = trust
        self._known = 0

    async def connection(self, port: int) -> Connection:
        """Connect to the balancer, which does not reveal the instance that answers.

        The connection breaks if an instance dies after sending half of a response.
        """
        connection = await Connection.open(port, identify=False, tls=self._trust)
        connection.worker = BALANCER
        return connection

    def subject(self, name: str, position: int) -> str:
        """Return the name; its subject in the log is looked up after the run."""
        return name

    async def _connect(self, client: Client) -> Connection | None:
        try:
            return await self.connection(client.port)
        except (OSError, BrokenError):
            self.result.operations.append(self._operation(client))
            await asyncio.sleep(_PAUSE_SECONDS)
            return None

    def _operation(self, client: Client) -> Operation:
        operation = super()._operation(client)
        operation.min_position = self._known
        return operation

    async def on_answer(self, operation: Operation, answer: Answer) -> None:
        """Record a response; after a 502, 503 or 504, wait a moment as a good client does."""
        operation.log_size = sys.maxsize
        record_answer(operation, answer)
        if operation.status in UNKNOWN_OUTCOME_STATUSES:
            operation.outcome = Outcome.UNKNOWN
        elif operation.status != UNAVAILABLE_STATUS:
            shown = (version for _, version, _ in operation.rows)
            self._known = max(self._known, operation.position, operation.version, *shown)
            return
        await asyncio.sleep(_PAUSE_SECONDS)
