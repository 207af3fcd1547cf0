"""How a command ends when it does not end well: one clear line on stderr and an exit code."""

from __future__ import annotations

from typing import Final

import click

DONE: Final = 0
ANSWER_IS_NO: Final = 1
MISUSE: Final = 2
COULD_NOT_RUN: Final = 3
INTERRUPTED: Final = 128 + 2
CLOSED_PIPE: Final = 128 + 13
"""The last two as a shell reports a death by SIGINT and by SIGPIPE."""


class Failure(click.ClickException):
    """The command could not run."""

    exit_code = COULD_NOT_RUN

    def show(self, file: object = None) -> None:
        click.echo(f"eventapi: {self.message}", err=True)


class Misuse(Failure):
    """What was asked for makes no sense: a setting or an option is wrong."""

    exit_code = MISUSE


class AnswerIsNo(Failure):
    """The command ran, and the answer is no."""

    exit_code = ANSWER_IS_NO
