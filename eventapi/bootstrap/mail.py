"""Send mail from the settings: templates, transport, and the follower that sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from eventapi.bootstrap.paths import followers_path, outbox_paths
from eventapi.bootstrap.start_check import check_outbox
from eventapi.bootstrap.storage import Overrides
from eventapi.configuration.settings import Settings
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import FollowerStore
from eventapi.followers.runner import Runner
from eventapi.journal.journal import Journal
from eventapi.mail.compose import Composer
from eventapi.mail.follower import MailFollower, Outcome
from eventapi.mail.outbox import Outbox
from eventapi.mail.removals import run_removals
from eventapi.mail.texts import Templates
from eventapi.mail.transport import Transport
from eventapi.queries.subscriptions import LogWatcher
from eventapi.security.signed_texts import SignedTexts
from eventapi.tasks.restart import restart_on_error
from events.errors import ConfigurationError
from events.io import startup
from events.log.port import EventLog

if TYPE_CHECKING:
    from eventapi.telemetry.metrics.meters import Meters


def composer_of(settings: Settings) -> Composer:
    """The composer of mails; raises `ConfigurationError` for a bad template or sender."""
    directory = settings.mail_templates
    templates = _default_templates() if directory is None else Templates(Path(directory))
    try:
        return Composer(templates, settings.mail_from, settings.base_url)
    except ValueError as error:
        raise ConfigurationError(f"EVENTAPI_MAIL_FROM: {error}") from error


@cache
def _default_templates() -> Templates:
    """The templates without an operator's, compiled once in a process."""
    return Templates()


def check_mail(settings: Settings, overrides: Overrides) -> None:
    """Check templates, sender and outbox; raises `ConfigurationError`."""
    composer_of(settings)
    if overrides.log is None and overrides.mail is None:
        check_outbox(settings)


def transport_of(settings: Settings, overrides: Overrides) -> Transport | None:
    """The transport; ``None`` with a log in memory and no transport for it."""
    if overrides.mail is not None or overrides.log is not None:
        return overrides.mail
    if settings.outbox_path is not None:
        return Outbox(settings.outbox_path)
    from eventapi.mail.smtp import MailServer, SmtpTransport  # noqa: PLC0415 - not always needed

    return SmtpTransport(MailServer.parse(settings.mail_url or ""))


def follower_store_of(settings: Settings, overrides: Overrides, log: EventLog) -> FollowerStore:
    """Where the progress of followers is stored."""
    if overrides.log is not None:
        return MemoryFollowers()
    if not settings.is_database:
        return FileFollowers(followers_path(settings))
    from eventapi.followers.sql import SqlFollowers  # noqa: PLC0415 - slow to import
    from events.log.sql.log import SqlLog  # noqa: PLC0415 - as above

    assert isinstance(log, SqlLog)  # noqa: S101 - for the type checker
    return SqlFollowers(log.database)


@asynccontextmanager
async def open_followers(
    settings: Settings, overrides: Overrides, log: EventLog
) -> AsyncIterator[FollowerStore]:
    """Open the progress of followers."""
    store = follower_store_of(settings, overrides, log)
    try:
        yield store
    finally:
        await store.close()


class MailTasks:
    """The background tasks of mail; ``runner`` is ``None`` without a transport."""

    def __init__(  # noqa: PLR0917 - one of each
        self,
        settings: Settings,
        overrides: Overrides,
        journal: Journal,
        store: FollowerStore,
        watcher: LogWatcher,
        secrets: Sequence[str],
        meters: Callable[[], Meters | None],
    ) -> None:
        """``meters`` returns those of this worker, once they can be kept."""
        self._watcher = watcher
        self._position = journal.position
        self._outboxes = [] if overrides.log is not None else outbox_paths(settings)
        self._transport = transport_of(settings, overrides)
        self.runner: Runner | None = None
        if self._transport is not None:

            def count(outcome: Outcome) -> None:
                if (now := meters()) is not None:
                    now.count_mail(outcome)

            follower = MailFollower(
                composer_of(settings),
                self._transport,
                SignedTexts(secrets),
                journal.history,
                state=journal.state,
                now=journal.clock.seconds,
                count=count,
            )

            async def count_failure(_: str) -> float:
                count("failed")
                return inf

            self.runner = Runner(follower, store, journal, watcher, on_failure=count_failure)

    @property
    def lag(self) -> int:
        """The number of events that this process has yet to send mails for."""
        return 0 if self.runner is None else self.runner.lag

    @property
    def delayed(self) -> int:
        """The number of mails that this process will try again."""
        return 0 if self.runner is None else self.runner.parked

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the tasks inside the context."""
        async with AsyncExitStack() as stack:
            if self._outboxes:
                await stack.enter_async_context(
                    restart_on_error(
                        lambda: run_removals(self._outboxes, self._watcher, self._position),
                        "removals of mails",
                    )
                )
            if self.runner is not None and self._transport is not None:
                startup.logger.info("mail goes to %s", self._transport.place)
                await stack.enter_async_context(restart_on_error(self.runner.run, "mail"))
            yield
