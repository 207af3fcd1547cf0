"""Many clients through the balancer, while what is behind it is broken and mended."""

from __future__ import annotations

import asyncio
import ssl
import sys

from tests.end_to_end.client import Answer, BrokenError, Connection
from tests.end_to_end.history import Fate, Operation
from tests.end_to_end.workload import Client, Load, Workload, note

BALANCER = -1
"""In the place of a worker: whose connections may break, and who may not know what became of a request."""

NOT_KNOWN = {502, 504}
NOT_NOW = 503
_PAUSE_SECONDS = 0.02


class Through(Workload):
    """A load through the balancer of a stack.

    A client asks for no less than all clients together know of: what was acknowledged, and the
    versions that were shown.
    """

    def __init__(self, load: Load, trust: ssl.SSLContext) -> None:
        super().__init__(load)
        self._trust = trust
        self._known = 0

    async def connection(self, port: int) -> Connection:
        """A connection to the balancer, who does not say which instance will answer.

        It breaks where an instance dies that has sent half of an answer.
        """
        connection = await Connection.open(port, ask_who=False, tls=self._trust)
        connection.worker = BALANCER
        return connection

    def subject(self, name: str, position: int) -> str:
        """The name: who that is in the log is looked up when all is over."""
        return name

    async def _connect(self, client: Client) -> Connection | None:
        try:
            return await self.connection(client.port)
        except (OSError, BrokenError):
            self.ran.operations.append(self._operation(client))
            await asyncio.sleep(_PAUSE_SECONDS)
            return None

    def _operation(self, client: Client) -> Operation:
        operation = super()._operation(client)
        operation.least = self._known
        return operation

    async def told(self, operation: Operation, answer: Answer) -> None:
        """Note an answer; whoever got none of use waits a moment, as a good client does."""
        operation.written = sys.maxsize
        note(operation, answer)
        if operation.status in NOT_KNOWN:
            operation.fate = Fate.UNKNOWN
        elif operation.status != NOT_NOW:
            shown = (version for _, version, _ in operation.rows)
            self._known = max(self._known, operation.position, operation.version, *shown)
            return
        await asyncio.sleep(_PAUSE_SECONDS)
