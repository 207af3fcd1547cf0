"""Which database this is, to notice that a log was restored or copied elsewhere."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_POSTGRESQL_IDENTITY: Final = text(
    "SELECT (SELECT system_identifier FROM pg_control_system()), "
    "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8), current_database()"
)
_MYSQL_UUID: Final = text("SHOW VARIABLES LIKE 'server_uuid'")
_MYSQL_CLUSTER: Final = text("SHOW STATUS LIKE 'wsrep_cluster_state_uuid'")
_MYSQL_IDENTITY: Final = text(
    "SELECT @@server_id, create_time FROM information_schema.tables "
    "WHERE table_schema = database() AND table_name = 'eventapi_signing'"
)


async def database_identity(connection: AsyncConnection) -> str:
    """Return an identity that a dump, a replica or a promoted standby does not share.

    PostgreSQL: the identifier of the cluster and its timeline, which a promotion and a
    point-in-time recovery change. MySQL and MariaDB: the server and the creation time of the table,
    or the cluster if Galera replicates. A copy of the whole data directory has the same identity.
    """
    if connection.dialect.name == "postgresql":
        return "/".join(map(str, (await connection.execute(_POSTGRESQL_IDENTITY)).one()))
    cluster = (await connection.execute(_MYSQL_CLUSTER)).first()
    if cluster is not None and cluster[1]:
        return f"galera/{cluster[1]}"
    server = (await connection.execute(_MYSQL_UUID)).first()
    number, created = (await connection.execute(_MYSQL_IDENTITY)).one()
    return f"{'' if server is None else server[1]}/{number}/{created}"


async def transaction_id(connection: AsyncConnection) -> str:
    """Return the id of the current transaction, which PostgreSQL stores in its rows.

    Empty for other databases.
    """
    if connection.dialect.name != "postgresql":
        return ""
    return str(await connection.scalar(text("SELECT pg_current_xact_id()")))
