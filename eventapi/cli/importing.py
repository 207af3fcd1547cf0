"""``eventapi log import``: import db.json of the replaced service, all or nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from eventapi.bootstrap.start_check import check_start
from eventapi.bootstrap.storage import SYSTEM, has_log, registry_of
from eventapi.cli.db_json import Contents, Fault, Note, Refused
from eventapi.cli.db_json_reader import read
from eventapi.cli.failures import NegativeResult, echo_error
from eventapi.cli.import_plan import Plan, Renamed, plan
from eventapi.cli.opening import (
    check_data_directory,
    opened_log,
    opened_vault,
    operator,
    state_at,
    writing_journal,
)
from eventapi.cli.options import OpenedFile, json_option, loaded, settings_options
from eventapi.cli.output import print_json, printable
from eventapi.cli.vaults import check_all_have_keys
from eventapi.commands.resources import Import
from eventapi.configuration.settings import Settings
from eventapi.journal.batch import Batch, CommandResult, PendingWrite
from eventapi.journal.origin import NO_ORIGIN
from eventapi.resources.declared import Declared
from events.errors import EmailTaken, UsernameTaken
from events.messages.commands import IMPORT_NEEDS_MENDING, IMPORT_REFUSED, IMPORT_REPEATED
from events.record import entity_number
from events.sealing import Keyring
from events.vault.tombstones import contents_of
from events.vocabulary.resources import Created
from events.vocabulary.users import UserDisabled, UserRegistered
from projections.state import State

_PLAN_ATTEMPTS: Final = 3
"""How often an import is planned: another user may take a name before the write."""


class Renumbered(msgspec.Struct, frozen=True, rename={"old": "from", "new": "to"}):
    """An item that had no number, or one that was in use."""

    owner: str
    old: int | None
    new: int


class ImportResult(msgspec.Struct, frozen=True):
    """The report of an import; an empty file and a dry run have no positions."""

    users: int
    disabled: int
    items: int
    first_position: int | None
    last_position: int | None
    renamed: Sequence[Renamed]
    renumbered: Sequence[Renumbered]
    mended: Sequence[Fault]
    notes: Sequence[Note]


@click.command("import")
@click.argument("file", type=OpenedFile("rb"))
@click.option(
    "--mend",
    is_flag=True,
    help="Change values that cannot be imported, by the rules of docs/importing.md.",
)
@click.option("--dry-run", is_flag=True, help="Report the result of the import, but write nothing.")
@json_option
@settings_options
def import_file(file: Any, mend: bool, dry_run: bool, as_json: bool) -> None:
    """Import FILE, a db.json of the service that this server replaces.

    All of it is imported, or nothing. Texts are imported unchanged. If a value cannot be imported
    unchanged, it is listed with its place, and nothing is imported; --mend changes such values by
    the rules of docs/importing.md and lists each change. Items keep their numbers unless these are
    in use.
    """
    settings = loaded().settings
    try:
        imported = asyncio.run(
            _import_contents(settings, read(file.read()), mend=mend, dry_run=dry_run)
        )
    except Refused as refused:
        _report_faults(refused, as_json)
        can_mend = all(fault.remedy for fault in refused.faults)
        message = IMPORT_NEEDS_MENDING if can_mend else IMPORT_REFUSED
        if refused.is_repeated:
            message = IMPORT_REPEATED
        raise NegativeResult(message.fill(faults=refused)) from None
    if as_json:
        print_json({"imported": not dry_run, **msgspec.to_builtins(imported)})
    else:
        _report(imported, dry_run)


def _report_faults(refused: Refused, as_json: bool) -> None:
    if as_json:
        print_json({"imported": False, "flaws": refused.faults, "notes": refused.notes})
        return
    for line in _note_lines(refused.notes):
        echo_error(line)
    for fault in refused.faults:
        place = f"{fault.place}: " if fault.place else ""
        remedy = f"; with --mend it {fault.remedy}" if fault.remedy else ""
        echo_error(printable(f"{place}{fault.detail}{remedy}"))


def _report(imported: ImportResult, dry_run: bool) -> None:
    start = "dry run, nothing is written: would import" if dry_run else "imported"
    users, items = _count(imported.users, "user"), _count(imported.items, "item")
    click.echo(f"{start} {users} ({imported.disabled:,} disabled) and {items}")
    if imported.last_position is not None:
        click.echo(f"as events {imported.first_position} to {imported.last_position}")
    for fault in imported.mended:
        click.echo(printable(f"{fault.place}: {fault.detail}; it {fault.remedy}"))
    for item in imported.renumbered:
        old = "an item" if item.old is None else f"item {item.old}"
        reason = "it had no number" if item.old is None else "the number was in use"
        click.echo(printable(f"{old} of {item.owner} is now item {item.new}: {reason}"))
    for line in _note_lines(imported.notes):
        click.echo(line)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _note_lines(notes: Sequence[Note]) -> list[str]:
    """Notes as lines; equal notes about several places share one line."""
    places: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        member = note.place.rpartition(".")[2]
        places.setdefault((member, note.detail), []).append(note.place)
    lines = []
    for (_, detail), (first, *others) in places.items():
        more = f" and {len(others):,} more" if others else ""
        lines.append(printable(f"{first}{more}: {detail}"))
    return lines


async def _import_contents(
    settings: Settings, contents: Contents, *, mend: bool, dry_run: bool
) -> ImportResult:
    check_data_directory(settings)
    check_start(settings, begin=True)
    registry = registry_of(settings)
    is_new = not await has_log(settings)
    if is_new or dry_run:
        # Check for faults before the log is created, so that a refusal creates nothing.
        state = State.empty(registry.vocabulary) if is_new else await _current_state(settings)
        planned = _plan_or_refuse(contents, state, registry.item, mend)
        if dry_run:
            return _summary(
                contents, planned, _decide_without_writing(planned, state), dry_run=True
            )
    async with writing_journal(settings, begin=True) as journal:
        for attempt in range(1, _PLAN_ATTEMPTS + 1):
            planned = _plan_or_refuse(contents, await journal.state(), registry.item, mend)
            try:
                outcomes = await journal.execute_all(planned.commands)
                break
            except (UsernameTaken, EmailTaken):
                if attempt == _PLAN_ATTEMPTS:
                    raise
    return _summary(contents, planned, outcomes)


async def _current_state(settings: Settings) -> State:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault)
        check_all_have_keys(await contents_of(vault), state.users.by_id.values())
    return state


def _plan_or_refuse(contents: Contents, state: State, item: Declared, mend: bool) -> Plan:
    """Plan the import; raises `Refused` if it has faults and ``mend`` is false."""
    planned = plan(contents, state, item, operator())
    if planned.faults and not mend:
        raise Refused(planned.faults, contents.notes, is_repeated=planned.is_repeated)
    return planned


def _decide_without_writing(planned: Plan, state: State) -> Sequence[CommandResult]:
    """Decide the commands as the journal would, but write nothing."""
    if not planned.commands:
        return []
    batch = Batch(state, Keyring(), SYSTEM)
    batch.add(PendingWrite(planned.commands, NO_ORIGIN, asyncio.get_running_loop().create_future()))
    ((_, answer),) = batch.answers
    if isinstance(answer, Exception):
        raise answer
    return answer


def _summary(
    contents: Contents, planned: Plan, outcomes: Sequence[CommandResult], *, dry_run: bool = False
) -> ImportResult:
    events = Counter(type(outcome.record.event) for outcome in outcomes)
    positions = [] if dry_run else [outcome.record.position for outcome in outcomes]
    return ImportResult(
        events[UserRegistered],
        events[UserDisabled],
        sum(count for kind, count in events.items() if issubclass(kind, Created)),
        positions[0] if positions else None,
        positions[-1] if positions else None,
        planned.renamed,
        [
            Renumbered(command.owner, command.number, number)
            for command, outcome in zip(planned.commands, outcomes, strict=True)
            if isinstance(command, Import)
            and (number := entity_number(outcome.record.subject)) != command.number
        ],
        planned.faults,
        contents.notes,
    )
