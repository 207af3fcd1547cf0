"""Check before the first use that a commit of the database survives a crash."""

from __future__ import annotations

import logging

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.errors import ConfigurationError
from events.messages.errors import UNSAFE_DATABASE
from events.messages.server_log import SYNC_BINLOG

logger = logging.getLogger("events.database")


async def check_commits_are_durable(connection: AsyncConnection) -> None:
    """Raise `ConfigurationError` if a commit may return before it is on the disk."""
    if connection.dialect.name == "postgresql":
        await _check_postgresql(connection)
    else:
        await _check_mysql(connection)


async def _check_postgresql(connection: AsyncConnection) -> None:
    """Check three settings (PostgreSQL's manual, Reliability and the Write-Ahead Log)."""
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        if (await connection.scalar(text(f"SHOW {name}"))) == "off":
            raise ConfigurationError(UNSAFE_DATABASE.fill(name=name, value="off", good="on"))


async def _check_mysql(connection: AsyncConnection) -> None:
    """Check InnoDB's innodb_flush_log_at_trx_commit; warn about an unsafe sync_binlog."""
    flushed = await connection.scalar(text("SELECT @@innodb_flush_log_at_trx_commit"))
    if flushed != 1:
        raise ConfigurationError(
            UNSAFE_DATABASE.fill(name="innodb_flush_log_at_trx_commit", value=flushed, good=1)
        )
    if await connection.scalar(text("SELECT @@log_bin AND @@sync_binlog != 1")):
        logger.warning(SYNC_BINLOG)
