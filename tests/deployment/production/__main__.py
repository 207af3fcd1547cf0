"""Run a production stack on this machine and break its parts under load.

    python -m tests.deployment.production --log postgresql

The command starts nginx, three instances of eventapi, a database and Valkey from packages, runs 64
clients, and kills and restarts one part after another. Then it checks every response against the
log. The exit code is 1 if there is a violation, 3 if a program is not installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tests.deployment.production.stack import Database, Stack
from tests.deployment.production.trial import run_trial
from tests.fault_injection.machine import describe_machine
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import NotInstalledError

DATABASES: dict[str, Callable[[], Database] | None] = {
    "postgresql": PostgreSQL,
    "mariadb": MariaDB,
    "file": None,
}


def main() -> int:
    """Run the stack and print the figures; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--log", choices=DATABASES, default="postgresql")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1, help="processes per instance")
    parser.add_argument("--pause", type=float, default=3, help="seconds between incidents")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    make = DATABASES[chosen.log]
    print(describe_machine(Path.cwd()), flush=True)  # noqa: T201 - as below
    with tempfile.TemporaryDirectory(prefix="eventapi-production-") as name:
        folder = Path(name)
        try:
            with (
                nullcontext(None) if make is None else make() as database,
                Stack(folder, database, workers=chosen.workers) as stack,
            ):
                trial = run_trial(
                    stack, folder, clients=chosen.clients, pause=chosen.pause, seed=chosen.seed
                )
        except NotInstalledError as error:
            print(error)  # noqa: T201 - as below
            return 3
    print(trial)  # noqa: T201 - the output of the command
    return 1 if trial.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
