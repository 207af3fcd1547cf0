"""``eventapi data``: import resources from a file, and export them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from eventapi.bootstrap.storage import SYSTEM, registry_of
from eventapi.cli.export import check_output, is_stdout, open_output
from eventapi.cli.failures import Misuse, NegativeResult, echo_error
from eventapi.cli.opening import (
    check_data_directory,
    opened_log,
    opened_vault,
    operator,
    state_at,
    writing_journal,
)
from eventapi.cli.options import UTF8, FilePath, OpenedFile, json_option, loaded, settings_options
from eventapi.cli.output import print_json, printable
from eventapi.cli.rows import SUFFIXES, Format, Row, RowFault, Rows, row_fault
from eventapi.cli.times import AT
from eventapi.cli.vaults import check_all_have_keys
from eventapi.commands.resources import Import
from eventapi.configuration.settings import Settings
from eventapi.http.schemas.resources import Shape, shape_of
from eventapi.http.schemas.responses import VERSIONS
from eventapi.journal.batch import Batch, CommandResult, PendingWrite
from eventapi.journal.origin import NO_ORIGIN
from events.errors import EventapiError, Invalid, NotFound, Refusal, UnknownKind
from events.record import entity_number
from events.sealing import Keyring
from events.vault.tombstones import contents_of
from projections.replay import replay
from projections.state import State

_LISTED_FAULTS: Final = 100
"""Faults that are listed; the others are counted."""

_form = click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    help="The format; by default that of the file's suffix.",
)
_resource = click.option(
    "--resource", required=True, metavar="COLLECTION", help="The collection, such as invoices."
)


class DataRefused(Exception):
    """A file that cannot be imported."""

    def __init__(self, faults: Sequence[RowFault]) -> None:
        super().__init__()
        self.faults = faults


class Imported(msgspec.Struct, frozen=True):
    """The report of an import; an empty file and a dry run have no positions."""

    imported: bool
    rows: int
    renumbered: int
    first_position: int | None
    last_position: int | None


@click.group()
@settings_options
def data() -> None:
    """Import resources from a file, or export them, as NDJSON or CSV."""


@data.command("import")
@click.argument("file", type=OpenedFile("rb"))
@_resource
@click.option(
    "--owner", type=UTF8, required=True, metavar="NAME", help="The user who gets the resources."
)
@_form
@click.option("--dry-run", is_flag=True, help="Report the result of the import, but write nothing.")
@json_option
@settings_options
def import_data(  # noqa: PLR0917 - click calls it with names
    file: Any, resource: str, owner: str, form: Format | None, dry_run: bool, as_json: bool
) -> None:
    """Import the resources in FILE, all or none.

    The values must obey the same rules as those of requests; every fault is listed with its line and
    field. Quotas do not apply. A resource keeps its `id` unless that was used before, and its
    `created_at`; the owner is always NAME. A running server shows the resources at once.
    """
    settings = loaded().settings
    shape = _shape(settings, resource)
    form = form or _form_of(file.name)
    try:
        rows, faults = Rows(shape).read(file, form)
        if faults:
            faults += _faults_in_log(settings, shape, owner, rows) if rows else ()
            raise DataRefused(sorted(faults, key=attrgetter("line")))
        imported = asyncio.run(_import_rows(settings, shape, owner, rows, dry_run=dry_run))
    except DataRefused as refused:
        _report_faults(refused.faults, as_json)
        count = len(refused.faults)
        listed = f"{count:,} fault{'' if count == 1 else 's'} in the file, listed above"
        raise NegativeResult(f"nothing was imported: {listed}") from None
    if as_json:
        print_json(imported)
        return
    start = "dry run, nothing is written: would import" if dry_run else "imported"
    click.echo(f"{start} {imported.rows:,} {resource} of {printable(owner)}")
    if imported.renumbered:
        click.echo(f"{imported.renumbered:,} got new numbers, because theirs were used before")
    if imported.last_position is not None:
        click.echo(f"as events {imported.first_position} to {imported.last_position}")


def _shape(settings: Settings, collection: str) -> Shape:
    registry = registry_of(settings)
    found = registry.by_collection.get(collection)
    if found is None:
        names = ", ".join(registry.by_collection)
        raise Misuse(f"--resource: there is no collection {collection!r}; there is {names}")
    return shape_of(found, VERSIONS[-1])


def _form_of(name: str) -> Format:
    """The format of a file by its suffix; raises `Misuse`."""
    found = SUFFIXES.get(Path(name).suffix.lower())
    if found is None:
        raise Misuse(f"give --format: {name} does not end in {', '.join(SUFFIXES)}")
    return found


def _report_faults(faults: Sequence[RowFault], as_json: bool) -> None:
    if as_json:
        print_json({"imported": False, "faults": faults})
        return
    for fault in faults[:_LISTED_FAULTS]:
        echo_error(printable(str(fault)))
    if len(faults) > _LISTED_FAULTS:
        echo_error(f"and {len(faults) - _LISTED_FAULTS:,} more")


def _faults_in_log(
    settings: Settings, shape: Shape, owner: str, rows: Sequence[Row]
) -> Sequence[RowFault]:
    """The faults of valid rows beside each other and beside the resources in the log."""
    try:
        asyncio.run(_import_rows(settings, shape, owner, rows, dry_run=True))
    except DataRefused as refused:
        return refused.faults
    except EventapiError:
        pass  # No log, or no owner, yet. The next import says so, after the faults are mended.
    return ()


async def _import_rows(
    settings: Settings, shape: Shape, owner: str, rows: Sequence[Row], *, dry_run: bool
) -> Imported:
    above = max((row.number or 0 for row in rows), default=0)
    commands = [
        Import(shape.resource, owner, row.values, row.created_at, row.number, above, operator())
        for row in rows
    ]
    if dry_run:
        state, keyring = await _current_state(settings)
        return _summary(commands, _decided(state, keyring, owner, commands, rows), dry_run=True)
    check_data_directory(settings)
    async with writing_journal(settings) as journal:
        try:
            results = await journal.execute_all(commands)
        except Refusal as refusal:
            if refusal.part is None:
                raise
            _decided(await journal.state(), journal.keyring, owner, commands, rows)
            raise  # The state has changed since, so only this refusal is known.
    return _summary(commands, results)


async def _current_state(settings: Settings) -> tuple[State, Keyring]:
    keyring = Keyring()
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await replay(log, keyring, vault, registry_of(settings).vocabulary)
        check_all_have_keys(await contents_of(vault), state.users.by_id.values())
    return state, keyring


def _decided(
    state: State, keyring: Keyring, owner: str, commands: Sequence[Import], rows: Sequence[Row]
) -> list[CommandResult]:
    """Decide each command as the journal would, but write nothing.

    Raises `NotFound` if there is no owner, and `DataRefused` with the faults of all rows.
    """
    if state.users.find_by_username(owner) is None:
        raise NotFound(f"there is no user {owner!r}")
    batch = Batch(state, keyring, SYSTEM)
    future: Any = None
    for command in commands:
        batch.add(PendingWrite([command], NO_ORIGIN, future))
    results: list[CommandResult] = []
    faults: list[RowFault] = []
    for row, (_, answer) in zip(rows, batch.answers, strict=True):
        if isinstance(answer, Invalid):
            # A fault of the row as a whole is that its event is too long.
            faults += [
                row_fault(row.line, one.pointer or f"/{_longest(row)}", one.detail)
                for one in answer.faults
            ]
        elif isinstance(answer, Refusal):
            faults.append(RowFault(row.line, "", str(answer)))
        elif isinstance(answer, Exception):
            raise answer
        else:
            results += answer
    if faults:
        raise DataRefused(faults)
    return results


def _longest(row: Row) -> str:
    """The field whose value takes most bytes."""
    return max(row.values, key=lambda name: len(msgspec.json.encode(row.values[name])))


def _summary(
    commands: Sequence[Import], results: Sequence[CommandResult], *, dry_run: bool = False
) -> Imported:
    positions = [] if dry_run else [result.record.position for result in results]
    renumbered = sum(
        command.number is not None and entity_number(result.record.subject) != command.number
        for command, result in zip(commands, results, strict=True)
    )
    return Imported(
        not dry_run,
        len(commands),
        renumbered,
        positions[0] if positions else None,
        positions[-1] if positions else None,
    )


@data.command("export")
@_resource
@click.option("--owner", type=UTF8, metavar="NAME", help="Only the resources of this user.")
@click.option("--at", type=AT, help="A position or an RFC 3339 time; default: now.")
@_form
@click.option(
    "--output",
    type=FilePath(allow_dash=True),
    default="-",
    help="The file to write, completely or not at all; default: standard output.",
)
@settings_options
def export_data(
    resource: str, owner: str | None, at: int | str | None, form: Format | None, output: Path
) -> None:
    """Export the resources of a collection, for `data import`.

    NDJSON is the default for standard output, also as `/dev/stdout`. Resources of erased users are
    never exported.
    """
    settings = loaded().settings
    shape = _shape(settings, resource)
    if form is None and not output.suffix and is_stdout(output):
        form = "ndjson"
    form = form or _form_of(output.name)
    check_output(output, settings)
    with open_output(output) as out:
        asyncio.run(_export(settings, shape, owner, at, form, out))


async def _export(  # noqa: PLR0917 - the options of the command
    settings: Settings,
    shape: Shape,
    owner: str | None,
    at: int | str | None,
    form: Format,
    out: BinaryIO,
) -> None:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault, at)
        kept = await contents_of(vault)
    check_all_have_keys(kept, state.users.by_id.values())
    user = None if owner is None else state.users.find_by_username(owner)
    if owner is not None and user is None:
        raise NotFound(f"there is no user {owner!r}")
    table = state[shape.resource.collection]
    if table.resource is not shape.resource.type:
        raise UnknownKind(f"a newer version of this application has changed {shape.resource.kind}")

    def views() -> Iterator[msgspec.Struct]:
        for number in sorted(table.by_id):
            entity = table.by_id[number]
            holder = state.users.by_id[entity.owner]
            if holder.subject in kept.keys and (user is None or entity.owner == user.id):
                yield shape.view_of(entity, holder.username)

    Rows(shape).write(views(), out, form)
