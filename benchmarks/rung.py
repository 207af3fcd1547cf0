"""The ladder: every server that is measured, from the floor up, one row each.

A further server is a further row.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import progress
from benchmarks.process import HOST, Server, free_port, serving
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.servers.service import AbsentError, Service

Database = PostgreSQL | MariaDB


@dataclass(frozen=True)
class Rung:
    """How to start a server; `{port}`, `{data}` and `{url}` are filled in in what it is told."""

    name: str
    about: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    """Workloads that mean nothing for it."""

    stateful: bool = True
    """Whether it keeps users and items, and so is filled first and needs a real token."""

    workers: int = 1
    """Processes that serve. Several share both cores with the load, one has a core of its own."""

    database: type[Service] | None = None
    """Whether, and of which make, a database is started beside it, on the load's core."""

    scheme: str = ""
    """What the server calls the database in a URL, if not as it is usual."""

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
    """One uvicorn worker with the fast loop and parser."""
    command = (sys.executable, "-m", "uvicorn", app, "--host", HOST, "--port", "{port}")
    return (*command, "--loop", "uvloop", "--http", "httptools", *options)


EVENTAPI = (
    *(sys.executable, "-m", "eventapi", "serve"),
    *("--host", HOST, "--port", "{port}", "--data", "{data}"),
)
# The limits count one caller, and the load is one caller.
UNLIMITED = {"EVENTAPI_RATE_LIMIT": "off", "EVENTAPI_RATE_LIMIT_LOGIN": "off"}
ON_A_DATABASE = {**UNLIMITED, "EVENTAPI_LOG": "{url}"}
PEER_SQL = uvicorn("benchmarks.peer_sql.main:app")
NO_PASSWORDS = frozenset({"login"})

RUNGS = (
    Rung(
        "asgi",
        "bare ASGI callable on uvicorn: one prepared item, or the body that came. The floor",
        uvicorn("benchmarks.rungs.bare_asgi:app", "--no-access-log", "--lifespan", "off"),
        without=NO_PASSWORDS | {"list"},
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
        "eventapi serve with everything that a production server has on, rate limits off. On disk "
        "(fdatasync) before the answer. argon2id, 19 MiB, 2 passes, 1 lane",
        EVENTAPI,
        UNLIMITED,
    ),
    Rung(
        "eventapi-2",
        "the same with two workers, on both cores and so on the load's too: compare its CPU a "
        "request, not its rate",
        (*EVENTAPI, "--workers", "2"),
        UNLIMITED,
        workers=2,
    ),
    Rung(
        "eventapi-postgresql",
        "eventapi with its log in PostgreSQL as it comes: committed and synced before the answer",
        EVENTAPI,
        ON_A_DATABASE,
        database=PostgreSQL,
    ),
    Rung(
        "eventapi-mariadb",
        "eventapi with its log in MariaDB as it comes: committed and synced before the answer",
        EVENTAPI,
        ON_A_DATABASE,
        database=MariaDB,
    ),
    Rung(
        "peer",
        "the service that eventapi replaces, on uvicorn as installed: FastAPI, memory, and one "
        "JSON file that is rewritten in each change and NOT synced. bcrypt, cost 12",
        uvicorn("benchmarks.peer.main:app"),
        {"PEER_DATA": "{data}"},
    ),
    Rung(
        "peer-sqlite",
        "FastAPI and SQLAlchemy's ORM on aiosqlite and SQLite, WAL and synchronous=FULL: the user of "
        "the token looked up in each request, a row and a commit, synced, in each change, over a "
        "pool of 5 connections. bcrypt, cost 12",
        PEER_SQL,
        {"PEER_DATABASE": "sqlite+aiosqlite:///{data}.sqlite"},
    ),
    Rung(
        "peer-postgresql",
        "the same on asyncpg and PostgreSQL as it comes (fsync and synchronous_commit on), over a "
        "pool of 20 connections",
        PEER_SQL,
        {"PEER_DATABASE": "{url}"},
        database=PostgreSQL,
        scheme="postgresql+asyncpg",
    ),
)
ASKED_FOR_ALONE = frozenset({"eventapi-mariadb"})
"""Measured only where they are named: their server is no package of Python's."""


def named(name: str) -> Rung:
    """The rung of that name."""
    return next(rung for rung in RUNGS if rung.name == name)


def started(makes: Iterable[type[Service]], stack: ExitStack) -> dict[type[Service], Service]:
    """Servers of others, up until the stack ends; those that do not start are left out."""
    up: dict[type[Service], Service] = {}
    for make in dict.fromkeys(makes):
        try:
            up[make] = stack.enter_context(make())
        except (AbsentError, RuntimeError, TimeoutError) as error:
            progress(f"left out: {error}")
    return up
