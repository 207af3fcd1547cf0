"""The workloads: what the load generator asks for, one row each.

A workload is a cycle of requests, so a mixed one is a row with several. Requests are made from a
`Target`: who asks, and for which items. The order of the rows is that in which a server gets them:
those that leave its data alone come first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.client import Client
from benchmarks.fill import fill
from benchmarks.sample_data import LISTED, Account

READER = Account(
    username="reader",
    email="reader@example.com",
    password="a password of some length",
    full_name=None,
)
OTHER_USERS = 3
OTHER_ITEMS = 300


@dataclass(frozen=True)
class Target:
    """A logged-in user of the measured server and their items."""

    account: Account
    token: str
    item_ids: Sequence[int]


@dataclass(frozen=True)
class Request:
    """One HTTP request; the body, if any, is sent as JSON."""

    method: str
    path: str
    body: object = None


@dataclass(frozen=True)
class Workload:
    """A cycle of requests.

    It is asked for over ``connections`` in every round, and over those that are ``rarer`` in every
    third one.
    """

    name: str
    about: str
    requests: Callable[[Target], Sequence[Request]]
    connections: Sequence[int] = (32,)
    rarer: Sequence[int] = (1, 128)


NEW_ITEM = {"title": "Service the bicycle", "description": "Brakes, chain, and the rear light."}


def read_one(target: Target) -> list[Request]:
    """The item in the middle: the service that is replaced looks through the list of them."""
    return [Request("GET", f"/items/{target.item_ids[len(target.item_ids) // 2]}")]


def create(_: Target) -> list[Request]:
    """Always the same."""
    return [Request("POST", "/items", NEW_ITEM)]


def update(target: Target) -> list[Request]:
    """All items in turn, so that no row is waited for, and a change each time."""
    return [
        Request("PUT", f"/items/{number}", {**NEW_ITEM, "title": title})
        for title in ("Service the bicycle", "Sell the bicycle")
        for number in target.item_ids
    ]


def login(target: Target) -> list[Request]:
    """The reader's."""
    account = target.account
    body = {"username": account.username, "password": account.password}
    return [Request("POST", "/auth/login", body)]


READ = Workload("read", "GET /items/{id}", read_one)
LIST = Workload("list", "GET /items, 100 items", lambda _: [Request("GET", "/items?limit=100")])
UPDATE = Workload("update", "PUT /items/{id}, a change each time", update)
CREATE = Workload(
    "create",
    "POST /items",
    create,
    connections=(32, 64),
)
LOGIN = Workload(
    "login", "POST /auth/login, the password checked", login, connections=(), rarer=(4,)
)
WORKLOADS = (
    READ,
    LIST,
    UPDATE,
    Workload(
        "mixed",
        "nine of read to one of create",
        lambda target: [*read_one(target) * 9, *create(target)],
    ),
    CREATE,
    LOGIN,
)


def filled(client: Client) -> Target:
    """Fill an empty server, and log its reader in."""
    fill(client, OTHER_USERS, OTHER_ITEMS)
    client.register(READER)
    token = client.login(READER)
    return Target(READER, token, [client.create_item(token, content) for content in LISTED])


STATELESS_TARGET = Target(READER, "none", range(1, len(LISTED) + 1))
"""For a server that keeps nothing."""
