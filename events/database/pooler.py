"""Detect connection poolers between eventapi and PostgreSQL, such as PgBouncer.

In transaction mode a pooler runs each transaction on any free connection. LISTEN, session settings
and prepared statements belong to one connection, so they are lost or affect another client: the
server would start, and fail at its first writes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from events.errors import ConfigurationError

_PROCESS: Final = text("SELECT pg_backend_pid()")

_CURE: Final = (
    "connect to PostgreSQL itself, or use the pooler's session mode (PgBouncer: pool_mode = session,"
    " and ignore_startup_parameters = idle_in_transaction_session_timeout, lock_timeout,"
    " tcp_keepalives_idle)"
)

_PREPARED: Final = ("26000", "42P05")
"""PostgreSQL's invalid_sql_statement_name and duplicate_prepared_statement."""

_REFUSALS: Final = ("unsupported startup parameter", "statement pooling mode")


async def check_connection_is_own(reading: AsyncEngine, writing: AsyncEngine) -> None:
    """Raise `ConfigurationError` if transactions of one client change connections.

    While one client is idle and another one is in a transaction, a pooler gives the second one the
    connection of the first, and later another connection to the first. PostgreSQL itself never
    does.
    """
    async with reading.connect() as idle:
        first = await idle.scalar(_PROCESS)
        async with writing.connect() as busy:
            other = await busy.scalar(_PROCESS)
            again = await idle.scalar(_PROCESS)
    if other == first or again != first:
        raise ConfigurationError(
            f"a connection pooler in transaction mode is between eventapi and the database; {_CURE}"
        )


def refusal_of_pooler(error: BaseException) -> str | None:
    """Return advice about an error that only a pooler causes, or None."""
    original = error.orig if isinstance(error, DBAPIError) else error
    first, *_ = str(original).splitlines() or [""]
    if getattr(original, "sqlstate", None) in _PREPARED or any(one in first for one in _REFUSALS):
        return f"a connection pooler is between eventapi and the database; {_CURE}"
    return None
