"""Open the log, vault, snapshots and journal that the settings name.

`open_*` are context managers, and `*_of` are constructors. Reading commands need only this module,
so that they start without the web framework.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from eventapi.bootstrap.archives import open_archive, signing_of
from eventapi.bootstrap.paths import (
    checkpoint_path,
    clock_path,
    outbox_paths,
    snapshots_path,
    vault_path,
)
from eventapi.bootstrap.policy import policy_of
from eventapi.bootstrap.start_check import (
    check_database_start,
    check_directories,
    check_log_is_there,
    check_start,
    check_writable,
    may_begin_vault,
    no_log_message,
)
from eventapi.configuration.settings import Settings
from eventapi.journal.batch import Runtime
from eventapi.journal.clock import LogClock, SystemUptime, system_now
from eventapi.journal.erasure import Forget, forget_nothing
from eventapi.journal.instrumentation import NO_INSTRUMENTATION, Instrumentation
from eventapi.journal.journal import Journal
from eventapi.mail.outbox import remove_mails
from eventapi.mail.transport import Transport
from eventapi.resources.registry import Registry, load_registry
from eventapi.security.passwords import Passwords
from events.archive.reader import ArchivedLog
from events.errors import ConfigurationError
from events.log.file.log import JsonlLog
from events.log.file.paths import commit_index_path
from events.log.file.reader import JsonlReader
from events.log.port import EventLog, Head
from events.transparency.checkpoints import Checkpoints
from events.transparency.signing.file import FileSigning
from events.transparency.signing.memory import MemorySigning
from events.transparency.signing.port import SigningStore
from events.transparency.tree import Tree
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from projections.replay import Progress
from projections.snapshots import Snapshots

if TYPE_CHECKING:
    from events.database.connection import Database
    from events.log.sql.log import SqlLog

SYSTEM = Runtime(
    now=system_now,
    new_uuid=lambda: str(uuid.uuid4()),
    random_bytes=secrets.token_bytes,
    uptime=SystemUptime(),
)
"""The system's clock and source of randomness."""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """Parts that replace those of the settings, for example in tests.

    Snapshots belong to a log, so those of the settings are not used with another log. With another
    log, mail is sent only if there is a transport for it here.
    """

    log: EventLog | None = None
    vault: Vault | None = None
    snapshots: Snapshots | None = None
    passwords: Passwords | None = None
    runtime: Runtime = SYSTEM
    registry: Registry | None = None
    mail: Transport | None = None


NO_OVERRIDES = Overrides()

MAX_REPLICA_LAG_SECONDS = 2.0
"""How old the view that one instance has of another one's events in a database may be."""


class Closable(Protocol):
    """A log or a vault, which must be closed."""

    async def close(self) -> None:
        """Release its files and connections."""


C = TypeVar("C", bound=Closable)


@asynccontextmanager
async def async_closing(part: C) -> AsyncIterator[C]:
    """As `contextlib.closing`, for a coroutine function ``close``."""
    try:
        yield part
    finally:
        await part.close()


@asynccontextmanager
async def open_log(settings: Settings, *, begin: bool = False) -> AsyncIterator[EventLog]:
    """Open the log for writing; a missing one is created only with ``begin``.

    Raises `ConfigurationError`, `LogUnavailable` and `DamagedLog`.
    """
    if settings.is_database:
        async with open_database(settings, begin=begin) as (log, _):
            yield log
        return
    check_writable(settings)
    check_directories(settings)
    async with async_closing(JsonlLog(settings.log_path, begin=begin)) as file:
        yield file


@asynccontextmanager
async def open_log_for_reading(settings: Settings) -> AsyncIterator[EventLog]:
    """Open the log read-only: nothing is created or changed.

    Raises the errors of `open_log`, and `ConfigurationError` if there is no log.
    """
    check_log_is_there(settings)
    if settings.is_archive:
        async with open_archive(settings) as archive:
            yield archive
        return
    if not settings.is_database:
        async with async_closing(JsonlReader(settings.log_path)) as file:
            yield file
        return
    from events.log.sql.log import SqlLog  # noqa: PLC0415 - slow to import

    mark = commit_index_path(settings.log_path)
    async with (
        _open_connection(settings) as database,
        async_closing(await SqlLog.open(database, mark, writable=False)) as log,
    ):
        yield log


async def has_log(settings: Settings) -> bool:
    """Whether the log of the settings exists; raises the errors of `open_log`."""
    if not settings.is_database:
        return settings.is_archive or settings.log_path.exists()
    from events.database.connection import Database  # noqa: PLC0415 - slow to import

    database = await Database.open(settings.log or "", begin=False, writable=False)
    async with async_closing(database):
        return await database.has_log()


@asynccontextmanager
async def open_vault(settings: Settings, *, begin: bool = True) -> AsyncIterator[Vault]:
    """Open the vault of the log; a missing one is created with ``begin``.

    Raises the errors of `open_log`.
    """
    if settings.is_database:
        async with open_database(settings, begin=begin) as (_, vault):
            yield vault
        return
    async with async_closing(SqliteVault(vault_path(settings), begin=begin)) as file:
        yield file


@asynccontextmanager
async def open_vault_for_reading(settings: Settings) -> AsyncIterator[Vault]:
    """Open the vault of the log read-only: nothing is created or changed.

    That of an archive may be missing. Raises the errors of `open_log`.
    """
    if settings.is_database:
        from events.vault.sql import SqlVault  # noqa: PLC0415 - slow to import

        async with _open_connection(settings) as database:
            yield SqlVault(database)
    elif settings.is_archive and not vault_path(settings).exists():
        yield MemoryVault()
    else:
        async with async_closing(SqliteVault(vault_path(settings), writable=False)) as file:
            yield file


@asynccontextmanager
async def open_log_and_vault(settings: Settings) -> AsyncIterator[tuple[EventLog, Vault]]:
    """Open an existing log and its vault, which is created if it is missing.

    Raises the errors of `open_log`.
    """
    if settings.is_database:
        async with open_database(settings) as log_and_vault:
            yield log_and_vault
        return
    async with open_log(settings) as log, open_vault(settings) as vault:
        yield log, vault


@asynccontextmanager
async def open_database(
    settings: Settings, patience: float = 0, *, begin: bool = False
) -> AsyncIterator[tuple[SqlLog, Vault]]:
    """Open the log and vault of one database; wait up to ``patience`` seconds for it.

    Changes of the vault under the lock of the log are committed with it. Raises the errors of
    `open_log`.
    """
    from events.log.sql.log import SqlLog  # noqa: PLC0415 - slow to import
    from events.vault.sql import SqlVault  # noqa: PLC0415 - as above

    async with (
        _open_connection(settings, patience, begin=begin, writable=True) as database,
        async_closing(await SqlLog.open(database, commit_index_path(settings.log_path))) as log,
    ):
        yield log, SqlVault(database)


@asynccontextmanager
async def _open_connection(
    settings: Settings, patience: float = 0, *, begin: bool = False, writable: bool = False
) -> AsyncIterator[Database]:
    """Open the database of a log; a missing log is created only with ``begin``.

    With ``writable``, a standby is refused, and tables that an earlier version did not have are
    created.
    """
    from events.database.connection import Database  # noqa: PLC0415 - slow to import

    database = await Database.open(
        settings.log or "", patience, begin=False, writable=begin or writable
    )
    async with async_closing(database):
        if not await database.has_log():
            if not begin:
                raise ConfigurationError(no_log_message(settings))
            check_database_start(settings)
            writable = True
        if writable:
            await database.make_tables()
        yield database


@asynccontextmanager
async def open_stored_lines(
    settings: Settings,
) -> AsyncIterator[tuple[Head, AsyncIterator[list[bytes]]]]:
    """Read the head row and the stored lines of a database, in spite of gaps."""
    from events.log.sql.rows import read_unchecked  # noqa: PLC0415 - slow to import

    async with _open_connection(settings) as database:
        yield await read_unchecked(database)


def checkpoints_of(
    settings: Settings,
    log: EventLog,
    overrides: Overrides = NO_OVERRIDES,
    *,
    tree: Tree | None = None,
) -> Checkpoints:
    """The checkpoints of a log; those of a log from ``overrides`` are kept in memory.

    An archive has one, and no other is signed. Raises `ConfigurationError` for a bad policy.
    """
    policy, tree = policy_of(settings), tree or Tree(log)
    if isinstance(log, ArchivedLog):
        return Checkpoints(tree, signing_of(settings, log), policy=policy)
    if overrides.log is not None:
        return Checkpoints(tree, MemorySigning(), policy=policy)
    if settings.is_database:
        store = _signing_store_in_database(settings, log)
        return Checkpoints(tree, store, MAX_REPLICA_LAG_SECONDS, policy)
    return Checkpoints(tree, FileSigning(settings.log_path), policy=policy)


def _signing_store_in_database(settings: Settings, log: EventLog) -> SigningStore:
    from events.log.sql.log import SqlLog  # noqa: PLC0415 - slow to import
    from events.transparency.signing.sql import SqlSigning  # noqa: PLC0415 - as above

    assert isinstance(log, SqlLog)  # noqa: S101 - for the type checker
    return SqlSigning(log.database, checkpoint_path(settings.log_path))


def registry_of(settings: Settings, overrides: Overrides = NO_OVERRIDES) -> Registry:
    """The resources of the application; raises `ConfigurationError`."""
    return overrides.registry or load_registry(settings.resources)


def snapshots_of(
    settings: Settings, overrides: Overrides = NO_OVERRIDES, *, read_only: bool = False
) -> Snapshots:
    """The snapshots beside the log."""
    vocabulary = registry_of(settings, overrides).vocabulary
    return Snapshots(snapshots_path(settings), vocabulary, read_only=read_only)


OpenProgress = Callable[[int], AbstractContextManager[Progress]]
"""Opens a progress display for a number of events; it is called with the position reached."""


@contextmanager
def no_progress(_: int) -> Iterator[Progress]:
    """A progress display that shows nothing."""
    yield lambda _: None


@asynccontextmanager
async def open_journal(
    settings: Settings,
    overrides: Overrides = NO_OVERRIDES,
    *,
    bar: OpenProgress = no_progress,
    on_fence: Callable[[], None] = lambda: None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
    patience: float = 0,
    begin: bool = False,
    check_later: bool = False,
) -> AsyncIterator[tuple[Journal, EventLog]]:
    """Open and start a journal; yields it with its log, and closes both.

    A missing log is created only with ``begin``. ``bar`` displays the progress of the replay,
    ``on_fence`` is called when writes stop until a restart, ``instrumentation`` measures writes, and
    ``patience`` is how many seconds to wait for a database. With ``check_later`` the caller must
    check the chain below the snapshot: see `Journal.start`. Raises `ConfigurationError`, `LogError`
    and `VaultUnavailable`.
    """
    if overrides.log is None and overrides.vault is None:
        check_start(settings, begin=begin)
    async with AsyncExitStack() as stack:
        log, vault = await _enter_log_and_vault(stack, settings, overrides, patience, begin)
        snapshots = overrides.snapshots
        if overrides.log is None:
            snapshots = snapshots or snapshots_of(settings, overrides)
        runtime = overrides.runtime
        clock = LogClock(
            runtime.now,
            runtime.uptime,
            clock_path(settings) if overrides.log is None else None,
        )
        journal = Journal(
            log,
            vault,
            registry_of(settings, overrides).vocabulary,
            runtime,
            on_fence=on_fence,
            snapshots=snapshots,
            instrumentation=instrumentation,
            clock=clock,
            forget=_forget_of(settings, overrides),
        )
        stack.push_async_callback(journal.close)
        with bar(log.position) as progress:
            await journal.start(progress, check_later=check_later)
        yield journal, log


def _forget_of(settings: Settings, overrides: Overrides) -> Forget:
    """The function that removes mails of erased users; none for a log in memory."""
    if overrides.log is not None:
        return forget_nothing
    return partial(remove_mails, outbox_paths(settings))


async def _enter_log_and_vault(
    stack: AsyncExitStack, settings: Settings, overrides: Overrides, patience: float, begin: bool
) -> tuple[EventLog, Vault]:
    """Open log and vault: those of ``overrides``, else those of the settings."""
    if overrides.log is None and overrides.vault is None and settings.is_database:
        return await stack.enter_async_context(open_database(settings, patience, begin=begin))
    log = await stack.enter_async_context(
        open_log(settings, begin=begin) if overrides.log is None else async_closing(overrides.log)
    )
    begin_vault = overrides.log is not None or may_begin_vault(settings)
    vault = await stack.enter_async_context(
        open_vault(settings, begin=begin_vault)
        if overrides.vault is None
        else async_closing(overrides.vault)
    )
    return log, vault
