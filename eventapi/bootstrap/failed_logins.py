"""Count and record failed logins from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from eventapi.bootstrap.storage import Overrides
from eventapi.failed_logins.counter import FailedLoginCounter, Outcome
from eventapi.failed_logins.file import FileFailedLogins
from eventapi.failed_logins.memory import MemoryFailedLogins
from eventapi.failed_logins.port import FailedLoginStore
from eventapi.failed_logins.recorder import run_recorder
from eventapi.followers.file import FileFollowers
from eventapi.followers.port import FollowerStore
from eventapi.journal.journal import Journal
from eventapi.tasks.restart import restart_on_error

if TYPE_CHECKING:
    from eventapi.telemetry.metrics.meters import Meters


@asynccontextmanager
async def count_failed_logins(
    overrides: Overrides,
    journal: Journal,
    followers: FollowerStore,
    secret: str,
    meters: Callable[[], Meters | None],
) -> AsyncIterator[FailedLoginCounter]:
    """The counter of this process; inside the context, its background tasks run.

    The counts are stored beside the progress of ``followers``.
    """

    def count(outcome: Outcome, failures: int) -> None:
        if (now := meters()) is not None:
            now.count_failed_logins(outcome, failures)

    store = store_of(followers)
    counter = FailedLoginCounter(journal, store, secret, overrides.runtime.random_bytes, count)
    recorder = restart_on_error(lambda: run_recorder(journal, store), "recording of failed logins")
    async with recorder, counter.run():
        yield counter


def store_of(followers: FollowerStore) -> FailedLoginStore:
    """The counts beside the progress of followers, in the same file or database."""
    if isinstance(followers, FileFollowers):
        return FileFailedLogins(followers)
    database = getattr(followers, "database", None)
    if database is None:
        return MemoryFailedLogins()
    from eventapi.failed_logins.sql import SqlFailedLogins  # noqa: PLC0415 - slow to import

    return SqlFailedLogins(database)
