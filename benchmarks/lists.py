"""Measure a page of a list out of 1,000 rows of one owner, and out of many more.

    python -m benchmarks.lists [--rows N] [--rounds N]

Both lists are served by an application in this process, over a log in memory. A page has 100 rows.
The first request for a sorted list sorts all rows; the others reuse the order. Pages are not cached,
so each request makes its page. "Stall" is the longest time that another task of the event loop waits
during that first request.
"""

import argparse
import asyncio
import gc
import random
import statistics
import time
from datetime import date, timedelta

import httpx
import msgspec

from eventapi.app import create_app
from eventapi.bootstrap.storage import Overrides
from eventapi.commands.resources import Create
from eventapi.configuration.settings import Settings
from eventapi.http.caches import Caches
from eventapi.http.lists.pages import Pages
from eventapi.resources import Clear, Resource
from eventapi.resources.registry import Registry
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault

FEW = 1_000
PER_WRITE = 500
PASSWORD = "correct horse battery staple"
QUERIES = (
    *("", "order=desc", "sort=-due", "sort=due", "sort=customer,-cents", "count=true"),
    *("sort=-due&count=true", "cents.ge=990", "sort=-due&cents.ge=990", "q=nothing"),
)


class Invoice(Resource):
    """What a customer owes."""

    number: str
    customer: str
    cents: Clear[int]
    due: date | None = None


class Client:
    """A user with rows."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"authorization": f"Bearer {token}"}

    async def seconds(self, query: str) -> float:
        """The time of one page."""
        start = time.perf_counter()
        url = f"/api/v2/invoices?limit=100&{query}"
        answer = await self._http.get(url, headers=self._headers)
        answer.raise_for_status()
        return time.perf_counter() - start


async def new_client(app: object, registry: Registry, name: str, rows: int) -> Client:
    """A new user with so many rows."""
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # an ASGI application
    http = httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
    body = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    (await http.post("/auth/register", json=body)).raise_for_status()
    login = await http.post("/auth/login", json={"username": name, "password": PASSWORD})
    journal = app.services.journal  # type: ignore[attr-defined]  # of an application
    user = (await journal.state()).users.find_by_username(name)
    resource = registry.by_collection["invoices"]
    for start in range(0, rows, PER_WRITE):
        await journal.execute_all(
            [
                Create(resource, user.id, values(number))
                for number in range(start, min(rows, start + PER_WRITE))
            ]
        )
    return Client(http, login.json()["access_token"])


def values(number: int) -> dict[str, object]:
    """The content of one row."""
    due = date(2020, 1, 1) + timedelta(random.randrange(3_000))
    return {
        "number": f"N{number}",
        "customer": f"customer {number % 97}",
        "cents": number % 1_000,
        "due": due if number % 7 else None,
    }


async def with_stall(client: Client, query: str) -> tuple[float, float]:
    """The time of one page, and the longest wait of another task."""
    longest, is_done = 0.0, False

    async def tick() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not is_done:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    task = asyncio.create_task(tick())
    taken = await client.seconds(query)
    is_done = True
    await task
    return taken, longest


async def measure(rows: int, rounds: int) -> None:
    """Print a line for each query."""
    registry = Registry([Invoice])
    settings = Settings(
        secret_key="a secret key for a benchmark: 0123456789",
        log_level="warning",
        rate_limit="off",
        rate_limit_login="off",
    )
    app = create_app(settings, Overrides(log=MemoryLog(), vault=MemoryVault(), registry=registry))
    async with app.lifespan():
        app.started = msgspec.structs.replace(app.services, caches=Caches(Pages(0)))
        few = await new_client(app, registry, "few", FEW)
        many = await new_client(app, registry, "many", rows)
        gc.collect()
        gc.freeze()  # As a server does after its start.
        print(f"{'query':28}{FEW:>12,}{rows:>12,}{'ratio':>8}{'first':>12}{'stall':>12}")
        for query in QUERIES:
            first, stall = await with_stall(many, query)
            await few.seconds(query)
            of_few = statistics.median([await few.seconds(query) for _ in range(rounds)])
            of_many = statistics.median([await many.seconds(query) for _ in range(rounds)])
            times = "".join(f"{one * 1_000:9.1f} ms" for one in (of_few, of_many))
            rest = "".join(f"{one * 1_000:9.1f} ms" for one in (first, stall))
            print(f"{query or '-':28}{times}{of_many / of_few:8.1f}{rest}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    asyncio.run(measure(given.rows, given.rounds))


if __name__ == "__main__":
    main()
