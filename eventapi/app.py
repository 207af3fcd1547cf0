"""The application: controllers, middleware and lifespan.

`create_app` is a factory, so ``uvicorn --factory eventapi.app:create_app --workers N`` is safe.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, Self

from litestar import Controller, Litestar, Request, Router
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.exceptions import ValidationException
from litestar.types import ASGIApp

from eventapi import __version__
from eventapi.bootstrap.services import open_services
from eventapi.bootstrap.storage import NO_OVERRIDES, Overrides, registry_of
from eventapi.bootstrap.telemetry import tracing_of
from eventapi.configuration.load import load
from eventapi.configuration.settings import Settings
from eventapi.http.handlers import options_handlers
from eventapi.http.middleware import deprecation
from eventapi.http.middleware.access_log import access_log
from eventapi.http.middleware.client_address import ClientAddressMiddleware
from eventapi.http.middleware.cors import Cors
from eventapi.http.middleware.edge import EdgeMiddleware
from eventapi.http.middleware.observers import Observer
from eventapi.http.openapi.described import described
from eventapi.http.openapi.document import build_document
from eventapi.http.problems import problem_response
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response
from eventapi.http.routes import console, docs
from eventapi.http.routes.account_events import AccountEventsController
from eventapi.http.routes.accounts import AccountsController
from eventapi.http.routes.audit import AuditController
from eventapi.http.routes.batch import batch_controller
from eventapi.http.routes.evidence import EvidenceController
from eventapi.http.routes.health import HealthController
from eventapi.http.routes.keys import KeysController
from eventapi.http.routes.mailed_links import MailedLinksController
from eventapi.http.routes.metrics import MetricsController
from eventapi.http.routes.projections import projections_controller
from eventapi.http.routes.root import root_controller
from eventapi.http.routes.second_factors import SecondFactorsController
from eventapi.http.routes.templates import resource_controller
from eventapi.http.routes.transparency import TransparencyController
from eventapi.http.routes.users import UsersController
from eventapi.http.routes.webhooks import WebhooksController
from eventapi.http.schemas.resources import shape_of
from eventapi.http.schemas.responses import VERSIONS, ApiVersion
from eventapi.http.services import Services
from eventapi.http.urls import separate_root_path
from eventapi.resources.registry import Registry
from eventapi.telemetry import server_log
from eventapi.telemetry.optional import require_sentry
from events.errors import ConfigurationError, LogUnavailable, known_error
from events.messages.server_log import SECRET_KEY_OF_ONE_MACHINE, START_FAILED

if TYPE_CHECKING:
    from eventapi.http.middleware.tracing import Tracing

logger = logging.getLogger("eventapi")

CANNOT_START = 3
"""The exit code that stops uvicorn's supervisor from trying again."""

CONTROLLERS: tuple[type[Controller], ...] = (
    AccountsController,
    MailedLinksController,
    SecondFactorsController,
    KeysController,
    AccountEventsController,
    AuditController,
    EvidenceController,
    TransparencyController,
    HealthController,
    MetricsController,
)
"""Those of every version; each resource has one more."""

Wrap = Callable[[Any], ASGIApp]


class Application(Litestar):
    """A Litestar application with middleware around all of it.

    Litestar's own middleware never sees a request whose path or method is unknown, and those are
    counted, logged and answered with the common headers as well.
    """

    started: Services | None = None
    """The services, once the application has started."""

    @property
    def services(self) -> Services:
        """The services; raises `LogUnavailable` before the start."""
        if self.started is None:
            raise LogUnavailable("the server has not started yet")
        return self.started

    def __init__(self, *args: Any, around: Sequence[Wrap] = (), **options: Any) -> None:
        """``around`` is the middleware, the outermost first."""
        super().__init__(*args, **options)
        inner: Any = super().__call__
        self._outermost = reduce(lambda app, wrap: wrap(app), reversed(around), inner)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request, or the life of the application."""
        if scope["type"] == ScopeType.HTTP:
            separate_root_path(scope)
        await self._outermost(scope, receive, send)


def create_app(
    settings: Settings | None = None,
    parts: Overrides = NO_OVERRIDES,
    tracing: Tracing | None = None,
) -> Application:
    """Create the application.

    Without ``settings``, they and the tracing come from the environment. Faults of the data directory
    are reported when the application starts.
    """
    if settings is None:
        settings, from_environment = _configured()
        tracing = tracing or from_environment
    observers: list[Observer] = []
    if settings.log_level in {"debug", "info"}:
        write, is_debug = server_log.LineWriter(settings).write, settings.log_level == "debug"
        observers.append(access_log(write, settings.log_format == "json", paths=is_debug))

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with open_services(settings, parts, tracing, observers) as app.started:
            yield

    def provide_services() -> Services:
        return app.services

    try:
        registry = registry_of(settings, parts)
    except ConfigurationError as error:
        return _refusing(error)
    fields = deprecation.fields(settings)
    app: Application = Application(
        _routers(lambda: app, registry, fields, settings),
        lifespan=[lifespan],
        dependencies={"services": Provide(provide_services, sync_to_thread=False)},
        exception_handlers={Exception: _on_error},
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,  # docs/decisions/openapi.md
        logging_config=None,
        around=[
            partial(
                ClientAddressMiddleware,
                proxies=settings.trusted_proxies,
                public_url=settings.public_url,
            ),
            *([] if tracing is None else [tracing.wrap]),
            partial(deprecation.add_headers_to_version_1, headers=fields),
            partial(
                EdgeMiddleware,
                observers=observers,
                rate_limiter=lambda: app.services.rate_limiter,
                cors=_cors(settings),
            ),
            _plain_startup,
        ],
    )
    return app


def _refusing(error: ConfigurationError) -> Application:
    """An application that cannot start, so that its start reports the reason."""

    async def fail() -> None:
        raise error

    return Application([], on_startup=[fail], openapi_config=None, around=[_plain_startup])


def _configured() -> tuple[Settings, Tracing | None]:
    """The settings and the tracing of the environment; exits if one is wrong."""
    try:
        settings = load(os.environ).settings
        server_log.configure(settings)
        require_sentry(settings.sentry_dsn)
        tracing = tracing_of(os.environ, __version__)
    except ConfigurationError as error:
        print(f"eventapi: {error.message}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
        raise SystemExit(CANNOT_START) from None
    is_shared = settings.is_database or settings.redis_url is not None
    if is_shared and settings.secret_key is None:
        logger.warning(SECRET_KEY_OF_ONE_MACHINE)
    return settings, tracing


class _Router(Router):
    """A router that Litestar does not copy at registration.

    The copies take a third of a start.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _cors(settings: Settings) -> Cors | None:
    if not settings.cors_origins:
        return None
    return Cors(settings.cors_origins, settings.cors_credentials == "on")


def _routers(
    app: Callable[[], Litestar],
    registry: Registry,
    fields: Sequence[tuple[bytes, bytes]],
    settings: Settings,
) -> list[Router]:
    """A router for each prefix of each version, and one for unversioned paths.

    ``app`` is called when the first document is made. ``fields`` are the headers of a deprecation.
    """
    announced = [name.decode().title() for name, _ in fields]
    tags = {
        one.collection: one.doc.partition("\n")[0] or f"The {one.collection} of the caller."
        for one in registry.resources
    }

    def document(only: str, base: str) -> Any:
        return build_document(described(app().routes), __version__, announced, tags, only, base)

    has_console = settings.console == "on"
    plain = (root_controller(has_console), docs.ProblemsController)
    unversioned = _Router(
        "/",
        route_handlers=[
            *options_handlers(plain),
            *plain,
            *docs.handlers(document, [version.name for version in VERSIONS]),
            *(console.handlers() if has_console else ()),
        ],
        request_class=ApiRequest.of_version(VERSIONS[0]),
        signature_namespace=VERSIONS[0].namespace,
    )
    routers = []
    for version in VERSIONS:
        controllers = _controllers(registry, version, settings.max_body_bytes)
        routers += [_router(prefix, version, controllers) for prefix in version.prefixes]
    return [*routers, unversioned]


def _controllers(
    registry: Registry, version: ApiVersion, max_body_bytes: int
) -> Sequence[type[Controller]]:
    """The controllers of a version; version 1 has only items and no batch."""
    if version.is_replacement:
        return [*CONTROLLERS, resource_controller(shape_of(registry.item, version))]
    shapes = [shape_of(one, version) for one in registry.resources]
    controllers = [
        *CONTROLLERS,
        UsersController,
        WebhooksController,
        *map(resource_controller, shapes),
        batch_controller(shapes, max_body_bytes),
    ]
    if registry.projections:
        controllers.append(projections_controller(registry))
    return controllers


def _router(prefix: str, version: ApiVersion, controllers: Sequence[type[Controller]]) -> Router:
    return _Router(
        prefix or "/",
        route_handlers=[*options_handlers(controllers), *controllers],
        request_class=ApiRequest.of_version(version),
        signature_namespace=version.namespace,
    )


def _on_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    if isinstance(error, ValidationException) and request.route_handler.parsed_data_field:
        # Bodies are decoded by `ApiRequest.json`, so all that Litestar misses is a whole body.
        request_class: Any = request.route_handler.resolve_request_class()
        error = request_class(request.scope).missing_body()
    return problem_response(error, request.scope)


def _plain_startup(app: ASGIApp) -> ASGIApp:
    """The app, which reports a failed start in one line, without a traceback."""

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
