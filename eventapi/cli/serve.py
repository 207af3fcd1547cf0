"""``eventapi serve``: one process, a supervisor with workers, or a reloader.

One worker finds out by its own start whether the log can be served. Before several workers, the
parent opens the journal once, which recovers what a crash left and tells what is wrong one time
and not once a worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import click
import uvicorn
from uvicorn.supervisors import ChangeReload

from eventapi import logs
from eventapi.beginning import check_start
from eventapi.cli.failures import COULD_NOT_RUN, Failure, Misuse
from eventapi.cli.options import flags, loaded, settings_options
from eventapi.cli.output import progress_bar
from eventapi.cli.supervisor import GRACE_SECONDS, Supervisor
from eventapi.extras import reports_wanted, traces_wanted
from eventapi.http.protocol import IDLE_SECONDS, MAX_CONNECTIONS
from eventapi.http.tls import tls_context
from eventapi.security.secret import given_keys
from eventapi.settings import Settings
from eventapi.storage import opened_journal
from events.errors import ConfigurationError, known_error

APP: Final = "eventapi.app:create_app"
BACKLOG: Final = 2048
OPEN_FILES: Final = 4 * MAX_CONNECTIONS

_uvicorn_log = logging.getLogger("uvicorn.error")

_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many processes serve.",
)
@click.option("--reload", is_flag=True, help="Start anew when the code changes.")
@click.option("--ssl-certfile", type=_File, help="Certificate chain for HTTPS, PEM.")
@click.option("--ssl-keyfile", type=_File, help="Its private key, where it is not in the chain.")
@settings_options
def serve(  # noqa: PLR0917 - click passes them by name
    host: str,
    port: int,
    workers: int,
    reload: bool,
    ssl_certfile: Path | None,
    ssl_keyfile: Path | None,
) -> None:
    """Serve the API.

    Any number of servers may share a data directory: each is more workers.
    """
    if reload and workers > 1:
        raise Misuse("--reload goes with one worker only")
    if ssl_keyfile is not None and ssl_certfile is None:
        raise Misuse("--ssl-keyfile needs --ssl-certfile")
    settings = loaded().settings
    _check_secret(settings)
    check_start(settings, begin=True)
    reports_wanted(settings.sentry_dsn)
    traces_wanted(os.environ)
    os.environ.update(flags())  # Workers are processes of their own and load their own settings.
    if ssl_certfile is not None:
        _check_certificate(ssl_certfile, ssl_keyfile)
    _raise_file_limit()
    bound = _bind(host, port)
    logs.configure(settings)
    config = _config(settings, workers, reload, ssl_certfile, ssl_keyfile)
    scheme = "http" if ssl_certfile is None else "https"
    address = f"{scheme}://{_shown(host)}:{bound.getsockname()[1]}"

    def announce() -> None:
        click.echo(f"eventapi serves {address}, its data is in {settings.data_path.resolve()}")
        sys.stdout.flush()

    if reload:
        _reload(config, bound, announce)
    elif workers > 1:
        # Workers set uvicorn's level anew; what becomes of them is worth reading.
        _uvicorn_log.setLevel(logging.NOTSET)
        _supervise(config, bound, settings, announce)
    else:
        _run(config, bound, announce)


def _raise_file_limit() -> None:
    """Every connection is an open file, and the usual limit of 1,024 is meant for `select`."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _check_secret(settings: Settings) -> None:
    try:
        if settings.secret_key is not None:
            given_keys(settings.secret_key)
    except ConfigurationError as error:
        raise Misuse(f"EVENTAPI_{error}") from None


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_certificate(certfile: Path, keyfile: Path | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certfile, keyfile)
    except OSError as error:  # An SSLError is one.
        raise Failure(f"the certificate {certfile} cannot be used: {error}") from None


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: nobody is to wait for a server that fails."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name may have addresses of both kinds: as everywhere, the old kind then.
        family, kind, protocol, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from None
    bound.set_inheritable(True)
    return bound


def _cannot_listen(host: str, port: int, error: Exception) -> Failure:
    reason = getattr(error, "strerror", None) or str(error)
    return Failure(f"cannot listen on {_shown(host)}:{port}: {reason}")


def _config(
    settings: Settings,
    workers: int,
    reload: bool,
    ssl_certfile: Path | None,
    ssl_keyfile: Path | None,
) -> uvicorn.Config:
    root = Path(__file__).resolve().parent.parent.parent
    watched = [str(root / package) for package in ("events", "projections", "eventapi")]
    return uvicorn.Config(
        APP,
        factory=True,
        workers=workers,
        reload=reload,
        reload_dirs=watched if reload else None,
        loop="eventapi.http.tls:Loop",
        http="eventapi.http.protocol:ProblemProtocol",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # The app sees to that, whoever serves it.
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        ssl_context_factory=None if ssl_certfile is None else tls_context,
    )


class _FirstError(logging.Filter):
    """Holds back what uvicorn says of a failed start, and keeps the reason."""

    reason: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and self.reason is None:
            self.reason = record.getMessage()
        known = known_error(record.exc_info[1] if record.exc_info else None)
        if known is not None:
            self.reason = str(known)
        # A traceback means that the start failed for no reason we know: that is worth all lines.
        return record.exc_info is not None and known is None


class _Server(uvicorn.Server):
    """A server that says when it serves, and why it does not."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        heard = _FirstError()
        _uvicorn_log.addFilter(heard)
        try:
            await super().startup(sockets)
        except SystemExit:
            raise Failure(heard.reason or "the server could not start") from None
        except OSError as error:
            host, port = (sockets or [])[0].getsockname()[:2]
            raise _cannot_listen(host, port, error) from None
        finally:
            _uvicorn_log.removeFilter(heard)
        self._announce()


def _run(config: uvicorn.Config, bound: socket.socket, announce: Callable[[], None]) -> None:
    # Uvicorn raises the signal again that stopped it: to have stopped when asked to is no failure.
    signal.signal(signal.SIGTERM, _leave)
    _Server(config, announce).run(sockets=[bound])


def _leave(_signal: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _supervise(
    config: uvicorn.Config, bound: socket.socket, settings: Settings, announce: Callable[[], None]
) -> None:
    asyncio.run(_pre_flight(settings))
    host, port = bound.getsockname()[:2]
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None
    supervisor = Supervisor(config, [bound], announce)
    supervisor.run()
    if supervisor.could_not_start:
        sys.exit(COULD_NOT_RUN)
    if supervisor.was_interrupted:
        raise KeyboardInterrupt


async def _pre_flight(settings: Settings) -> None:
    """Open the journal and close it again; raises what every worker would."""
    bar = partial(progress_bar, "Reading the log")
    async with opened_journal(settings, bar=bar, begin=True):
        pass


def _reload(config: uvicorn.Config, bound: socket.socket, announce: Callable[[], None]) -> None:
    announce()
    ChangeReload(config, target=uvicorn.Server(config).run, sockets=[bound]).run()
