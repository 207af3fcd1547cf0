"""The option ``--reason`` of commands that write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from eventapi.cli.options import UTF8
from eventapi.journal.origin import Origin
from eventapi.values.reasons import reason_fault

_REASON: Final = "eventapi.reason"

Function = Callable[..., Any]


def reason_option(function: Function) -> Function:
    """Add the option ``--reason``, whose value `command_origin` returns."""
    return click.option(
        "--reason",
        metavar="TEXT",
        type=UTF8,
        callback=_check,
        expose_value=False,
        help="Why, up to 500 characters; it is sealed into the event.",
    )(function)


def command_origin() -> Origin:
    """What the lines of the running command record about it."""
    return Origin(reason=click.get_current_context().meta.get(_REASON, ""))


def _check(context: click.Context, _: click.Parameter, reason: str | None) -> None:
    if not reason:
        return
    fault = reason_fault(reason)
    if fault is not None:
        raise click.BadParameter(f"it {fault}.")
    context.meta[_REASON] = reason
