"""``eventapi log show`` and ``log tail``: print events."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

import click
import msgspec

from eventapi.bootstrap.storage import registry_of
from eventapi.cli.failures import Failure, Misuse
from eventapi.cli.opening import open_runs, opened_log, opened_vault
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import echo_warning, printable
from eventapi.cli.times import AT, check_order
from eventapi.configuration.settings import Settings
from events.codec import clear_bytes, parse
from events.errors import VaultUnavailable
from events.log.port import EventLog
from events.log.search import last_position, read_backwards
from events.messages.commands import LINE_UNREADABLE, NO_SUCH_TYPE, OPEN_WITH_JSON, VALUES_CLOSED
from events.record import Line
from events.sealing import Keyring
from events.vault.port import Vault
from events.vocabulary.schemas import SchemaDeclared
from events.vocabulary.users import without_secrets
from events.well_formed import can_be_actor, can_be_subject

_POLL_SECONDS: Final = 0.05


class _Filter(msgspec.Struct, frozen=True):
    """Selects the events that match every member that is not ``None``.

    ``since`` and ``until`` are points of the log, both inclusive. ``after`` is a position in the order
    of reading.
    """

    after: int | None
    limit: int | None
    since: int | str | None
    until: int | str | None
    descending: bool
    type: str | None
    subject: str | None
    actor: str | None

    @property
    def is_unfiltered(self) -> bool:
        """Whether every event matches, so that lines need not be parsed."""
        return self.type is None and self.subject is None and self.actor is None

    def matches(self, line: Line) -> bool:
        """Whether an event is selected."""
        return (
            self.type in {None, line.type}
            and self.subject in {None, line.subject}
            and self.actor in {None, line.actor}
        )


def _checked(can_be: Callable[[str], bool], noun: str) -> Callable[..., str | None]:
    """The callback of an option that refuses a text which no event can have."""

    def check(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
        if text is not None and not can_be(text):
            raise click.BadParameter(f"it must be {noun}.")
        return text

    return check


@click.command()
@click.option("--after", type=click.IntRange(min=0), help="Start after this position, in order.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of events.")
@click.option(
    "--type", "type_", metavar="TYPE", help="Only events of this type, for example item.created."
)
@click.option(
    "--subject",
    callback=_checked(can_be_subject, "a subject, such as items/7"),
    help="Only events of this subject, for example items/7.",
)
@click.option(
    "--actor",
    callback=_checked(can_be_actor, "an actor, such as users/1 or operator/root"),
    help="Only events of this actor, for example users/1.",
)
@click.option("--since", type=AT, help="Only events at or after this position or RFC 3339 time.")
@click.option("--until", type=AT, help="Only events at or before this position or RFC 3339 time.")
@click.option(
    "--order",
    type=click.Choice(["asc", "desc"]),
    default="asc",
    show_default=True,
    help="Oldest first, or newest first.",
)
@click.option("--open", "opened", is_flag=True, help="Decrypt personal values whose keys exist.")
@click.option("--json", "raw", is_flag=True, help="Print the lines of the log, byte for byte.")
@settings_options
def show(  # noqa: PLR0917 - click passes them by name
    after: int | None,
    limit: int | None,
    type_: str | None,
    subject: str | None,
    actor: str | None,
    since: int | str | None,
    until: int | str | None,
    order: str,
    opened: bool,
    raw: bool,
) -> None:
    """Show events, oldest first."""
    if opened and raw:
        raise Misuse(OPEN_WITH_JSON)
    check_order("since", since, "until", until)
    selection = _Filter(after, limit, since, until, order == "desc", type_, subject, actor)
    asyncio.run(_show(loaded().settings, selection, opened, raw))


async def _show(settings: Settings, selection: _Filter, opened: bool, raw: bool) -> None:
    async with opened_log(settings) as log, AsyncExitStack() as stack:
        opener = _ValueOpener(await enter_vault(stack, settings) if opened else None)
        is_empty = True
        async with aclosing(_filtered_lines(log, selection)) as lines:
            async for position, line in lines:
                is_empty = False
                if raw:
                    sys.stdout.buffer.write(line + b"\n")
                else:
                    click.echo(await _format_line(_parse(line, position), opener))
        if is_empty and selection.type is not None:
            await _check_type(settings, log, selection.type)


async def _check_type(settings: Settings, log: EventLog, type_: str) -> None:
    """Raise `Misuse` for a type that no declaration has, nor any event of the log.

    The log may have types that only a newer version, or a resource that is not named here, declares.
    """
    types = registry_of(settings).vocabulary.types
    if type_ in types:
        return
    kind = type_.partition(".")[0]
    async with aclosing(_numbered(log, 0, log.position, False)) as lines:
        async for position, line in lines:
            event = _parse(line, position)
            if event.type == type_ or _declares(event, kind):
                return
    raise Misuse(NO_SUCH_TYPE.fill(type=printable(type_), types=", ".join(sorted(types))))


def _declares(event: Line, kind: str) -> bool:
    """Whether an event declares a kind, whose other types may still come."""
    if event.type != SchemaDeclared.type:
        return False
    try:
        return msgspec.json.decode(event.data, type=SchemaDeclared).kind == kind
    except msgspec.ValidationError:  # A newer version may write more.
        return False


async def enter_vault(stack: AsyncExitStack, settings: Settings) -> Vault | None:
    """Open the vault; if it cannot be read, warn, and the values stay sealed."""
    try:
        return await stack.enter_async_context(opened_vault(settings))
    except VaultUnavailable as error:
        echo_warning(VALUES_CLOSED.fill(reason=error))
        return None


async def _filtered_lines(
    log: EventLog, selection: _Filter
) -> AsyncGenerator[tuple[int, bytes], None]:
    left = selection.limit
    after, upto = await _bounds(log, selection)
    if left is not None and selection.is_unfiltered and not selection.descending:
        upto = min(upto, after + left)
    async with aclosing(_numbered(log, after, upto, selection.descending)) as lines:
        async for position, line in lines:
            if not selection.is_unfiltered and not selection.matches(_parse(line, position)):
                continue
            yield position, line
            left = None if left is None else left - 1
            if left == 0:
                return


async def _bounds(log: EventLog, selection: _Filter) -> tuple[int, int]:
    """The positions to read: those after the first one, up to the second one."""
    since, until, cursor = selection.since, selection.until, selection.after
    after, upto = 0, log.position
    if isinstance(since, str):
        after = await last_position(log, upto, lambda time: time < since)
    elif since is not None:
        after = max(since - 1, 0)
    if isinstance(until, str):
        upto = await last_position(log, upto, lambda time: time <= until)
    elif until is not None:
        upto = min(upto, until)
    if cursor is not None and selection.descending:
        return after, min(upto, cursor - 1)
    return max(after, cursor or 0), upto


async def _numbered(
    log: EventLog, after: int, upto: int, descending: bool
) -> AsyncGenerator[tuple[int, bytes], None]:
    """The lines of a part of the log, each with its position."""
    if descending:
        async for numbered in read_backwards(log, after, upto):
            for one in numbered:
                yield one
        return
    position = after
    async with open_runs(log, after, upto) as runs:
        async for lines in runs:
            for line in lines:
                position += 1
                yield position, line


def _parse(line: bytes, position: int) -> Line:
    try:
        return parse(line)
    except ValueError as error:
        raise Failure(LINE_UNREADABLE.fill(position=position, reason=error)) from None


class _ValueOpener:
    """Decrypts personal values; reads each key from the vault when first needed."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault
        self._keyring = Keyring()
        self._fetched: set[str] = set()

    async def open(self, line: Line) -> object:
        """Decrypt what is sealed on a line except secrets; without the key return "…".

        Without secrets it is the exact text, which proves itself by the commitment of the line.
        """
        subject = line.sealedfor
        if self._vault is not None and subject not in self._fetched:
            self._fetched.add(subject)
            for name, key in (await self._vault.get([subject])).items():
                self._keyring.add(name, key)
        try:
            clear = clear_bytes(line, self._keyring)
            if clear is None:
                return "…"
            values = msgspec.json.decode(clear, type=dict[str, Any])
        except ValueError as error:
            raise Failure(LINE_UNREADABLE.fill(position=line.id, reason=error)) from None
        shown = without_secrets(line.type, values)
        if len(shown) == len(values):
            return msgspec.Raw(clear)
        return dict.fromkeys(values, "…") | shown


async def _format_line(line: Line, opener: _ValueOpener) -> str:
    """Format an event as one line of text."""
    data: Any = msgspec.json.decode(line.data)
    if not isinstance(data, dict):
        data = {"data": data}  # Written by a newer version, or damaged.
    if isinstance(data.get("sealed"), str):
        data["sealed"] = await opener.open(line)
    values = " ".join(
        f"{name}={msgspec.json.encode(value).decode()}" for name, value in data.items()
    )
    time = line.time[:19].replace("T", " ")
    cells = f"{line.id:>8}  {time}  {line.type:<22} {line.subject:<12} {line.actor:<14} {values}"
    return printable(cells.rstrip())


@click.command()
@click.option(
    "-n",
    "count",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of lines.",
)
@click.option("-f", "--follow", is_flag=True, help="Wait for new events and print them.")
@click.option("--json", is_flag=True, expose_value=False, help="No effect: lines are JSON anyway.")
@settings_options
def tail(count: int, follow: bool) -> None:
    """Print the last lines of the log, byte for byte."""
    asyncio.run(_tail(loaded().settings, count, follow))


async def _tail(settings: Settings, count: int, follow: bool) -> None:
    out = sys.stdout.buffer
    async with opened_log(settings) as log:
        position = await _write_lines(log, log.position - count, out.write)
        out.flush()
        while follow:
            await asyncio.sleep(_POLL_SECONDS)
            if log.position > position:
                position = await _write_lines(log, position, out.write)
                out.flush()


async def _write_lines(log: EventLog, after: int, write: Callable[[bytes], object]) -> int:
    """Write the lines after a position; return the position of the last one."""
    position = max(after, 0)
    async with open_runs(log, position) as runs:
        async for lines in runs:
            write(b"\n".join((*lines, b"")))
            position += len(lines)
    return position
