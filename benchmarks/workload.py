"""The workloads of the load generator, one row each.

A workload is a cycle of requests; a mixed one has several. Requests are built from a `Target`: a
user and the user's items. A server gets the workloads in the order of the rows, first those that do
not change its data.
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
    """A logged-in user of the measured server, and the user's items."""

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

    It runs over each number of ``connections`` in every round, and over the ``rarer`` numbers in
    every third round.
    """

    name: str
    about: str
    requests: Callable[[Target], Sequence[Request]]
    connections: Sequence[int] = (32,)
    rarer: Sequence[int] = (1, 128)


LIST_PATH = "/items?limit=100"
FILTERS = 5_000
"""Different filters in turn: more than the cache of pages holds."""

NEW_ITEM = {"title": "Service the bicycle", "description": "Brakes, chain, and the rear light."}


def read_one(target: Target) -> list[Request]:
    """Read the item in the middle, because the replaced service searches the list of items."""
    return [Request("GET", f"/items/{target.item_ids[len(target.item_ids) // 2]}")]


def create(_: Target) -> list[Request]:
    """Create the same item each time."""
    return [Request("POST", "/items", NEW_ITEM)]


def update(target: Target) -> list[Request]:
    """Change all items in turn, so that no request waits for the lock of a row."""
    return [
        Request("PUT", f"/items/{number}", {**NEW_ITEM, "title": title})
        for title in ("Service the bicycle", "Sell the bicycle")
        for number in target.item_ids
    ]


def change_and_list(target: Target) -> list[Request]:
    """Change an item and list all of them, in turn, so that no list is the one before."""
    return [each for change in update(target) for each in (change, Request("GET", LIST_PATH))]


def list_differently(_: Target) -> list[Request]:
    """List the same items with another filter each time."""
    return [Request("GET", f"/api/v2{LIST_PATH}&title.ne={number}") for number in range(FILTERS)]


def login(target: Target) -> list[Request]:
    """Log the reader in."""
    account = target.account
    body = {"username": account.username, "password": account.password}
    return [Request("POST", "/auth/login", body)]


READ = Workload("read", "GET /items/{id}", read_one)
LIST = Workload("list", "GET /items, the same 100 items", lambda _: [Request("GET", LIST_PATH)])
LIST_DIFFERENTLY = Workload(
    "list-filtered", "GET /items, 100 items by another filter each time", list_differently
)
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
        "list-changed",
        "PUT /items/{id} and GET /items, in turn",
        change_and_list,
        connections=(1,),  # Over more, several lists would be sent between two commits.
        rarer=(),
    ),
    Workload(
        "mixed",
        "nine reads to one create",
        lambda target: [*read_one(target) * 9, *create(target)],
    ),
    CREATE,
    LOGIN,
)


def fill_server(client: Client) -> Target:
    """Fill an empty server, and log the reader in."""
    fill(client, OTHER_USERS, OTHER_ITEMS)
    client.register(READER)
    token = client.login(READER)
    return Target(READER, token, [client.create_item(token, content) for content in LISTED])


STATELESS_TARGET = Target(READER, "none", range(1, len(LISTED) + 1))
"""For a server without storage."""
