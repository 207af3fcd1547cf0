"""A connection that repeats every request, with an Idempotency-Key, until it is answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from tests.end_to_end.client import Answer, BrokenError, Connection

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 300.0

_RETRY_STATUSES = {503, 507}
_IN_PROGRESS = b"/problems/request-in-progress"


class PersistentConnection:
    """A user's connection to the server that ``port`` names at each attempt.

    ``statuses`` counts all answers, ``repeats`` the requests that were sent again, and ``worker`` is
    the process that was asked last.
    """

    def __init__(self, port: Callable[[], int], authorization: str) -> None:
        self._port = port
        self._authorization = authorization
        self._connection: Connection | None = None
        self.worker = 0
        self.repeats = 0
        self.statuses: Counter[int] = Counter()

    async def send(
        self,
        method: str,
        path: str,
        content: object = None,
        name: str = "",
        *,
        retries: bool = True,
    ) -> Answer:
        """Send a request until it is answered; ``name`` is its id and, of a write, its key.

        Without ``retries``, only a broken connection is a reason to send it again.
        """
        headers = {"Authorization": self._authorization}
        if name:
            headers |= {"X-Request-ID": name, "Idempotency-Key": f'"{name}"'}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if self._connection is None:
                    self._connection = await Connection.open(self._port())
                self.worker = self._connection.worker
                answer = await self._connection.request(method, path, content, headers)
            except (OSError, BrokenError):
                self.close()
            else:
                self.statuses[answer.status] += 1
                if not retries or not _is_for_later(answer):
                    return answer
            self.repeats += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise TimeoutError(f"no answer in {PATIENCE_SECONDS} s to {method} {path} {name}")

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_for_later(answer: Answer) -> bool:
    """Whether the same request may succeed later."""
    is_in_progress = answer.status == 409 and _IN_PROGRESS in answer.body
    return answer.status in _RETRY_STATUSES or is_in_progress
