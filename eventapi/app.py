"""The wiring: the one place that knows which part is plugged in where.

Nothing is built at import; `create_app` is a factory, so ``uvicorn --factory
eventapi.app:create_app --workers N`` is safe.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.types import ASGIApp

from eventapi import logs
from eventapi.batch import Environment
from eventapi.http import auth, docs, health, items, openapi
from eventapi.http.access import AccessLog, access_log, no_access_log
from eventapi.http.cors import Cors
from eventapi.http.edge import Edge
from eventapi.http.endpoint import Endpoint, options_routes
from eventapi.http.problems import problem_reply
from eventapi.http.reply import Reply
from eventapi.http.request import ApiRequest
from eventapi.http.services import Details, Services
from eventapi.http.views import V1, V2
from eventapi.journal import Journal
from eventapi.security.passwords import Passwords
from eventapi.security.secret import secret_key
from eventapi.security.tokens import Tokens
from eventapi.settings import Settings, load
from events.errors import ConfigurationError, EventapiError
from events.log.jsonl import JsonlLog
from events.log.port import EventLog
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from projections.replay import Progress

logger = logging.getLogger("eventapi")

SYSTEM = Environment(
    now=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    new_uuid=lambda: str(uuid.uuid4()),
    random_bytes=secrets.token_bytes,
)
"""The real clock and the real randomness."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be plugged in; what is left out is made from the settings."""

    log: EventLog | None = None
    vault: Vault | None = None
    passwords: Passwords | None = None
    environment: Environment = SYSTEM


DEFAULT = Parts()


def open_log(settings: Settings) -> EventLog:
    """The log that the settings name; raises `ConfigurationError` and `DamagedLog`."""
    if "://" in (settings.log or ""):
        raise ConfigurationError("EVENTAPI_LOG: this version keeps its log in a file only")
    return JsonlLog(settings.log_path)


def open_vault(settings: Settings) -> Vault:
    """The vault beside the log; raises `VaultUnavailable`."""
    return SqliteVault(settings.log_path.parent / "vault.sqlite")


@asynccontextmanager
async def opened_journal(
    settings: Settings, parts: Parts = DEFAULT, progress: Progress | None = None
) -> AsyncIterator[tuple[Journal, EventLog]]:
    """A started journal and its log, closed at the end.

    Raises `ConfigurationError`, `LogError` and `VaultUnavailable`.
    """
    async with AsyncExitStack() as stack:
        log = parts.log or open_log(settings)
        stack.push_async_callback(log.close)
        vault = parts.vault or open_vault(settings)
        stack.push_async_callback(vault.close)
        journal = Journal(log, vault, parts.environment, on_fence=_stop)
        stack.push_async_callback(journal.close)
        await journal.start(progress)
        yield journal, log


def _stop() -> None:
    """Ask this process to end: after a failed sync nothing that it holds may be trusted."""
    os.kill(os.getpid(), signal.SIGTERM)


def create_app(settings: Settings | None = None, parts: Parts = DEFAULT) -> ASGIApp:
    """The ASGI application; without settings, they come from the environment.

    What can go wrong with the data directory is told when the application starts up.
    """
    if settings is None:
        try:
            settings = load(os.environ).settings
        except ConfigurationError as error:
            raise SystemExit(f"eventapi: {error}") from None
        logs.configure(settings)
    requests = [ApiRequest.bound(version) for version in (V1, V2)]

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        passwords = parts.passwords or Passwords()
        tokens = Tokens(
            secret_key(settings.secret_key, settings.data_path),
            settings.access_token_minutes * 60,
        )
        async with opened_journal(settings, parts) as (journal, log):
            services = Services(
                journal,
                passwords,
                tokens,
                parts.environment,
                settings.refresh_token_days * 86_400,
                _health(settings, journal, log),
            )
            for request in requests:
                request.services = services
            yield
        passwords.close()

    app = Litestar(
        _routes(requests),
        lifespan=[lifespan],
        exception_handlers={Exception: _on_error},  # type: ignore[dict-item]  # Reply acts as one
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )
    log: AccessLog = no_access_log
    if settings.log_level in {"debug", "info"}:
        log = access_log(logs.line_writer(settings), settings.log_format == "json")
    cors = Cors(settings.cors_origins) if settings.cors_origins else None
    return Edge(_plain_startup(app), log, cors)


def _routes(requests: Sequence[type[ApiRequest]]) -> list[Router]:
    documented: list[tuple[str, Endpoint]] = []
    routers: list[Router] = []

    def add(prefix: str, request: type[ApiRequest], endpoints: Sequence[Endpoint]) -> None:
        documented.extend((prefix, endpoint) for endpoint in endpoints)
        routes = [*options_routes(endpoints), *(endpoint.route() for endpoint in endpoints)]
        routers.append(Router(prefix or "/", route_handlers=routes, request_class=request))

    for request in requests:
        version = request.version
        endpoints = [
            *auth.endpoints(version),
            *items.endpoints(version),
            *health.endpoints(),
        ]
        for prefix in version.prefixes:
            add(prefix, request, endpoints)
    plain = requests[0]
    add("", plain, docs.endpoints(lambda: openapi.document(documented, version_of("eventapi"))))
    return [*routers, Router("/", route_handlers=docs.parts(), request_class=plain)]


def _on_error(request: ApiRequest, error: Exception) -> Reply:
    return problem_reply(error, request.scope)


def _health(settings: Settings, journal: Journal, log: EventLog) -> Details:
    started = time.monotonic()

    def details() -> Mapping[str, Any]:
        return {
            "position": log.position,
            "queued": journal.queued,
            "disk_free_bytes": _room(settings.log_path.parent),
            "uptime_seconds": round(time.monotonic() - started, 3),
            "process": os.getpid(),
            "version": version_of("eventapi"),
        }

    return details


def _room(directory: Path) -> int | None:
    """The bytes left on the disk of a directory, where there is one."""
    try:
        return shutil.disk_usage(directory).free
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
        except EventapiError as error:
            if not refused:
                raise
            await send({"type": "lifespan.startup.failed", "message": str(error)})

    return wrapped
