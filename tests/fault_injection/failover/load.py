"""A load on the workers of a server whose database fails over."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from tests.end_to_end.client import Answer
from tests.end_to_end.history import READS, Operation
from tests.end_to_end.server import START_SECONDS
from tests.end_to_end.workload import Account, Client, Load, Workload, record_answer

_PAUSE_SECONDS = 0.02


class FailoverWorkload(Workload):
    """A load on one server; ``written`` counts the acknowledged writes of each worker.

    Each request sends Min-Event-Position with the highest position that any client has seen.
    """

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.written: Counter[int] = Counter()
        self._known = 0

    async def create_account(self, name: str) -> Account:
        """Register a user and log in; return when every server knows the user."""
        account = await super().create_account(name)
        for port in self.load.ports:
            connection = await self.connection(port)
            headers = {"Authorization": account.authorization}
            while (await connection.request("GET", "/items", None, headers)).status != 200:  # noqa: ASYNC110 - polls a server
                await asyncio.sleep(_PAUSE_SECONDS)
            connection.close()
        return account

    def subject(self, name: str, position: int) -> str:
        """Return the name; its subject in the log is looked up after the run."""
        return name

    def _operation(self, client: Client) -> Operation:
        operation = super()._operation(client)
        operation.min_position = self._known
        return operation

    async def on_answer(self, operation: Operation, answer: Answer) -> None:
        """Record a response; after a 503, wait a moment as a good client does."""
        operation.log_size = sys.maxsize
        record_answer(operation, answer)
        if operation.status == 503:
            await asyncio.sleep(_PAUSE_SECONDS)
            return
        shown = (version for _, version, _ in operation.rows)
        self._known = max(self._known, operation.position, operation.version, *shown)
        if operation.kind not in READS and operation.succeeded:
            self.written[operation.worker] += 1


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait in a thread until a condition is true; raises `TimeoutError`."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not go on")
        time.sleep(_PAUSE_SECONDS)


def wait_for_each(counts: Counter[int], workers: Callable[[], Collection[int]]) -> None:
    """Wait in a thread until each worker has counted once more; raises `TimeoutError`.

    ``workers`` is asked each time, because a worker may be replaced meanwhile.
    """
    before = Counter(counts)
    try:
        wait_for(lambda: all(counts[worker] > before[worker] for worker in workers()))
    except TimeoutError as error:
        seen = f"workers {sorted(workers())}, writes {dict(before)}, then {dict(counts)}"
        raise TimeoutError(f"{error}: {seen}") from None


class ServerLog:
    """The lines that a server has printed in JSON, read as they come."""

    _REFUSAL = "events were acknowledged here, and the database ends at position"
    _UNKNOWN = "may or may not have been written"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.refusals = 0
        """How often a worker has reported that the database lacks acknowledged events."""
        self.unknown: set[str] = set()
        """The ids of the requests whose outcome the server did not find out."""
        self.tracebacks: list[str] = []

    def read(self) -> None:
        """Read what is new."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            *lines, rest = file.read().split(b"\n")
            self._offset = file.tell() - len(rest)
        for raw in lines:
            if not raw.startswith(b"{"):
                continue
            line = msgspec.json.decode(raw)
            text = str(line)
            self.refusals += line["logger"] == "events.log" and self._REFUSAL in text
            if "traceback" in line:
                self.tracebacks.append("\n".join((line["message"], line["traceback"])))
            if self._UNKNOWN in text:
                self.unknown.add(line["request_id"])


def no_log(folder: Path) -> Path:
    """An empty file in the place of a log, for clients that look at its size."""
    path = folder / "no-log"
    path.touch()
    return path
