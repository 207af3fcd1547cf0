"""Connect to the first host of an address that can be used.

asyncpg also takes several hosts, but one time limit for all of them: a host that drops packets
would use it up, and the hosts after it would never be tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncmy
import asyncpg
from asyncmy.errors import MySQLError

from events.database.drivers import CONNECT_SECONDS
from events.database.failures import ERRORS, reason_of
from events.database.galera import prepare_session
from events.database.urls import Host
from events.errors import MissingEvents

Check = Callable[["asyncpg.Connection[Any]"], Awaitable[None]]
"""Raises an error of `ERRORS`, or `MissingEvents`, if a host must not be used."""


_MYSQL_PORT: Final = 3306
_READ_ONLY: Final = "it refuses writes: it is a standby, or default_transaction_read_only is on"
_UNUSABLE: Final[tuple[type[Exception], ...]] = (*ERRORS, MySQLError, MissingEvents)


class LostEvents(ConnectionError):
    """A host lacks acknowledged events; ``error`` has their positions."""

    def __init__(self, error: MissingEvents) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def translate_lost_events() -> Iterator[None]:
    """Raise the `MissingEvents` of a `LostEvents` in its place."""
    try:
        yield
    except LostEvents as lost:
        raise lost.error from None


class Hosts:
    """The hosts of an address, in the order in which they are tried."""

    def __init__(
        self, hosts: Sequence[Host], arguments: dict[str, Any], *, is_postgresql: bool
    ) -> None:
        self._hosts = list(hosts)
        self._arguments = arguments
        self._connect_once = self._connect_postgresql if is_postgresql else self._connect_mysql
        self.check: Check | None = None

    async def connect(self) -> Any:
        """Connect to the first host that can be used.

        The last one that was used is tried first, so an old primary that returns gets no
        connections while the new one works. Raises `LostEvents` if a host lacks events, otherwise
        the error of a single host, or an `OSError` that names each of several.
        """
        errors: dict[Host, Exception] = {}
        for host in tuple(self._hosts):
            try:
                connection = await self._connect_to(host)
            except _UNUSABLE as error:
                errors[host] = error
                continue
            self._hosts.remove(host)
            self._hosts.insert(0, host)
            return connection
        raise _error_of(errors)

    async def _connect_to(self, host: Host) -> Any:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await self._connect_once(*host)

    async def _connect_mysql(self, name: str, port: int | None) -> Any:
        place = {"host": name or "localhost", "port": port or _MYSQL_PORT}
        connection = await asyncmy.connect(**place, **self._arguments)
        try:
            await prepare_session(connection, must_be_node=len(self._hosts) > 1)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _connect_postgresql(self, name: str, port: int | None) -> asyncpg.Connection[Any]:
        try:
            connection = await asyncpg.connect(host=name or None, port=port, **self._arguments)
        except asyncpg.TargetServerAttributeNotMatched:
            raise ConnectionError(_READ_ONLY) from None
        try:
            if self.check is not None:
                await self.check(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


def _error_of(errors: dict[Host, Exception]) -> Exception:
    found = list(errors.values())
    for error in found:
        if isinstance(error, MissingEvents):
            return LostEvents(error)
    if len(found) == 1:
        return found[0]
    return ConnectionError(
        "; ".join(
            f"{name}{f':{port}' if port else ''}: {reason_of(error)}"
            for (name, port), error in errors.items()
        )
    )
