"""Driver arguments of a URL: asyncpg for PostgreSQL, asyncmy for MySQL, MariaDB."""

from __future__ import annotations

import ssl
from typing import Any, Final

import sqlalchemy
from asyncmy.constants import CLIENT

from events.database.urls import READ_WRITE, database_fault, split_hosts
from events.errors import ConfigurationError

CONNECT_SECONDS: Final = 5

STATEMENT_SECONDS: Final = 10
"""How long one statement may take, unless it waits for a lock. Later the connection is lost."""

COMMIT_SECONDS: Final = 8
"""How long a COMMIT may take; less than `STATEMENT_SECONDS`, after which it would be cancelled."""

LOCK_SECONDS: Final = 1
"""How long the database lets one statement wait for a lock; a longer wait repeats the statement.

A time-out on this side would abandon a connection whose statement may still be running.
"""

IDLE_SECONDS: Final = 15
"""Seconds until the database frees the lock of a stopped process.

PostgreSQL and MariaDB time out idle transactions. MySQL only times out idle connections, so a
pooled connection is checked before it is used again.
"""

_DRIVERS: Final = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}


def parse_url(url: str, *, writable: bool = True) -> tuple[sqlalchemy.URL, dict[str, Any]]:
    """Return SQLAlchemy's URL and the driver's arguments; raises `ConfigurationError`.

    The URL has the first of several hosts alone, and the arguments have none. With
    ``writable``, or if the address demands it, the arguments accept no PostgreSQL that refuses
    writes.
    """
    if fault := database_fault(url):
        raise ConfigurationError(f"EVENTAPI_LOG: {fault}")
    first, hosts = split_hosts(url)
    parsed = sqlalchemy.make_url(first)
    query = parsed.query
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername], query={})
    if parsed.get_backend_name() != "postgresql":
        login = {"user": parsed.username, "password": parsed.password or "", "db": parsed.database}
        return parsed, login | _asyncmy_arguments(has_tls=query.get("ssl") == "true")
    is_writable = writable or len(hosts) > 1 or "target_session_attrs" in query
    login = {"user": parsed.username, "password": parsed.password, "database": parsed.database}
    return parsed, login | _asyncpg_arguments(query.get("sslmode"), is_writable=is_writable)


def _asyncpg_arguments(sslmode: object, *, is_writable: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "target_session_attrs": READ_WRITE if is_writable else "any",
        "timeout": CONNECT_SECONDS,
        "command_timeout": STATEMENT_SECONDS,
        "server_settings": {
            "application_name": "eventapi",
            "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
            "lock_timeout": f"{LOCK_SECONDS}s",
            "tcp_keepalives_idle": f"{IDLE_SECONDS}",
        },
    }
    # The option has libpq's name, which users know; asyncpg calls the same option ``ssl``.
    return arguments | ({"ssl": sslmode} if sslmode else {})


def _asyncmy_arguments(*, has_tls: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        # An UPDATE returns the number of rows that it found, as in PostgreSQL.
        "client_flag": CLIENT.FOUND_ROWS,
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": STATEMENT_SECONDS,
        # net_read_timeout covers a client that was stopped in the middle of a statement.
        "init_command": f"SET SESSION wait_timeout = {IDLE_SECONDS}"
        f", net_read_timeout = {IDLE_SECONDS}"
        f", innodb_lock_wait_timeout = {LOCK_SECONDS}",
    }
    return arguments | ({"ssl": ssl.create_default_context()} if has_tls else {})
