"""Production on this machine, broken and mended under load: python -m tests.deployment.production.

It starts nginx, three instances of eventapi, a database and Valkey from packages, puts 64 clients on
them, and kills and restarts one after the other. Then every answer is held against the log.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tests.deployment.production.stack import Database, Stack
from tests.deployment.production.trial import try_out
from tests.fault_injection.machine import taken_on
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import AbsentError

DATABASES: dict[str, Callable[[], Database] | None] = {
    "postgresql": PostgreSQL,
    "mariadb": MariaDB,
    "file": None,
}


def main() -> int:
    """Run what is asked for and print its figures; 1 where anything is wrong, 3 without a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", choices=DATABASES, default="postgresql")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1, help="processes an instance")
    parser.add_argument("--pause", type=float, default=3, help="seconds between incidents")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    make = DATABASES[chosen.log]
    print(taken_on(Path.cwd()), flush=True)  # noqa: T201 - as below
    with tempfile.TemporaryDirectory(prefix="eventapi-production-") as name:
        folder = Path(name)
        try:
            with (
                nullcontext(None) if make is None else make() as database,
                Stack(folder, database, workers=chosen.workers) as stack,
            ):
                trial = try_out(
                    stack, folder, clients=chosen.clients, pause=chosen.pause, seed=chosen.seed
                )
        except AbsentError as error:
            print(error)  # noqa: T201 - as below
            return 3
    print(trial)  # noqa: T201 - the table is what it is for
    return 1 if trial.verdict.guilt else 0


if __name__ == "__main__":
    sys.exit(main())
