"""Click groups: load commands lazily, and map errors to messages and exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from eventapi.cli.documents import documents
from eventapi.cli.failures import (
    ANSWER_IS_NO,
    CLOSED_PIPE,
    COULD_NOT_RUN,
    DONE,
    INTERRUPTED,
    MISUSE,
    Failure,
    Misuse,
    Terminated,
    show_click_error,
    typed_arguments,
)
from eventapi.server.signals import interrupts_exit
from events.errors import EventapiError, Refusal
from events.io.files import system_reason
from events.io.garbage import pause_gc
from events.messages.commands import NOT_UTF8, SYSTEM_ERROR


class LazyGroup(click.Group):
    """A group of commands ``module:name``; only the called command is imported.

    A short command need not wait for the import of the web framework.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._lazy.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        with interrupts_exit(), pause_gc():
            command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command


class _ClosedPipeError(Exception):
    """The reader of stdout closed the pipe.

    Click handles `BrokenPipeError` itself and exits with code 1.
    """


@contextmanager
def _distinguished_closed_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ClosedPipeError from None


class Program(LazyGroup):
    """The outermost group: report every error as one message and an exit code."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the folder of the documents that messages name."""
        with formatter.section("Documents"):
            formatter.write(f"  {documents()}\n")

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _distinguished_closed_pipe():  # Options such as --help print at once.
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _distinguished_closed_pipe():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        typed_arguments.set(sys.argv[1:] if args is None else [*args])
        code = self._run(args, *rest, **kwargs)
        _discard_unwritten()
        sys.exit(code)

    def _run(self, *args: Any, **kwargs: Any) -> int:
        try:
            code = super().main(*args, **kwargs)
        except _ClosedPipeError:
            return CLOSED_PIPE
        except (click.Abort, KeyboardInterrupt) as error:
            cause = error.__cause__ or error
            if isinstance(cause, KeyboardInterrupt):
                # A second Ctrl-C ends tasks that nothing awaits; asyncio would log each of them.
                logging.getLogger("asyncio").disabled = True
            return cause.code if isinstance(cause, Terminated) else INTERRUPTED
        except click.ClickException as error:
            show_click_error(error)
            return error.exit_code
        except UnicodeEncodeError:  # What files and requests have is checked where it is read.
            Misuse(NOT_UTF8).show()
            return MISUSE
        except (EventapiError, OSError) as error:
            return _report_error(error)
        return code if isinstance(code, int) else DONE


def _report_error(error: EventapiError | OSError) -> int:
    if isinstance(error, EventapiError):
        message = error.message
    else:
        message = SYSTEM_ERROR.about(system_reason(error))
    Failure(message).show()
    return ANSWER_IS_NO if isinstance(error, Refusal) else COULD_NOT_RUN


def _discard_unwritten() -> None:
    """Discard what cannot be written, to a closed pipe or a full disk.

    Python flushes the streams once more at exit, and replaces the exit code if that fails.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null_device = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null_device, stream.fileno())
