"""The workloads: what the load generator asks for, one row each.

A workload is a cycle of requests, so a mixed one is a row with several. Requests are made from a
`Target`: who asks, and for which item.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.sample_data import Account


@dataclass(frozen=True)
class Target:
    """A logged-in user of the measured server and one of their items."""

    account: Account
    token: str
    item_id: int


@dataclass(frozen=True)
class Request:
    """One HTTP request; the body, if any, is sent as JSON."""

    method: str
    path: str
    body: object = None


@dataclass(frozen=True)
class Workload:
    """A cycle of requests, and over how many connections it is asked for."""

    name: str
    about: str
    connections: int
    requests: Callable[[Target], Sequence[Request]]


NEW_ITEM = {"title": "Service the bicycle", "description": "Brakes, chain, and the rear light."}

WORKLOADS = (
    Workload(
        "read",
        "authenticated GET /items/{id}",
        32,
        lambda target: [Request("GET", f"/items/{target.item_id}")],
    ),
    Workload(
        "create",
        "authenticated POST /items, on disk before the answer in eventapi only",
        64,
        lambda _: [Request("POST", "/items", NEW_ITEM)],
    ),
)
