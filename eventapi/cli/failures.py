"""Errors of commands: a message on stderr and an exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import StringIO
from typing import ClassVar, Final

import click

from events.database.urls import mask_url
from events.messages import commands
from events.messages.message import Message

DONE: Final = 0
ANSWER_IS_NO: Final = 1
MISUSE: Final = 2
COULD_NOT_RUN: Final = 3
INTERRUPTED: Final = 128 + 2
CLOSED_PIPE: Final = 128 + 13
"""The last two are the codes that a shell reports for SIGINT and SIGPIPE."""


_SCHEME: Final = re.compile(r"[A-Za-z][\w.+\-]*\Z")
"""The name before ``://``, also behind the name of an option and a ``=``."""

_LONGEST_SCHEME: Final = 40

typed_arguments: ContextVar[Sequence[str]] = ContextVar("typed_arguments", default=())
"""The arguments of the command, whose addresses may have passwords."""


def echo_error(text: str) -> None:
    """Print a text on stderr, without the passwords of addresses among the arguments.

    That stderr is full or closed changes no result.
    """
    with suppress(OSError):
        click.echo(_without_passwords(text), err=True)


def _without_passwords(text: str) -> str:
    """Mask the addresses that a person typed in the place of something else."""
    for argument in typed_arguments.get():
        before, separator, rest = argument.partition("://")
        if separator and (scheme := _SCHEME.search(before[-_LONGEST_SCHEME:])):
            address = scheme[0] + separator + rest
            for form in (address, repr(address)[1:-1]):
                text = text.replace(form, mask_url(address))
    return text


def show_click_error(error: click.ClickException) -> None:
    """Print an error of click by `echo_error`, or one of ours."""
    if isinstance(error, Failure):
        error.show()
        return
    shown = StringIO()
    error.show(shown)
    echo_error(shown.getvalue().removesuffix("\n"))


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: a command ends as at Ctrl-C, and cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


class Failure(click.ClickException):
    """The command could not run.

    ``advice`` supplies severity and next step if the reason is only a text.
    """

    exit_code = COULD_NOT_RUN
    advice: ClassVar[Message] = commands.COULD_NOT_RUN

    def __init__(self, reason: str | Message) -> None:
        self.full_message = reason if isinstance(reason, Message) else self.advice.about(reason)
        super().__init__(self.full_message.text)

    def show(self, file: object = None) -> None:
        """Print problem, severity and next step on stderr, a line each."""
        echo_error(f"eventapi: {self.full_message.lines}")


class Misuse(Failure):
    """The command was called wrongly: a setting or an option is bad."""

    exit_code = MISUSE
    advice = commands.MISUSE

    def show(self, file: object = None) -> None:
        """Print the message on stderr as one line."""
        echo_error(f"eventapi: {self.full_message}")


class NegativeResult(Failure):
    """The command ran, and its result is negative, such as damage in a log."""

    exit_code = ANSWER_IS_NO
    advice = commands.NEGATIVE_RESULT


class StartFailure(Failure):
    """The server could not start; a worker reported the reason in one line."""

    def show(self, file: object = None) -> None:
        if " Next: " in self.message:
            echo_error(f"eventapi: {self.message.replace(' Next: ', chr(10) + 'Next: ')}")
        else:
            super().show()


@contextmanager
def ended_input_is(message: Message) -> Iterator[None]:
    """Raise `Misuse` if the input ends at a question; Ctrl-C still interrupts."""
    try:
        yield
    except click.Abort as error:
        # Click raises the same error for both.
        if isinstance(error.__context__, EOFError):
            echo_error("")  # The question has no newline.
            raise Misuse(message) from None
        raise


def reason_of(error: Exception) -> str:
    """The text of an error without its number and path, which the message has already."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return getattr(error, "strerror", None) or str(error)
