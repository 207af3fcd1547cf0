"""Open everything that the handlers work with, and run the background tasks beside them."""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventapi import __version__
from eventapi.accounts.service import Accounts
from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import (
    Overrides,
    checkpoints_of,
    open_journal,
    snapshots_of,
)
from eventapi.bootstrap.telemetry import Metering, setup_telemetry
from eventapi.commands.quota import Quota
from eventapi.commands.sessions import Lifetime
from eventapi.configuration.settings import Settings
from eventapi.http.middleware.observers import Observer
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.http.services import Details, Services
from eventapi.journal.journal import Journal
from eventapi.queries.live_events import LiveEvents
from eventapi.queries.subscriptions import LogWatcher
from eventapi.ratelimit.shared_counters import SharedCounters
from eventapi.ratelimit.storage import RateLimitStorage, RedisRateLimitStorage
from eventapi.security.passwords import Passwords
from eventapi.security.secret_key import check_stored_keys, secret_keys, warn_about_new_key
from eventapi.security.secret_key import is_missing as secret_is_missing
from eventapi.security.tokens import Tokens
from eventapi.tasks.catch_up import run_catch_up
from eventapi.tasks.restart import restart_on_error
from eventapi.tasks.session_expiry import run_session_expiry
from eventapi.tasks.signing_check import SigningCheck
from eventapi.tasks.snapshots import run_snapshots
from eventapi.tasks.worker_stats import WorkerStats
from eventapi.telemetry.progress import replay_lines
from events.log.port import EventLog

if TYPE_CHECKING:
    from eventapi.http.middleware.tracing import Tracing

logger = logging.getLogger("eventapi")

FENCED = os.EX_IOERR
"""The exit code after a failed sync: the server must be started again."""

FLUSH_SECONDS = 1.0

PATIENCE_SECONDS = 60.0
"""How long a start waits for a database: a worker that gives up takes its server down with it."""


@asynccontextmanager
async def open_services(
    settings: Settings,
    parts: Overrides,
    tracing: Tracing | None,
    observers: list[Observer],
) -> AsyncIterator[Services]:
    """The services of a started server; its background tasks run until the end.

    ``observers`` are notified of every request; the metrics are added when they can be kept. Raises
    `ConfigurationError`, `LogError` and `VaultUnavailable`.
    """
    _exit_with_parent()
    if parts.log is None and parts.vault is None:
        check_start(settings, begin=True)  # Before anything is created.
    check_stored_keys(settings.secret_key, settings.data_path)
    passwords = parts.passwords or Passwords()
    key_is_new = secret_is_missing(settings.secret_key, settings.data_path)
    async with AsyncExitStack() as stack:
        watch, metering = await stack.enter_async_context(
            setup_telemetry(settings, parts, tracing, __version__)
        )
        journal, log = await stack.enter_async_context(
            open_journal(
                settings,
                parts,
                bar=replay_lines,
                on_fence=_exit_after_flush,
                watch=watch,
                patience=PATIENCE_SECONDS,
                begin=True,
            )
        )
        # Only once the log is open: a refused start creates nothing.
        secrets = secret_keys(settings.secret_key, settings.data_path)
        counts = await stack.enter_async_context(_open_counts(settings, parts, secrets[0]))
        tokens = Tokens(secrets, settings.access_token_minutes * 60)
        if key_is_new:
            sessions = (await journal.state()).sessions.by_id
            warn_about_new_key(settings.data_path, len(sessions))
        rate_limiter = RateLimiter(settings, counts, tokens, journal)
        log_watcher = LogWatcher(log)
        checkpoints = checkpoints_of(settings, log, parts)
        signing = SigningCheck(checkpoints)
        services = Services(
            journal,
            Accounts(
                journal,
                passwords,
                tokens,
                parts.runtime,
                Lifetime(settings.refresh_token_days * 86_400, settings.session_days * 86_400),
            ),
            tokens,
            _health(settings, journal, log, counts, signing, metering),
            journal.history,
            log_watcher,
            LiveEvents(log_watcher, journal.state),
            checkpoints,
            rate_limiter,
            lambda: None if metering is None else metering.exposition,
            quota=Quota(settings.user_quota_bytes, settings.user_quota_items),
        )
        stats = WorkerStats(
            log, journal, log_watcher, passwords, counts, signing, lambda: _disk_free(settings)
        )
        for task in (
            _close_streams_at_signal(log_watcher, services.live_events),
            restart_on_error(lambda: run_catch_up(journal, log_watcher), "following"),
            restart_on_error(signing.run, "signing"),
            restart_on_error(counts.run_sweeps, "limits"),
            restart_on_error(lambda: run_session_expiry(journal), "expiry"),
            _taking_snapshots(settings, parts, journal),
            metering.count_requests(observers, stats.sample) if metering else nullcontext(),
        ):
            await stack.enter_async_context(task)
        _freeze_gc()
        yield services
    passwords.close()


def _exit_after_flush() -> None:
    """End this process, for after a failed sync nothing that it holds may be trusted.

    Not at once: those who wait for an answer are first told that there is none.
    """
    asyncio.get_running_loop().call_later(FLUSH_SECONDS, os._exit, FENCED)


def _exit_with_parent() -> None:
    """End this process, gracefully, as soon as its supervisor is gone, however that went.

    A worker that is left behind would keep the port, and nobody would replace it.
    """
    supervisor, loop = multiprocessing.parent_process(), asyncio.get_running_loop()
    if supervisor is None:
        return

    def end() -> None:
        loop.remove_reader(supervisor.sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(supervisor.sentinel, end)


def _freeze_gc() -> None:
    """What is there at the start stays: each look for garbage among it would hold up all requests.

    Of several starts in a process it is the first: behind it, what an ended app has left is garbage.
    """
    if not gc.get_freeze_count():
        gc.freeze()


@asynccontextmanager
async def _close_streams_at_signal(feed: LogWatcher, live: LiveEvents) -> AsyncIterator[None]:
    """End the streams when the process is asked to end: the server waits for its connections."""
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}

    def close() -> None:
        feed.close()
        live.close()

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(close)
        before[signal.Signals(number)](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # What is not set by a server in Python is not for us to replace.
            if callable(signal.getsignal(number)):
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:
                signal.signal(number, handler)
        close()


@asynccontextmanager
async def _open_counts(
    settings: Settings, parts: Overrides, secret: str
) -> AsyncIterator[RateLimitStorage]:
    """Counts of every process on the data directory; of this one, where the log is in memory."""
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
async def _taking_snapshots(
    settings: Settings, parts: Overrides, journal: Journal
) -> AsyncIterator[None]:
    if not settings.snapshot_every or parts.log is not None:
        yield
        return
    snapshots = snapshots_of(settings)
    async with restart_on_error(lambda: run_snapshots(journal, snapshots, settings), "snapshots"):
        yield


def _health(  # noqa: PLR0917 - one of each
    settings: Settings,
    journal: Journal,
    log: EventLog,
    counts: RateLimitStorage,
    signing: SigningCheck,
    metering: Metering | None,
) -> Details:
    started = time.monotonic()

    def details() -> Mapping[str, Any]:
        return {
            "position": log.position,
            "database": _database(settings, log),
            "database_lost_seconds": round(log.lost_for, 3),
            "queued": journal.queued,
            "disk_free_bytes": _disk_free(settings),
            "uptime_seconds": round(time.monotonic() - started, 3),
            "redis": counts.redis,
            "signing": "suspended" if signing.is_ok is False else "ok",
            "process": os.getpid(),
            "workers": _workers(metering),
            "version": __version__,
        }

    return details


def _workers(metering: Metering | None) -> int | None:
    """How many there are; who cannot tell, because files of metrics are gone, is no less healthy."""
    try:
        return metering.meters.store.workers() if metering and metering.meters else None
    except OSError:
        return None


def _database(settings: Settings, log: EventLog) -> str | None:
    if not settings.is_database:
        return None
    return "lost" if log.lost_for else "ok"


def _disk_free(settings: Settings) -> int | None:
    """The bytes left on the disk of the log, where there is one."""
    try:
        return shutil.disk_usage(settings.log_path.parent).free
    except OSError:
        return None
