"""Sessions on a node of MariaDB Galera; other servers are left as they are.

All nodes accept writes. A COMMIT is certified by all of them in one order, and then applied by each
node in its own time. So a row lock excludes only the transactions of one node, a transaction may be
refused at COMMIT, and a read shows what its node has applied so far.
"""

from __future__ import annotations

from typing import Any, Final

from events.messages.errors import UNSAFE_DATABASE

_IS_NODE: Final = "SHOW VARIABLES LIKE 'wsrep_on'"
_IS_READY: Final = "SHOW STATUS LIKE 'wsrep_ready'"
_IS_DURABLE: Final = "SHOW VARIABLES LIKE 'innodb_flush_log_at_trx_commit'"
_WAIT_FOR_NEWEST: Final = "SET SESSION wsrep_sync_wait = 7, wsrep_dirty_reads = OFF"
"""The first read or write of a transaction waits until its node has applied all that is committed
anywhere, and a node that was cut off refuses to read."""

_READ: Final = "SELECT 1"
"""Waits as every read does: a node that applies nothing, such as a donor, is found out here."""

_NOT_READY: Final = (
    "this node of Galera is not ready: it is not in the primary component, or has not all data yet"
)
_NOT_A_NODE: Final = "it is not a node of Galera, as each of several hosts must be"


async def prepare_session(connection: Any, *, must_be_node: bool) -> None:
    """Let a new connection of asyncmy read nothing stale; raises `ConnectionError`."""
    async with connection.cursor() as cursor:
        if await _value(cursor, _IS_NODE) != "ON":
            if must_be_node:
                raise ConnectionError(_NOT_A_NODE)
            return
        if await _value(cursor, _IS_READY) != "ON":
            raise ConnectionError(_NOT_READY)
        if (found := await _value(cursor, _IS_DURABLE)) != "1":
            name = "innodb_flush_log_at_trx_commit"
            raise ConnectionError(UNSAFE_DATABASE.fill(name=name, value=found, good=1).text)
        await cursor.execute(_WAIT_FOR_NEWEST)
        await cursor.execute(_READ)


async def _value(cursor: Any, query: str) -> str:
    """Return the value of a variable; empty if the server does not have it."""
    await cursor.execute(query)
    row = await cursor.fetchone()
    return "" if row is None else str(row[1])
