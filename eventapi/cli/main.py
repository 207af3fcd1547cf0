"""The command line: ``eventapi`` and ``python -m eventapi``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click

from eventapi import __version__
from eventapi.cli.failures import INTERRUPTED, Terminated
from eventapi.cli.options import settings_options
from eventapi.cli.program import Program
from eventapi.tasks.isolation import isolate_children

_COMMANDS = {
    "serve": "eventapi.cli.serve:serve",
    "log": "eventapi.cli.log:log",
    "state": "eventapi.cli.state:state",
    "snapshot": "eventapi.cli.snapshot:snapshot",
    "rebuild": "eventapi.cli.state:rebuild",
    "resources": "eventapi.cli.resources:resources",
    "data": "eventapi.cli.data:data",
    "users": "eventapi.cli.users:users",
    "webhooks": "eventapi.cli.webhooks:webhooks",
    "config": "eventapi.cli.config:config",
}


@click.group(cls=Program, lazy=_COMMANDS)
@click.version_option(__version__, message="%(prog)s %(version)s")
@settings_options
def program() -> None:
    """An event-sourced REST server: every change is one event in an append-only log.

    Settings come from the environment (EVENTAPI_...) or a .env file; see `eventapi config`.
    Exit codes: 0 done, 1 the answer is no, 2 misuse, 3 could not run.
    """


def _prepare_streams() -> None:
    """Replace standard streams that are closed, as by ``>&-``, with the null device.

    Python sets a closed stream to ``None``, and the next file that is opened, the log, would get
    its descriptor. On stdout, characters that its encoding lacks are escaped, as on stderr: the name
    of a file may have any bytes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - stays open
            setattr(sys, name, stream)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


_TERMINATING: Final = (signal.SIGTERM, signal.SIGHUP)
"""A login session that ends may send both."""


def _end(number: int, _: FrameType | None) -> NoReturn:
    """Signal handler: end the command, and at once if the signal is repeated."""
    for one in _TERMINATING:
        signal.signal(one, _end_at_once if one == number else _go_on)
    raise Terminated(number)


def _go_on(_number: int, _: FrameType | None) -> None:
    """Signal handler: do nothing.

    With `SIG_IGN`, Python prints an error if the signal has just arrived.
    """


def _end_at_once(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def main() -> None:
    """Run the program on this process's arguments, and exit.

    SIGTERM has a handler also because the kernel drops it for process 1 of a container otherwise.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # See `eventapi.__main__`.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _prepare_streams()
    isolate_children()
    for number in _TERMINATING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    logging.basicConfig(format="eventapi: %(message)s", level=logging.WARNING)
    try:
        program.main(prog_name="eventapi")
    except SystemExit as end:
        if end.code == INTERRUPTED:
            # A second Ctrl-C ends the remaining threads without a traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise
