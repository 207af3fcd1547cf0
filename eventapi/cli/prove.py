"""``eventapi log checkpoint`` and ``log prove``: signed tree heads and proofs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TextIO

import click

from eventapi.bootstrap.storage import checkpoints_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import opened_log
from eventapi.cli.options import OpenedFile, loaded, settings_options
from events.errors import SigningSuspended
from events.messages.commands import NO_POSITION, NOT_A_CHECKPOINT
from events.transparency.checkpoints import Checkpoints


@click.command()
@click.option("--key", is_flag=True, help="Print the verifier key instead of a checkpoint.")
@click.option(
    "--cosigned",
    type=OpenedFile(encoding="utf-8"),
    metavar="FILE",
    help="Store the signatures of witnesses in FILE, a checkpoint of this log.",
)
@click.option(
    "--newest-cosigned", is_flag=True, help="Print the newest checkpoint that witnesses cosigned."
)
@settings_options
def checkpoint(key: bool, cosigned: TextIO | None, newest_cosigned: bool) -> None:
    """Print the signed tree head of the log: a C2SP checkpoint.

    A checkpoint that contradicts an earlier one is never signed.
    """
    if key + (cosigned is not None) + newest_cosigned > 1:
        raise click.UsageError("give only one of --key, --cosigned and --newest-cosigned")

    async def work(checkpoints: Checkpoints) -> str:
        if key:
            return f"{(await checkpoints.verifier()).vkey}\n"
        if cosigned is not None:
            return str(await checkpoints.cosign(_read_text(cosigned)))
        if newest_cosigned:
            return str(await checkpoints.newest_cosigned())
        return str(await checkpoints.current())

    click.echo(_run_with_checkpoints(work), nl=False)


@click.command()
@click.argument("position", type=click.IntRange(min=1), required=False)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="Prove that the log still begins with the same first SIZE events.",
)
@settings_options
def prove(position: int | None, since: int | None) -> None:
    """Prove that the event at POSITION is in the log: a C2SP tlog-proof."""
    if (position is None) == (since is None):
        raise click.UsageError("give either POSITION or --since")

    async def work(checkpoints: Checkpoints) -> str:
        size = await checkpoints.tree.grow()
        if position is not None and position > size:
            raise NegativeResult(NO_POSITION.fill(position=position, end=size))
        if position is not None:
            return str(await checkpoints.inclusion(position))
        return str(await checkpoints.consistency(since or 0))

    click.echo(_run_with_checkpoints(work), nl=False)


def _read_text(file: TextIO) -> str:
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise NegativeResult(NOT_A_CHECKPOINT.fill(path=file.name, reason=error)) from None


def _run_with_checkpoints(work: Callable[[Checkpoints], Awaitable[str]]) -> str:
    async def run() -> str:
        settings = loaded().settings
        async with opened_log(settings) as log:
            return await work(checkpoints_of(settings, log))

    try:
        return asyncio.run(run())
    except SigningSuspended as error:
        raise NegativeResult(error.message) from None
