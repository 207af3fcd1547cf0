"""Fill a running v1 service over HTTP, and write its accounts to a file.

    python -m benchmarks.fill http://127.0.0.1:8000 --users 300 --items 3000 --out known.json

Registrations and logins run in a small pool, because password hashing is slow by design. Changes
of items run one after the other, so that the same seed gives the same item ids on every service.
"""

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import sample_data
from benchmarks.client import Client
from benchmarks.sample_data import Account, Create, Delete, Replace

HASHING_POOL = 4


@dataclass(frozen=True)
class KnownUser:
    """An account of the service, and the ids of the items that it deleted."""

    account: Account
    deleted_items: list[int] = field(default_factory=list)


def fill(
    client: Client,
    users: int,
    items: int,
    seed: int = 1,
    report: Callable[[str], None] = lambda _: None,
) -> list[KnownUser]:
    """Register `users` accounts and leave `items` items in the service."""
    accounts = sample_data.accounts(users, seed)
    with ThreadPoolExecutor(HASHING_POOL) as pool:
        report(f"registering {users} users")
        list(pool.map(client.register, accounts))
        report(f"logging {users} users in")
        tokens = list(pool.map(client.login, accounts))
    known = [KnownUser(account) for account in accounts]
    report(f"changing items until {items} are left")
    ids: dict[int, int] = {}
    for change in sample_data.changes(users, items, seed):
        token = tokens[change.owner]
        match change:
            case Create():
                ids[change.item] = client.create_item(token, change.content)
            case Replace():
                client.replace_item(token, ids[change.item], change.content)
            case Delete():
                client.delete_item(token, ids[change.item])
                known[change.owner].deleted_items.append(ids[change.item])
    return known


def write_known(path: Path, known: list[KnownUser]) -> None:
    """Write accounts, passwords included, as JSON."""
    users = [asdict(user) for user in known]
    path.write_text(json.dumps({"users": users}, indent=1, ensure_ascii=False), encoding="utf-8")


def read_known(path: Path) -> list[KnownUser]:
    """Read what `write_known` wrote."""
    users = json.loads(path.read_text(encoding="utf-8"))["users"]
    return [KnownUser(Account(**user["account"]), user["deleted_items"]) for user in users]


def main() -> None:
    """Fill the service that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base_url", help="of a running service, empty or without these users")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--items", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="file for accounts and passwords")
    options = parser.parse_args()
    with Client(options.base_url) as client:
        known = fill(
            client,
            options.users,
            options.items,
            options.seed,
            report=lambda line: print(line, file=sys.stderr),
        )
    write_known(options.out, known)
    print(f"{options.users} users and {options.items} items; accounts are in {options.out}")


if __name__ == "__main__":
    main()
