"""``eventapi log import`` and ``log export``: data in from the old service, and out of this one."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import click
import msgspec

from eventapi.batch import Outcome
from eventapi.cli import db_json
from eventapi.cli.failures import AnswerIsNo, Misuse
from eventapi.cli.opening import (
    opened_log,
    opened_vault,
    operator,
    reading,
    state_at,
    writing_journal,
)
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_json, printable
from eventapi.commands.items import ImportItem
from eventapi.settings import Settings
from events.files import TEMPORARY, make_file, sync_directory
from events.users import UserDisabled
from projections.items import Item
from projections.users import User

Format = Literal["jsonl", "db-json"]


class Renumbered(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """An item whose number was not free."""

    owner: str
    old: int
    new: int


class Imported(msgspec.Struct, frozen=True):
    """What an import brought in; positions are ``None`` where the file was empty."""

    users: int
    disabled: int
    items: int
    first_position: int | None
    last_position: int | None
    renumbered: list[Renumbered]


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def import_file(file: Any, as_json: bool) -> None:
    """Bring in FILE, the db.json of the service that this one replaces, all or nothing.

    Every flaw of the file is listed with its place. Item numbers are kept where they are free.
    """
    settings = loaded().settings
    try:
        imported = asyncio.run(_import(settings, db_json.read(file.read())))
    except db_json.Refused as refused:
        _tell_flaws(refused.flaws, as_json)
        raise AnswerIsNo(f"nothing was imported: {refused}") from None
    if as_json:
        print_json({"imported": True, **msgspec.to_builtins(imported)})
    else:
        _tell(imported)


def _tell_flaws(flaws: Sequence[db_json.Flaw], as_json: bool) -> None:
    if as_json:
        print_json({"imported": False, "flaws": flaws})
        return
    for flaw in flaws:
        place = f"{flaw.place}: " if flaw.place else ""
        click.echo(printable(f"{place}{flaw.detail}"), err=True)


def _tell(imported: Imported) -> None:
    click.echo(
        f"imported {imported.users} users ({imported.disabled} disabled) and {imported.items} items"
    )
    if imported.last_position is not None:
        click.echo(f"as events {imported.first_position} to {imported.last_position}")
    for item in imported.renumbered:
        click.echo(f"item {item.old} of {item.owner} is now item {item.new}: the number was in use")


async def _import(settings: Settings, contents: db_json.Contents) -> Imported:
    wishes = db_json.commands(contents, operator())
    async with writing_journal(settings, begin=True) as journal:
        flaws = db_json.taken(contents, await journal.state())
        if flaws:
            raise db_json.Refused(flaws)
        outcomes = await journal.execute_all(wishes)
    renumbered = [
        Renumbered(wish.owner, wish.number, outcome.entity.id)
        for wish, outcome in zip(wishes, outcomes, strict=True)
        if isinstance(wish, ImportItem)
        and isinstance(outcome.entity, Item)
        and outcome.entity.id != wish.number
    ]
    return _summary(outcomes, renumbered)


def _summary(outcomes: list[Outcome], renumbered: list[Renumbered]) -> Imported:
    positions = [outcome.record.position for outcome in outcomes]
    disabled = sum(isinstance(outcome.record.event, UserDisabled) for outcome in outcomes)
    return Imported(
        sum(isinstance(outcome.entity, User) for outcome in outcomes) - disabled,
        disabled,
        sum(isinstance(outcome.entity, Item) for outcome in outcomes),
        positions[0] if positions else None,
        positions[-1] if positions else None,
        renumbered,
    )


@click.command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "db-json"]),
    default="jsonl",
    show_default=True,
    help="The lines of the log byte for byte, or the file of the service this one replaces.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default="-",
    help="The file to write, whole or not at all; by default standard output.",
)
@settings_options
def export_log(form: Format, output: Path) -> None:
    """Write out the log, or what it adds up to; db-json has the password hashes in it."""
    settings = loaded().settings
    _check_output(output, settings)
    with _written(output) as out:
        asyncio.run(_export_lines(settings, out) if form == "jsonl" else _export_db(settings, out))


def _check_output(output: Path, settings: Settings) -> None:
    log = settings.log_path.resolve()
    own = {log, log.with_name(log.name + ".mark"), log.with_name("vault.sqlite")}
    if output.resolve() in own:
        raise Misuse(f"{output} is the server's own")


@contextmanager
def _written(output: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes its name at the end; a pipe or a device is written as it is."""
    if str(output) == "-":
        yield sys.stdout.buffer
        return
    if output.exists() and not output.is_file():
        with output.open("wb") as out:
            yield out
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}{TEMPORARY}")
    descriptor = make_file(temporary, os.O_WRONLY)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(output)
        sync_directory(output.parent)
    finally:
        temporary.unlink(missing_ok=True)


async def _export_lines(settings: Settings, out: BinaryIO) -> None:
    async with opened_log(settings) as log, reading(log) as runs:
        async for lines in runs:
            out.write(b"\n".join((*lines, b"")))


async def _export_db(settings: Settings, out: BinaryIO) -> None:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        out.write(db_json.write(await state_at(log, vault)))
