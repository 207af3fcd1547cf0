"""Measure durable creates over a log in a file and in a database, and over rows of a usual service.

    python -m benchmarks.databases [--rounds N] [--seconds N] [--only RUNG,...]

One server runs at a time on one core. wrk is on another, and the databases are there too, with
their defaults for durability; so what is compared is what a server's core can do. Each measurement
starts from an empty log or database with one user, rounds are interleaved, and any error fails the
run. TMPDIR says on which disk all data lies.

Every rung verifies the token, and answers when the item is on the disk. The log writes what came
in meanwhile as one batch; ``peer-sql`` (`benchmarks.peer_sql`) asks for the user and commits one
row in each request. Exits with 1 if PostgreSQL gives less than ``--least-file`` of the file's rate,
0.5 unless given, or less than ``--least-peer`` times the peer's, 5 unless given, in the median.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import sample_data
from benchmarks.client import Client
from benchmarks.process import ServerError
from benchmarks.report import table
from benchmarks.run import Bench, progress
from benchmarks.rung import EVENTAPI, Rung, uvicorn
from benchmarks.workload import NEW_ITEM, WORKLOADS
from benchmarks.wrk import Figures
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import AbsentError

CREATE = next(workload for workload in WORKLOADS if workload.name == "create")
SETTINGS = {
    "EVENTAPI_RATE_LIMIT": "off",
    "EVENTAPI_RATE_LIMIT_LOGIN": "off",
    "SECRET_KEY": "a key for benchmarks, long enough to sign",
}
DATABASES = {"postgresql": PostgreSQL, "mariadb": MariaDB}


@dataclass(frozen=True)
class OnDatabase(Rung):
    """A server on a database, of which it is told by one variable."""

    database: PostgreSQL | MariaDB | None = None
    variable: str = "EVENTAPI_LOG"
    scheme: str = ""
    """What the server calls the database in a URL, if not as it is usual."""

    @contextmanager
    def running(self, folder: Path, core: int) -> Iterator[str]:
        """Run the server over a new database."""
        if self.database is None:
            raise ValueError(f"{self.name} is to be run with a database")
        usual, separator, rest = self.database.new_database().partition("://")
        url = f"{self.scheme or usual}{separator}{rest}"
        told = Rung(self.name, self.about, self.command, {**self.environment, self.variable: url})
        with told.running(folder, core) as base_url:
            yield base_url


FILE = Rung("json-lines", "eventapi on JSON-lines", EVENTAPI, SETTINGS)
POSTGRESQL = OnDatabase("postgresql", "eventapi on PostgreSQL", EVENTAPI, SETTINGS)
PEER = OnDatabase(
    "peer-sql",
    "FastAPI and SQLAlchemy on PostgreSQL, on uvicorn as installed",
    uvicorn("benchmarks.peer_sql.main:app"),
    variable="PEER_DATABASE",
    scheme="postgresql+asyncpg",
)
RUNGS = (
    FILE,
    POSTGRESQL,
    OnDatabase("mariadb", "eventapi on MariaDB", EVENTAPI, SETTINGS),
    PEER,
)
BASES = {"x file": FILE.name, "x peer-sql": PEER.name}


def started(rungs: Sequence[Rung], stack: ExitStack) -> list[Rung]:
    """The rungs with their databases up; one whose database is not installed is left out."""
    up: dict[str, PostgreSQL | MariaDB] = {}
    ready: list[Rung] = []
    for rung in rungs:
        if not isinstance(rung, OnDatabase):
            ready.append(rung)
            continue
        name = "mariadb" if rung.name == "mariadb" else "postgresql"
        try:
            if name not in up:
                up[name] = stack.enter_context(DATABASES[name]())
        except AbsentError as error:
            progress(f"{rung.name} is left out: {error}")
        else:
            ready.append(replace(rung, database=up[name]))
    return ready


def measure(bench: Bench, rung: Rung, folder: Path) -> Figures:
    """One run over an empty log or database, with one user and one item."""
    with rung.running(folder, bench.server_core) as base_url:
        account, *_ = sample_data.accounts(1, seed=1)
        with Client(base_url) as client:
            client.register(account)
            client.create_item(client.login(account), sample_data.Content(**NEW_ITEM))
        return bench.loaded(base_url, folder, CREATE, account)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.databases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--only", default="", metavar="RUNG,...", help="default all")
    parser.add_argument("--least-file", type=float, default=0.5, help="of the file's rate")
    parser.add_argument("--least-peer", type=float, default=5.0, help="times the peer's rate")
    return parser.parse_args()


def main() -> None:
    """Measure, print each rung's rate and ratios, and judge those of PostgreSQL."""
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two cores are needed: one for the server, one for the load and the databases")
    server_core, load_core = cores
    os.sched_setaffinity(0, {load_core})  # The databases inherit it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    chosen = options.only.split(",") if options.only else [rung.name for rung in RUNGS]
    results: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), options.seconds, server_core, load_core)
        rungs = started([rung for rung in RUNGS if rung.name in chosen], stack)
        try:
            for number in range(1, options.rounds + 1):
                for rung in rungs:
                    figures = measure(bench, rung, bench.scratch / f"{rung.name}-{number}")
                    results.setdefault(rung.name, []).append(figures)
                    progress(f"round {number}: {rung.name} {figures.rate:.0f}/s")
        except ServerError as error:
            sys.exit(f"FAILED, no figures: {error}")
    print(table(CREATE, results, BASES))
    sys.exit(
        is_below(results, FILE, options.least_file) or is_below(results, PEER, options.least_peer)
    )


def is_below(results: dict[str, list[Figures]], base: Rung, least: float) -> bool:
    """Whether PostgreSQL is below so many times another rung's rate, if both were measured."""
    if POSTGRESQL.name not in results or base.name not in results:
        return False
    pairs = zip(results[POSTGRESQL.name], results[base.name], strict=True)
    return median(ours.rate / theirs.rate for ours, theirs in pairs) < least


if __name__ == "__main__":
    main()
