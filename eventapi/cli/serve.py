"""``eventapi serve``: one process, a supervisor with workers, or a reloader.

The parent of several workers never opens the log, so that only the workers replay it and the parent
stays small. The first worker that cannot start reports the reason to the parent, which prints it
once.
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
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click
import uvicorn

from eventapi.bootstrap.process import DAMAGED
from eventapi.bootstrap.start_check import check_start
from eventapi.cli.failures import Failure, Misuse, StartFailure
from eventapi.cli.listening import Listening, bind, bind_path
from eventapi.cli.options import (
    FilePath,
    flags,
    loaded,
    set_flag,
    setting_option,
    settings_options,
)
from eventapi.cli.setting_checks import check_values
from eventapi.configuration.settings import Settings
from eventapi.server.connections import IDLE_SECONDS, MAX_CONNECTIONS
from eventapi.server.reloading import Reloader
from eventapi.server.restarting import inherited_socket, restart
from eventapi.server.signals import (
    END_SIGNALS,
    Terminal,
    exit_at_signals,
    exit_now,
    exit_once,
    handle_hangup,
    ignore_end_signals,
)
from eventapi.server.starting import StartingServer
from eventapi.server.supervisor import GRACE_SECONDS, Supervisor
from eventapi.server.tls import tls_context
from eventapi.telemetry import server_log as logs
from eventapi.telemetry.optional import require_sentry, require_tracing
from events.messages.commands import CLOCK_NOT_ACCEPTED

APP: Final = "eventapi.app:create_app"
BACKLOG: Final = 2048
OPEN_FILES: Final = 4 * MAX_CONNECTIONS
DEMO_DIRECTORY: Final = "eventapi-demo"
DEMO_RESOURCES: Final = "eventapi.examples.shop"
DEMO_MARK: Final = "demo"
"""A file in the directory: a directory with other files is refused without it."""

CLOCK_PATIENCE_SECONDS: Final = 60.0
"""How long ``--accept-clock`` waits for a database."""

_uvicorn_log = logging.getLogger("uvicorn.error")

_EXISTING_FILE = FilePath(exists=True)


@click.command()
@setting_option("host", "HOST", "Address to listen on")
@setting_option("port", "PORT", "Port to listen on, 0 for a free one")
@setting_option("workers", "N", "Number of server processes")
@setting_option(
    "verify",
    "WHEN",
    "When a start from a snapshot checks the log below it: in the background, or before it serves",
    click.Choice(("background", "before")),
)
@click.option(
    "--uds",
    metavar="PATH",
    type=FilePath(dir_okay=True),
    help="Unix socket to listen on, instead of a host and a port.",
)
@click.option("--reload", is_flag=True, help="Restart when the code changes.")
@click.option(
    "--demo",
    is_flag=True,
    help="Serve example data from a directory of its own, by default ./eventapi-demo.",
)
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Accept the clock of this machine, although it jumped or is behind the log.",
)
@setting_option("ssl-certfile", "FILE", "Certificate chain for HTTPS, PEM", _EXISTING_FILE)
@setting_option(
    "ssl-keyfile",
    "FILE",
    "Private key, unless the certificate file contains it",
    _EXISTING_FILE,
)
@settings_options
def serve(
    uds: Path | None,
    reload: bool,
    demo: bool,
    accept_clock: bool,
) -> None:
    """Serve the API.

    Several servers may share one data directory; they act like additional workers.
    """
    exit_at_signals()
    if demo:
        _use_demo()
    settings = loaded().settings
    if demo and settings.log is not None:
        raise Misuse("--demo has a log of its own: unset EVENTAPI_LOG")
    _check_options(settings, uds, reload)
    check_values(settings)
    check_start(settings, begin=True)
    require_sentry(settings.sentry_dsn)
    require_tracing(os.environ)
    os.environ.update(
        flags()
    )  # Workers are separate processes, which load the settings from the environment.
    _check_certificate(settings)
    _raise_file_limit()
    scheme = "http" if settings.ssl_certfile is None else "https"
    if uds is None:
        listening = bind(settings.host, settings.port, scheme, inherited_socket())
        if settings.port == 0:  # Links in mails have the port of the setting.
            os.environ["EVENTAPI_PORT"] = str(listening.socket.getsockname()[1])
    else:
        listening = bind_path(uds, inherited_socket())
    try:
        logs.configure(settings)
        if accept_clock:
            _accept_clock(settings)
        config = _config(settings, reload)
        hints = _demo_hints(settings) if demo else ()
        _serve(config, listening, lambda: _announce(settings, listening, hints))
        ignore_end_signals()
    finally:
        listening.release()


def _serve(config: uvicorn.Config, listening: Listening, announce: Callable[[], None]) -> None:
    if config.reload:
        _reload(config, listening, announce)
    elif config.workers > 1:
        # Show uvicorn's lines about workers, such as a crash; workers set their own level.
        _uvicorn_log.setLevel(logging.NOTSET)
        _supervise(config, listening, announce)
    else:
        _run(config, listening, announce)


def _announce(settings: Settings, listening: Listening, hints: Sequence[str] = ()) -> None:
    """Print the address of the server; a program may wait for the first line.

    A server whose output goes to a full disk or a closed pipe serves nevertheless.
    """
    place = settings.data_path.resolve()
    lines = [f"eventapi serves {listening.address}, its data is in {place}"]
    page = settings.public_url or listening.page
    if page is not None:
        lines.append(f"Documentation: {page}/docs")
        if settings.console == "on":
            lines.append(f"Console: {page}/console")
    with suppress(OSError):
        for line in (*lines, *hints, "Press Ctrl-C to stop."):
            click.echo(line)


def _use_demo() -> None:
    """Set the data directory and the resources of the demonstration; raises `Misuse`."""
    if {"EVENTAPI_LOG", "EVENTAPI_RESOURCES"} & flags().keys():
        raise Misuse("--demo excludes --log and --resources")
    set_flag("data", DEMO_DIRECTORY)
    set_flag("resources", DEMO_RESOURCES)
    directory = Path(flags()["EVENTAPI_DATA"])
    if directory.is_dir() and any(directory.iterdir()) and not (directory / DEMO_MARK).exists():
        raise Misuse(f"{directory} has other files: give --demo a new directory with --data")


def _demo_hints(settings: Settings) -> Sequence[str]:
    """Make the demonstration if it is not there yet; return what to tell about it."""
    # Imports the log, as above.
    from eventapi.cli.demo import hints, make_demo  # noqa: PLC0415

    if settings.log_path.exists():
        return hints(settings, {})
    settings.data_path.mkdir(parents=True, exist_ok=True)
    (settings.data_path / DEMO_MARK).write_text("made by eventapi serve --demo\n")
    return hints(settings, asyncio.run(make_demo(settings)))


def _check_options(
    settings: Settings,
    uds: Path | None,
    reload: bool,
) -> None:
    if uds is not None and {"EVENTAPI_HOST", "EVENTAPI_PORT"} & flags().keys():
        raise Misuse("--uds excludes --host and --port")
    if reload and settings.workers > 1:
        raise Misuse("--reload allows only one worker")


def _accept_clock(settings: Settings) -> None:
    # Imports the log, and the parent of several workers would keep that in memory.
    from eventapi.cli.clock import accept_clock  # noqa: PLC0415

    try:
        click.echo(f"eventapi: {asyncio.run(accept_clock(settings, CLOCK_PATIENCE_SECONDS))}")
    except OSError as error:
        message = CLOCK_NOT_ACCEPTED.fill(path=settings.data_path, reason=error)
        raise Failure(message) from None


def _raise_file_limit() -> None:
    """Raise the limit of open files, usually 1,024: every connection is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _check_certificate(settings: Settings) -> None:
    certificate = settings.ssl_certfile
    if certificate is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, settings.ssl_keyfile)
    except OSError as error:  # An SSLError is one.
        raise Failure(f"the certificate {certificate} cannot be used: {error}") from None


def _config(settings: Settings, reload: bool) -> uvicorn.Config:
    root = Path(__file__).resolve().parent.parent.parent
    watched = [str(root / package) for package in ("events", "projections", "eventapi")]
    return uvicorn.Config(
        APP,
        factory=True,
        workers=settings.workers,
        reload=reload,
        reload_dirs=watched if reload else None,
        loop="eventapi.server.tls:TlsLoop",
        http="eventapi.server.protocol:ProblemProtocol",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # A middleware of the app handles them, under any server.
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        ssl_context_factory=None if settings.ssl_certfile is None else tls_context,
    )


class _Server(StartingServer):
    """A server of one process, which prints its address and restarts at SIGHUP."""

    def __init__(
        self, config: uvicorn.Config, listening: Listening, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._announce = announce
        self._listening = listening
        self._socket_copy = listening.socket.dup()  # Uvicorn closes the original at shutdown.
        self._terminal = Terminal()
        self.restart_requested = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:
            raise self._listening.failure(error) from None
        self._announce()

    def on_start_failure(self, reason: str) -> None:
        raise StartFailure(reason) from None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            self._listening.release()
            exit_now(sig, frame)
        # Clients are refused, instead of waiting for a process that ends.
        self.restart_requested = False
        self._socket_copy.close()
        super().handle_exit(sig, frame)

    def handle_hangup(self, sig: int, frame: FrameType | None) -> None:
        """Finish the requests and restart; exit if the signal came from a closed terminal."""
        if self._terminal.was_closed():
            self.handle_exit(signal.SIGTERM, frame)
        elif self.started:
            self.restart_requested = self.should_exit = True
        else:
            self.restart()

    def restart(self) -> NoReturn:
        """Run the same command again, on the same socket."""
        self._listening.socket.close()
        restart(self._socket_copy)


def _run(config: uvicorn.Config, listening: Listening, announce: Callable[[], None]) -> None:
    server = _Server(config, listening, announce)
    # Uvicorn raises the signal that stopped it again.
    for number in END_SIGNALS:
        signal.signal(number, exit_once)
    handle_hangup(server.handle_hangup)
    server.run(sockets=[listening.socket])
    if server.restart_requested:
        server.restart()


def _supervise(config: uvicorn.Config, listening: Listening, announce: Callable[[], None]) -> None:
    listening.listen(BACKLOG)
    supervisor = Supervisor(config, [listening.socket], announce)
    supervisor.run()
    if supervisor.start_error is not None:
        raise StartFailure(supervisor.start_error)
    if supervisor.found_damage:
        sys.exit(DAMAGED)
    if supervisor.was_interrupted:
        raise KeyboardInterrupt


def _reload(config: uvicorn.Config, listening: Listening, announce: Callable[[], None]) -> None:
    listening.listen(BACKLOG)  # A client that connects at once waits for the first child.
    announce()
    handle_hangup(signal.SIG_DFL)
    reloader = Reloader(config, [listening.socket], _report_refusal)
    reloader.run()
    if reloader.was_interrupted:
        raise KeyboardInterrupt


def _report_refusal(reason: str) -> None:
    """In a child of the reloader: print why the server could not start."""
    StartFailure(reason).show()
