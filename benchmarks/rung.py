"""The ladder: every measured server, from the floor up, one row each. Add a server as a row."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import progress
from benchmarks.process import HOST, Server, free_port, serving
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import NotInstalledError, Service

Database = PostgreSQL | MariaDB


@dataclass(frozen=True)
class Rung:
    """How to start a server; command and environment may contain `{port}`, `{data}` and `{url}`."""

    name: str
    about: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    """Workloads that the server does not implement."""

    stateful: bool = True
    """Whether it stores users and items, so that it must be filled first and needs a real token."""

    workers: int = 1
    """Processes that serve. Several share both cores with the load; a single one has its own core."""

    database: type[Service] | None = None
    """The kind of database to start on the load's core, if any."""

    scheme: str = ""
    """The scheme of the database's URL, if the server needs another than the usual one."""

    @contextmanager
    def running(
        self, folder: Path, cores: Sequence[int], database: Service | None = None
    ) -> Iterator[Server]:
        """Run the server over the data in ``folder``, or over a new database."""
        told = {"port": str(free_port()), "data": str(folder / "data"), "url": ""}
        if isinstance(database, Database):
            usual, separator, rest = database.new_database().partition("://")
            told["url"] = f"{self.scheme or usual}{separator}{rest}"
        command = [part.format(**told) for part in self.command]
        environment = {name: value.format(**told) for name, value in self.environment.items()}
        used = cores[:1] if self.workers == 1 else cores
        with serving(command, environment, int(told["port"]), used, folder) as server:
            yield server


def uvicorn(app: str, *options: str) -> tuple[str, ...]:
    """Return the command of one uvicorn worker with uvloop and httptools."""
    command = (sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", "{port}")
    return (*command, "--loop", "uvloop", "--http", "httptools", *options)


EVENTAPI = (
    *(sys.executable, "-m", "eventapi", "serve"),
    *("--host", HOST, "--port", "{port}", "--data", "{data}"),
)
# Rate limits are per caller, and the load is one caller.
UNLIMITED = {"EVENTAPI_RATE_LIMIT": "off", "EVENTAPI_RATE_LIMIT_LOGIN": "off"}
ON_A_DATABASE = {**UNLIMITED, "EVENTAPI_LOG": "{url}"}
PEER_SQL = uvicorn("benchmarks.peer_sql.main:app")
NO_PASSWORDS = frozenset({"login"})

RUNGS = (
    Rung(
        "asgi",
        "bare ASGI callable on uvicorn: returns one prepared item, or the request's body. The floor",
        uvicorn("benchmarks.rungs.bare_asgi:app", "--no-access-log", "--lifespan", "off"),
        without=NO_PASSWORDS | {"list", "list-changed"},
        stateful=False,
    ),
    Rung(
        "litestar",
        "bare Litestar on uvicorn: async handlers with the same Structs in and out; no user, no "
        "storage, no log line",
        uvicorn("benchmarks.rungs.bare_litestar:app", "--no-access-log"),
        without=NO_PASSWORDS,
        stateful=False,
    ),
    Rung(
        "eventapi",
        "eventapi serve with all features of a production server except rate limits. On disk "
        "(fdatasync) before the answer. argon2id, 19 MiB, 2 passes, 1 lane",
        EVENTAPI,
        UNLIMITED,
    ),
    Rung(
        "eventapi-2",
        "the same with two workers, which share the load's core: compare its CPU a request, not its "
        "rate",
        (*EVENTAPI, "--workers", "2"),
        UNLIMITED,
        workers=2,
    ),
    Rung(
        "eventapi-postgresql",
        "eventapi with its log in PostgreSQL with default settings: committed and synced before the "
        "answer",
        EVENTAPI,
        ON_A_DATABASE,
        database=PostgreSQL,
    ),
    Rung(
        "eventapi-mariadb",
        "eventapi with its log in MariaDB with default settings: committed and synced before the "
        "answer",
        EVENTAPI,
        ON_A_DATABASE,
        database=MariaDB,
    ),
    Rung(
        "peer",
        "the service that eventapi replaces, on uvicorn as installed: FastAPI, memory, and one "
        "JSON file that every change rewrites and does NOT sync. bcrypt, cost 12",
        uvicorn("benchmarks.peer.main:app"),
        {"PEER_DATA": "{data}"},
    ),
    Rung(
        "peer-sqlite",
        "FastAPI and SQLAlchemy's ORM on aiosqlite and SQLite, WAL and synchronous=FULL: each request "
        "queries the token's user, each change is a row and a synced commit, over a pool of 5 "
        "connections. bcrypt, cost 12",
        PEER_SQL,
        {"PEER_DATABASE": "sqlite+aiosqlite:///{data}.sqlite"},
    ),
    Rung(
        "peer-postgresql",
        "the same on asyncpg and PostgreSQL with default settings (fsync and synchronous_commit on), "
        "over a pool of 20 connections",
        PEER_SQL,
        {"PEER_DATABASE": "{url}"},
        database=PostgreSQL,
        scheme="postgresql+asyncpg",
    ),
)
ONLY_IF_NAMED = frozenset({"eventapi-mariadb"})
"""Measured only if they are named, because no Python package has their server."""


def find_rung(name: str) -> Rung:
    """Return the rung of that name."""
    return next(rung for rung in RUNGS if rung.name == name)


def start_services(
    makes: Iterable[type[Service]], stack: ExitStack
) -> dict[type[Service], Service]:
    """Start services until the stack ends; omit those that do not start."""
    up: dict[type[Service], Service] = {}
    for make in dict.fromkeys(makes):
        try:
            up[make] = stack.enter_context(make())
        except (NotInstalledError, RuntimeError, TimeoutError) as error:
            progress(f"left out: {error}")
    return up
