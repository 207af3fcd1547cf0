"""Compare the rates of durable writes on one MariaDB and on a Galera cluster.

    python -m tests.fault_injection.galera.rates --rounds 3

Each round creates items with the same number of clients: at an instance over one MariaDB, at one
over one node of a cluster of three, and at three instances over three nodes, which conflict.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.end_to_end.server import Server, by_serve
from tests.end_to_end.workload import Load
from tests.fault_injection.failover.load import FailoverWorkload
from tests.fault_injection.galera.campaign import SECRET
from tests.fault_injection.machine import describe_machine
from tests.servers.galera import Cluster
from tests.servers.mariadb import MariaDB


async def _rate(ports: list[int], clients: int, seconds: float, name: str) -> float:
    """The number of items that clients create in a second; 503 does not count."""
    load = Load(ports, Path(), clients=clients)
    workload = FailoverWorkload(load)
    accounts = [await workload.create_account(f"{name}-{number}") for number in range(clients)]
    created = 0
    deadline = time.monotonic() + seconds

    async def create(number: int) -> None:
        nonlocal created
        connection = await workload.connection(ports[number % len(ports)])
        headers = {"Authorization": accounts[number].authorization}
        while time.monotonic() < deadline:
            answer = await connection.request("POST", "/items", {"title": "a title"}, headers)
            created += answer.status in {200, 201}
        connection.close()

    await asyncio.gather(*map(create, range(clients)))
    return created / seconds


def main() -> None:
    """Measure, and print the median rates and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=8)
    plan = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        single, cluster = stack.enter_context(MariaDB()), stack.enter_context(Cluster())
        urls = [single.url, *(node.url for node in cluster.nodes)]
        alone, *instances = [
            stack.enter_context(
                Server(
                    folder / f"data{number}",
                    1,
                    by_serve,
                    {"EVENTAPI_LOG": url, "EVENTAPI_SECRET_KEY": SECRET},
                )
            )
            for number, url in enumerate(urls)
        ]
        kinds = {
            "one MariaDB": [alone],
            "one node of Galera": instances[:1],
            "three nodes of Galera": instances,
        }
        for turn in range(plan.rounds):
            for kind, servers in kinds.items():
                ports = [server.port for server in servers]
                name = f"{kind.replace(' ', '-')}-{turn}"
                measured = asyncio.run(_rate(ports, plan.clients, plan.seconds, name))
                rates.setdefault(kind, []).append(measured)
    print(describe_machine(Path.cwd()))  # noqa: T201 - the output of the command
    first = statistics.median(next(iter(rates.values())))
    for kind, found in rates.items():
        median = statistics.median(found)
        line = f"{kind:<24}{median:>8.1f} creates/s{median / first:>8.2f}  {found}"
        print(line)  # noqa: T201 - as above


if __name__ == "__main__":
    main()
