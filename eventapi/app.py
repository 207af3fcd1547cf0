"""The wiring: the one place that knows which part is plugged in where.

Nothing is built at import; `create_app` is a factory, so ``uvicorn --factory
eventapi.app:create_app --workers N`` is safe.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from litestar import Litestar, Router
from litestar.types import ASGIApp

from eventapi import __version__
from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import (
    NO_OVERRIDES,
    Overrides,
    checkpoints_of,
    open_journal,
    replay_progress_of,
    snapshots_of,
    warn_if_in_memory,
)
from eventapi.bootstrap.telemetry import Metering, setup_telemetry, tracing_of
from eventapi.commands.quota import Quota
from eventapi.commands.sessions import Lifetime
from eventapi.configuration.load import load
from eventapi.configuration.settings import Settings
from eventapi.http.endpoint import Endpoint, options_routes
from eventapi.http.middleware import deprecation
from eventapi.http.middleware.access_log import access_log
from eventapi.http.middleware.client_address import ClientAddressMiddleware
from eventapi.http.middleware.cors import Cors
from eventapi.http.middleware.edge import EdgeMiddleware
from eventapi.http.middleware.observers import Observer
from eventapi.http.middleware.rate_limit import RateLimiter
from eventapi.http.openapi.document import build_document
from eventapi.http.problems import problem_response
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.routes import accounts as auth
from eventapi.http.routes import audit, docs, health, items, metrics, root, transparency
from eventapi.http.routes import events as feeds
from eventapi.http.schemas.responses import VERSIONS
from eventapi.http.services import Details, Services
from eventapi.journal.journal import Journal
from eventapi.queries.live_events import LiveEvents
from eventapi.queries.subscriptions import LogWatcher
from eventapi.ratelimit.shared_counters import SharedCounters
from eventapi.ratelimit.storage import RateLimitStorage, RedisRateLimitStorage
from eventapi.security.passwords import Passwords
from eventapi.security.secret_key import check_kept_keys, secret_keys, warn_of_new_key
from eventapi.security.secret_key import is_missing as secret_is_missing
from eventapi.security.tokens import Tokens
from eventapi.tasks.catch_up import run_catch_up
from eventapi.tasks.restart import restart_on_error
from eventapi.tasks.session_expiry import run_session_expiry
from eventapi.tasks.signing_check import SigningCheck
from eventapi.tasks.snapshots import run_snapshots
from eventapi.tasks.worker_stats import WorkerStats
from eventapi.telemetry import server_log as logs
from eventapi.telemetry.optional import require_sentry
from eventapi.telemetry.progress import replay_lines
from events.errors import ConfigurationError, known_error
from events.log.port import EventLog
from events.messages.server_log import SECRET_KEY_OF_ONE_MACHINE, START_FAILED

if TYPE_CHECKING:
    from eventapi.http.middleware.tracing import Tracing

logger = logging.getLogger("eventapi")

CANNOT_START = 3
"""The exit code that tells uvicorn's supervisor not to try again."""

FENCED = os.EX_IOERR
"""The exit code after a failed sync: whoever restarts servers is to start this one again."""

FLUSH_SECONDS = 1.0

PATIENCE_SECONDS = 60.0
"""How long a start waits for a database: a worker that gives up takes its server down with it."""


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


def create_app(
    settings: Settings | None = None,
    parts: Overrides = NO_OVERRIDES,
    tracing: Tracing | None = None,
) -> ASGIApp:
    """The ASGI application; without settings, they come from the environment, and so do traces.

    What can go wrong with the data directory is told when the application starts up.
    """
    if settings is None:
        try:
            settings = load(os.environ).settings
            logs.configure(settings)
            require_sentry(settings.sentry_dsn)
            tracing = tracing or tracing_of(os.environ, __version__)
        except ConfigurationError as error:
            print(f"eventapi: {error.message}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
            raise SystemExit(CANNOT_START) from None
        warn_if_in_memory(settings)
        is_shared = settings.is_database or settings.redis_url is not None
        if is_shared and settings.secret_key is None:
            logger.warning(SECRET_KEY_OF_ONE_MACHINE)
    requests = [ApiRequest.bound(version) for version in VERSIONS]
    limits, fields = RateLimiter(settings), deprecation.fields(settings)
    observers: list[Observer] = []

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        _exit_with_parent()
        if parts.log is None and parts.vault is None:
            check_start(settings, begin=True)  # Before anything is created.
        check_kept_keys(settings.secret_key, settings.data_path)
        passwords = parts.passwords or Passwords()
        key_is_new = secret_is_missing(settings.secret_key, settings.data_path)
        async with (
            setup_telemetry(settings, parts, tracing, __version__) as (watch, metering),
            open_journal(
                settings,
                parts,
                bar=replay_lines,
                on_fence=_exit_after_flush,
                watch=watch,
                patience=PATIENCE_SECONDS,
                begin=True,
            ) as (journal, log),
            # Only once the log is open: a refused start creates nothing.
            nullcontext(secret_keys(settings.secret_key, settings.data_path)) as secrets,
            _counts(settings, parts, secrets[0]) as counts,
        ):
            tokens = Tokens(secrets, settings.access_token_minutes * 60)
            if key_is_new:
                sessions = (await journal.state()).sessions.by_id
                warn_of_new_key(settings.data_path, len(sessions))
            limits.start(counts, tokens, journal)
            feed = LogWatcher(log)
            checkpoints = checkpoints_of(settings, log, parts)
            signing = SigningCheck(checkpoints)
            sampler = WorkerStats(
                log, journal, feed, passwords, counts, signing, lambda: _disk_free(settings)
            )
            live = LiveEvents(feed, journal.state)
            services = Services(
                journal,
                passwords,
                tokens,
                parts.environment,
                Lifetime(settings.refresh_token_days * 86_400, settings.session_days * 86_400),
                _health(settings, journal, log, counts, signing, metering),
                journal.history,
                feed,
                live,
                checkpoints,
                limits,
                lambda: None if metering is None else metering.exposition,
                quota=Quota(settings.user_quota_bytes, settings.user_quota_items),
            )
            for request in requests:
                request.services = services
            async with (
                _close_streams_at_signal(feed, live),
                restart_on_error(lambda: run_catch_up(journal, feed), "following"),
                restart_on_error(signing.run, "signing"),
                restart_on_error(counts.keep_sweeping, "limits"),
                restart_on_error(lambda: run_session_expiry(journal), "expiry"),
                _taking_snapshots(settings, parts, journal),
                metering.count_requests(observers, sampler.sample) if metering else nullcontext(),
            ):
                _freeze_gc()
                yield
            await limits.close()
        passwords.close()

    app = Litestar(
        _routes(requests, [name.decode().title() for name, _ in fields]),
        lifespan=[lifespan],
        exception_handlers={Exception: _on_error},  # type: ignore[dict-item]  # Reply acts as one
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )
    if settings.log_level in {"debug", "info"}:
        write, is_debug = logs.LineWriter(settings).write, settings.log_level == "debug"
        observers.append(access_log(write, settings.log_format == "json", paths=is_debug))
    edge = EdgeMiddleware(_plain_startup(app), observers, limits, _cors(settings))
    announced = deprecation.announced(edge, fields)
    seen = announced if tracing is None else tracing.around(announced)
    return ClientAddressMiddleware(seen, settings.trusted_proxies, settings.public_url)


def _cors(settings: Settings) -> Cors | None:
    if not settings.cors_origins:
        return None
    return Cors(settings.cors_origins, settings.cors_credentials == "on")


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
async def _counts(
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


class _Router(Router):
    """A router that is registered once, so that Litestar need not copy it: a third of a start."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _routes(requests: Sequence[type[ApiRequest]], announced: Sequence[str]) -> list[Router]:
    documented: list[tuple[str, Endpoint]] = []
    routers: list[Router] = []

    def add(prefix: str, request: type[ApiRequest], endpoints: Sequence[Endpoint]) -> None:
        documented.extend((prefix, endpoint) for endpoint in endpoints)
        routes = [*options_routes(endpoints), *(endpoint.route() for endpoint in endpoints)]
        routers.append(_Router(prefix or "/", route_handlers=routes, request_class=request))

    for request in requests:
        version = request.version
        endpoints = [
            *auth.endpoints(version),
            *feeds.endpoints(),
            *items.endpoints(version),
            *audit.endpoints(),
            *transparency.endpoints(),
            *health.endpoints(),
            *metrics.endpoints(),
        ]
        for prefix in version.prefixes:
            add(prefix, request, endpoints)
    plain = requests[0]
    document = partial(build_document, documented, __version__, announced)
    versions = [request.version.name for request in requests]
    add("", plain, [root.ENDPOINT, *docs.endpoints(document, versions)])
    return [*routers, _Router("/", route_handlers=docs.parts(versions), request_class=plain)]


def _on_error(request: ApiRequest, error: Exception) -> Response:
    return problem_response(error, request.scope)


def _health(  # noqa: PLR0917 - one of each
    settings: Settings,
    journal: Journal,
    log: EventLog,
    counts: RateLimitStorage,
    signing: SigningCheck,
    metering: Metering | None,
) -> Details:
    started = time.monotonic()
    rebuilds = replay_progress_of(settings)

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
            "rebuilding": rebuilds.now(),
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


def _plain_startup(app: Litestar) -> ASGIApp:
    """The app, telling why a start failed in one line instead of Litestar's traceback."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        refused = False

        async def send_later(message: Mapping[str, Any]) -> None:
            nonlocal refused
            refused = message["type"] == "lifespan.startup.failed"
            if not refused:
                await send(message)

        try:
            await app(scope, receive, send_later)
        except Exception as error:
            if not refused:
                raise
            known = known_error(error)
            if known is None:
                logger.exception(START_FAILED)
            message = str(START_FAILED if known is None else known.message)
            await send({"type": "lifespan.startup.failed", "message": message})

    return wrapped
