"""``python -m tests.security.forgotten``: measure what requests for mail reveal.

Prints the area under the ROC curve of a classifier that uses the time of an answer to
``POST /auth/password/forgot`` to distinguish known addresses from unknown ones (0.5: the time reveals
nothing). Each answer waits for a fixed time, so many connections send at once; with ``--pause``
there are few of them, and the server is idle between two requests. With ``--slow``, every append to
the log takes 20 ms longer.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from eventapi.accounts import recovery
from eventapi.app import create_app
from eventapi.commands.mailed_links import RequestPasswordReset
from eventapi.http.request_client import RequestClient
from eventapi.http.routes import mailed_links
from events.log.file.log import JsonlLog
from tests.end_to_end.client import Connection
from tests.end_to_end.server import Command, Server, by_serve, uvicorn_of
from tests.security.logins import roc_area
from tests.security.reader import register

USERS = 50
CONNECTIONS = 64
APPEND_SECONDS = 0.02
LIMIT = 0.52
PATH = "/api/v2/auth/password/forgot"


def append_slowly() -> None:
    """Make appends to the log take longer, as on a slow disk."""
    append = JsonlLog.append

    async def wait_and_append(self: JsonlLog, *arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(APPEND_SECONDS)
        return await append(self, *arguments, **named)

    JsonlLog.append = wait_and_append  # type: ignore[method-assign]


def slow_app() -> Any:
    """An application on a slow disk."""
    append_slowly()
    return create_app()


def eager_app() -> Any:
    """The control: an application that answers as soon as the event is written, if there is one.

    Its disk is slow, because on a fast one other work of the machine hides the difference.
    """
    append_slowly()

    async def write(client: RequestClient, command: RequestPasswordReset | None) -> None:
        if command is not None:
            await client.execute(command)

    async def check_nothing(_: RequestClient) -> None:
        pass

    recovery._write_alike = write  # type: ignore[assignment]
    recovery.check_log = check_nothing  # type: ignore[assignment]
    mailed_links.ANSWER_SECONDS = 1e-6  # type: ignore[misc]
    return create_app()


slow, eager = (uvicorn_of(f"tests.security.forgotten:{name}_app") for name in ("slow", "eager"))


async def measure_area(port: int, samples: int, connections: int, pause: float = 0.0) -> float:
    """The area, from ``samples`` requests of each kind."""
    first = await Connection.open(port)
    for number in range(USERS):
        await register(first, f"user{number}")
    opened = [first, *[await Connection.open(port) for _ in range(connections - 1)]]
    kinds = [number % 2 for number in range(2 * samples)]
    random.shuffle(kinds)
    times: tuple[list[float], list[float]] = ([], [])

    async def send(connection: Connection) -> None:
        await asyncio.sleep(random.random() * mailed_links.ANSWER_SECONDS)
        while kinds:
            known = kinds.pop()
            name = f"{'user' if known else 'none'}{random.randrange(USERS)}"
            started = time.perf_counter()
            answer = await connection.request("POST", PATH, {"email": f"{name}@example.org"})
            times[known].append(time.perf_counter() - started)
            assert answer.status == 202, answer
            await asyncio.sleep(random.random() * 2 * pause)

    await asyncio.gather(*map(send, opened))
    for connection in opened:
        connection.close()
    return roc_area(*times)


def area_of(
    directory: Path,
    samples: int,
    command: Command = by_serve,
    connections: int = CONNECTIONS,
    pause: float = 0.0,
) -> float:
    """The area of a new server."""
    with Server(directory / "data", 1, command) as server:
        return asyncio.run(measure_area(server.port, samples, connections, pause))


def main() -> int:
    """Print the figure; return 1 if the time reveals which addresses are known."""
    parser = argparse.ArgumentParser(prog="python -m tests.security.forgotten", description=__doc__)
    parser.add_argument("--samples", type=int, default=5000, help="requests of each kind")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--pause", type=float, default=0, help="mean seconds between two requests")
    parser.add_argument("--slow", action="store_true", help="a log on a slow disk")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        command = slow if options.slow else by_serve
        area = area_of(Path(name), options.samples, command, options.connections, options.pause)
    print(f"area under the ROC curve, {options.samples:,} of each: {area:.4f}")  # noqa: T201
    return abs(area - 0.5) > LIMIT - 0.5


if __name__ == "__main__":
    sys.exit(main())
