"""Open the services of the handlers, and run the background tasks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from eventapi import __version__
from eventapi.accounts.keys import KeyUses
from eventapi.accounts.service import Accounts
from eventapi.bootstrap.chain_check import after, chain_check_of
from eventapi.bootstrap.failed_logins import count_failed_logins
from eventapi.bootstrap.health import free_bytes, health_details
from eventapi.bootstrap.http_client import HttpClient
from eventapi.bootstrap.mail import MailTasks, check_mail, open_followers
from eventapi.bootstrap.policy import policy_of
from eventapi.bootstrap.process import (
    close_streams_at_signal,
    exit_after_flush,
    exit_with_parent,
    start_gc,
)
from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import (
    Overrides,
    checkpoints_of,
    open_journal,
    registry_of,
    snapshots_of,
)
from eventapi.bootstrap.telemetry import Metering, setup_telemetry
from eventapi.bootstrap.webhooks import webhook_tasks
from eventapi.bootstrap.witnesses import witness_tasks
from eventapi.commands.quota import Quota
from eventapi.commands.sessions import Lifetime
from eventapi.configuration.settings import Settings
from eventapi.followers.port import FollowerStore
from eventapi.http.caches import Caches
from eventapi.http.middleware.observers import Observer
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.http.services import Services
from eventapi.journal.instrumentation import Instrumentation
from eventapi.journal.journal import Journal
from eventapi.queries.live_events import LiveEvents
from eventapi.queries.subscriptions import LogWatcher
from eventapi.queries.summary import Summaries
from eventapi.ratelimit.shared_counters import SharedCounters
from eventapi.ratelimit.storage import RateLimitStorage, RedisRateLimitStorage
from eventapi.security.passwords import Passwords
from eventapi.security.secret_key import check_stored_keys, secret_keys, warn_about_new_key
from eventapi.security.secret_key import is_missing as secret_is_missing
from eventapi.security.signed_texts import SignedTexts
from eventapi.security.tokens import Tokens
from eventapi.tasks.catch_up import run_catch_up
from eventapi.tasks.chain_check import ChainCheck
from eventapi.tasks.closing import run_closing
from eventapi.tasks.read_models import run_read_models
from eventapi.tasks.restart import restart_on_error
from eventapi.tasks.session_expiry import run_session_expiry
from eventapi.tasks.signing_check import SigningCheck
from eventapi.tasks.snapshots import run_snapshots
from eventapi.tasks.worker_stats import WorkerStats
from eventapi.telemetry.metrics.meters import Meters
from eventapi.telemetry.progress import replay_lines
from eventapi.webhooks.tasks import WebhookTasks
from eventapi.witnesses.tasks import WitnessTasks
from events.log.file.log import JsonlLog
from events.log.port import EventLog
from events.transparency.checkpoints import Checkpoints

if TYPE_CHECKING:
    from eventapi.http.middleware.tracing import Tracing

logger = logging.getLogger("eventapi")

PATIENCE_SECONDS = 60.0
"""How long a start waits for a database: a worker that gives up takes its server down with it."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    parts: Overrides,
    tracing: Tracing | None,
    observers: list[Observer],
) -> AsyncIterator[Services]:
    """The services of a started server, whose background tasks run until the end.

    Adds the metrics to ``observers``. Raises `LogError`, `ConfigurationError`, `VaultUnavailable`.
    """
    exit_with_parent()
    key_is_new = _check(settings, parts)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.callback((passwords := parts.passwords or Passwords()).close)
        instruments, metering = await enter(setup_telemetry(settings, parts, tracing, __version__))
        journal, log, check = await enter(_open_journal(settings, parts, instruments))
        secrets = await _secrets_of(settings, journal, is_new=key_is_new)
        counts = await enter(_open_counts(settings, parts, secrets[0]))
        live_events = LiveEvents(log_watcher := LogWatcher(log), journal.state)
        signing = SigningCheck(checkpoints := _checkpoints_of(settings, parts, log, check))
        followers = await enter(open_followers(settings, parts, log))
        ready = (journal, passwords, secrets, followers, meters := _meters_of(metering))
        accounts = await enter(_open_accounts(settings, parts, *ready))
        mail = MailTasks(settings, parts, journal, followers, log_watcher, secrets, meters)
        stack.callback((client := HttpClient()).close)
        webhooks = webhook_tasks(settings, client, journal, followers, log_watcher, secrets, meters)
        witnesses = witness_tasks(settings, client, checkpoints, followers, log_watcher, meters)
        worker = (log, journal, log_watcher, passwords, counts, signing, check)
        sources = (partial(free_bytes, settings), _lags_of(mail, webhooks), lambda: mail.delayed)
        for task in (
            close_streams_at_signal(log_watcher, live_events),
            *_background_tasks(check, journal, log_watcher, counts, signing, webhooks, witnesses),
            *(_snapshots(settings, parts, journal), mail.run(), _closing(settings, log, check)),
            _counting_requests(metering, observers, WorkerStats(*worker, *sources, witnesses)),
        ):
            await enter(task)
        start_gc()
        yield Services(
            journal,
            check,
            accounts,
            accounts.tokens,
            health_details(settings, journal, log, counts, signing, metering),
            journal.history,
            Summaries(journal.history, journal.state),
            log_watcher,
            live_events,
            checkpoints,
            RateLimiter(settings, counts, accounts.tokens, journal),
            registry_of(settings, parts),
            KeyUses(journal),
            settings.base_url,
            webhooks,
            lambda: None if metering is None else metering.exposition,
            quota=Quota(settings.user_quota_bytes, settings.user_quota_items),
            mail=mail.runner,
            witnesses=witnesses,
            caches=_caches_of(journal),
        )


def _check(settings: Settings, parts: Overrides) -> bool:
    """Check the settings and files before anything is created.

    Returns whether there will be a new secret key. Raises `ConfigurationError`.
    """
    if parts.log is None and parts.vault is None:
        check_start(settings, begin=True)
    check_mail(settings, parts)
    policy_of(settings)
    check_stored_keys(settings.secret_key, settings.data_path)
    return secret_is_missing(settings.secret_key, settings.data_path)


async def _secrets_of(settings: Settings, journal: Journal, *, is_new: bool) -> Sequence[str]:
    """The secret keys, made if missing; warn about the sessions that a new one ends.

    Only once the log is open, because a refused start creates nothing.
    """
    secrets = secret_keys(settings.secret_key, settings.data_path)
    if is_new:
        sessions = (await journal.state()).sessions.by_id
        warn_about_new_key(settings.data_path, len(sessions))
    return secrets


def _caches_of(journal: Journal) -> Caches:
    """Caches that drop their values once the journal applies an erasure."""
    caches = Caches()
    journal.on_erasure = caches.drop
    return caches


@asynccontextmanager
async def _open_accounts(  # noqa: PLR0917 - one of each
    settings: Settings,
    parts: Overrides,
    journal: Journal,
    passwords: Passwords,
    secrets: Sequence[str],
    followers: FollowerStore,
    meters: Callable[[], Meters | None],
) -> AsyncIterator[Accounts]:
    """The accounts; inside the context, failed logins are counted and recorded."""
    async with count_failed_logins(parts, journal, followers, secrets[0], meters) as counter:
        yield Accounts(
            journal,
            passwords,
            Tokens(secrets, settings.access_token_minutes * 60),
            parts.runtime,
            _lifetime(settings),
            SignedTexts(secrets),
            counter,
            settings.require_verified_email == "on",
        )


def _counting_requests(
    metering: Metering | None, observers: list[Observer], stats: WorkerStats
) -> AbstractAsyncContextManager[None]:
    """Count requests, if there are metrics."""
    return metering.count_requests(observers, stats.sample) if metering else nullcontext()


def _lags_of(mail: MailTasks, webhooks: WebhookTasks) -> Callable[[], Mapping[str, int]]:
    """A function that returns the lag of each follower."""
    return lambda: {"mail": mail.lag, **webhooks.lags}


def _meters_of(metering: Metering | None) -> Callable[[], Meters | None]:
    """A function that returns the meters of this worker, once they can be kept."""
    return lambda: None if metering is None else metering.meters


@asynccontextmanager
async def _open_journal(
    settings: Settings, parts: Overrides, instrumentation: Instrumentation
) -> AsyncIterator[tuple[Journal, EventLog, ChainCheck]]:
    """The journal, its log, and the check of what its start has not checked."""
    opened = open_journal(
        settings,
        parts,
        bar=replay_lines,
        on_fence=exit_after_flush,
        instrumentation=instrumentation,
        patience=PATIENCE_SECONDS,
        begin=True,
        check_later=settings.verify == "background",
    )
    async with opened as (journal, log):
        yield journal, log, chain_check_of(settings, journal, log)


def _checkpoints_of(
    settings: Settings, parts: Overrides, log: EventLog, check: ChainCheck
) -> Checkpoints:
    """The checkpoints of a log, of which none is signed before its chain is checked.

    The tree takes the lines that the check has read and checked, and then continues their chain.
    """
    checkpoints = checkpoints_of(settings, log, parts)
    checkpoints.tree.require_checked = check.require_done
    check.on_checked = checkpoints.tree.extend
    return checkpoints


def _background_tasks(  # noqa: PLR0917 - one of each
    check: ChainCheck,
    journal: Journal,
    log_watcher: LogWatcher,
    counts: RateLimitStorage,
    signing: SigningCheck,
    webhooks: WebhookTasks,
    witnesses: WitnessTasks | None,
) -> list[AbstractAsyncContextManager[None]]:
    # Nothing can be signed before the check is done.
    cosigning = [] if witnesses is None else [(witnesses.run, "witnesses")]
    return [
        restart_on_error(check.run, "chain check"),
        *(
            restart_on_error(after(check, run), name)
            for run, name in ((signing.run, "signing"), *cosigning)
        ),
        restart_on_error(lambda: run_catch_up(journal, log_watcher), "following"),
        restart_on_error(counts.run_sweeps, "limits"),
        restart_on_error(lambda: run_session_expiry(journal), "expiry"),
        restart_on_error(lambda: run_read_models(journal), "projections"),
        restart_on_error(webhooks.run, "webhooks"),
    ]


def _lifetime(settings: Settings) -> Lifetime:
    return Lifetime(settings.refresh_token_days * 86_400, settings.session_days * 86_400)


@asynccontextmanager
async def _open_counts(
    settings: Settings, parts: Overrides, secret: str
) -> AsyncIterator[RateLimitStorage]:
    """Counters shared by all processes of the data directory.

    They are private if the log is in memory.
    """
    path = settings.data_path / "limits.table" if parts.log is None else None
    table = SharedCounters(path, secret)
    try:
        url = settings.redis_url
        counts = RedisRateLimitStorage(table, url, secret) if url else RateLimitStorage(table)
    except BaseException:
        table.close()
        raise
    try:
        await counts.check()
        yield counts
    finally:
        await counts.close()


@asynccontextmanager
async def _snapshots(settings: Settings, parts: Overrides, journal: Journal) -> AsyncIterator[None]:
    if not settings.snapshot_every or parts.log is not None:
        yield
        return
    snapshots = snapshots_of(settings, parts)
    async with restart_on_error(lambda: run_snapshots(journal, snapshots, settings), "snapshots"):
        yield


def _closing(
    settings: Settings, log: EventLog, check: ChainCheck
) -> AbstractAsyncContextManager[None]:
    """The task that closes segments of a log in a file, once its chain is checked."""
    if not isinstance(log, JsonlLog) or not settings.segment_bytes:
        return nullcontext()
    run = after(check, lambda: run_closing(log, settings.segment_bytes, exit_after_flush))
    return restart_on_error(run, "closing")
