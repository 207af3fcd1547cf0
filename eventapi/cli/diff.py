"""``eventapi log diff``: what differs between two moments."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final

import click
import msgspec
from msgspec import UNSET

from eventapi.bootstrap.storage import registry_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import REPLAYING, opened_log
from eventapi.cli.options import json_option, loaded, settings_options
from eventapi.cli.output import print_json, print_table, progress_bar
from eventapi.cli.show import enter_vault
from eventapi.cli.times import AT, check_order
from eventapi.configuration.settings import Settings
from eventapi.queries.differences import Difference, Selection, Span, differences
from eventapi.queries.history import History
from events.errors import Invalid
from events.messages.commands import NO_POSITION
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay
from projections.state import State


class DiffResult(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The positions of two moments, and every entity that is not the same at both."""

    start: int
    end: int
    items: list[Difference]


_HIDDEN: Final = "…"


@click.command()
@click.option(
    "--from",
    "start",
    type=AT,
    help="A position or an RFC 3339 time; default: the start.",
)
@click.option("--to", "end", type=AT, help="A position or an RFC 3339 time; default: now.")
@click.option("--subject", default="", help="Only this collection or entity: items, or items/7.")
@click.option("--open", "opened", is_flag=True, help="Decrypt personal values whose keys exist.")
@json_option
@settings_options
def diff(
    start: int | str | None, end: int | str | None, subject: str, *, opened: bool, as_json: bool
) -> None:
    """Show what differs between two moments, entity by entity.

    Users, resources, API keys and webhooks are compared. Of an erased entity only the erasure is shown.
    """
    start = 0 if start is None else start
    check_order("from", start, "to", end)
    found = asyncio.run(_diff(loaded().settings, start, end, subject, opened=opened))
    if as_json:
        print_json(found)
    else:
        headers = ("subject", "change", "field", "before", "after")
        print_table(headers, [row for one in found.items for row in _rows(one)])


async def _diff(
    settings: Settings, start: int | str, end: int | str | None, subject: str, *, opened: bool
) -> DiffResult:
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(opened_log(settings))
        vault = await enter_vault(stack, settings) or MemoryVault()
        keyring, vocabulary = Keyring(), registry_of(settings).vocabulary
        with progress_bar(REPLAYING, log.position) as bar:
            state = await replay(
                log, keyring, vault, vocabulary, progress=bar, defer_read_models=True
            )
        history = History(log, keyring, vault, None, lambda: state.vocabulary)
        span = Span(
            await _position(history, state, start),
            state.position if end is None else await _position(history, state, end),
        )
        check_order("from", span.start, "to", span.end)
        selection = Selection(subject, limit=sys.maxsize)
        try:
            found = await differences(history, state, span, selection, 0, opened=opened)
        except Invalid as error:
            (fault,) = error.faults
            raise click.BadParameter(fault.detail, param_hint="'--subject'") from None
        return DiffResult(span.start, span.end, [*found.items])


async def _position(history: History, state: State, point: int | str) -> int:
    if isinstance(point, int) and point > state.position:
        raise NegativeResult(NO_POSITION.fill(position=point, end=state.position))
    return await history.position(point, state)


def _rows(found: Difference) -> Iterator[tuple[str, ...]]:
    """A row for each value that differs, or one row if none is known."""
    name = found.subject, found.change
    for field, change in found.fields.items():
        yield *name, field, _text(change.before), _text(change.after)
    for field in found.sealed:
        is_there = found.change != "created", found.change != "deleted"
        yield *name, field, *(_HIDDEN if one else "" for one in is_there)
    if not found.fields and not found.sealed:
        yield *name, "", "", ""


def _text(value: object) -> str:
    return "" if value is UNSET else msgspec.json.encode(value).decode()
