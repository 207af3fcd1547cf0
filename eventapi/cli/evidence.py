"""``eventapi log evidence``: lines of the log and everything that proves them."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final

import click

from eventapi.accounts.service import Operator
from eventapi.bootstrap.storage import checkpoints_of
from eventapi.cli.export import check_output, is_stdout, open_output
from eventapi.cli.failures import Misuse, NegativeResult
from eventapi.cli.opening import (
    opened_log,
    opened_vault,
    operator,
    state_at,
    writing_journal,
)
from eventapi.cli.options import UTF8, FilePath, loaded, settings_options
from eventapi.cli.output import progress_bar
from eventapi.cli.times import AT, check_order
from eventapi.cli.vaults import find_user
from eventapi.configuration.settings import Settings
from eventapi.evidence.selection import Selection, select
from eventapi.evidence.writer import EvidenceWriter
from eventapi.queries.history import History
from eventapi.queries.subscriptions import LogWatcher
from events.errors import SigningSuspended
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vault.port import Vault

COLLECTING: Final = "collecting evidence"


@click.command("evidence")
@click.option(
    "--subject", type=UTF8, metavar="SUBJECT", help="The events of a subject, for example items/7."
)
@click.option(
    "--user",
    type=UTF8,
    metavar="NAME",
    help="The events that a user caused, and those about the user, also as users/7.",
)
@click.option("--since", type=AT, help="Only events from a position or an RFC 3339 time on.")
@click.option("--until", type=AT, help="Only events up to a position or an RFC 3339 time.")
@click.option("--open", "opened", is_flag=True, help="Add the sealed values whose keys exist.")
@click.argument("out", type=FilePath(allow_dash=True))
@settings_options
def evidence(  # noqa: PLR0917 - click passes them by name
    subject: str | None,
    user: str | None,
    since: int | str | None,
    until: int | str | None,
    opened: bool,
    out: Path,
) -> None:
    """Collect evidence: events with proofs, and programs that check them anywhere.

    OUT is a new zip, or `-` for standard output. Its README.txt is for a person, and its verify.py
    and verify.html name every fault. Opening values is itself recorded as an event.
    """
    if (subject is None) == (user is None):
        raise click.UsageError("give either --subject or --user")
    check_order("since", since, "until", until)
    settings = loaded().settings
    check_output(out, settings)
    if out.is_file() and not is_stdout(out):
        raise Misuse(f"{out} exists already")
    selection = Selection(subject, user, since, until, opened)
    with open_output(out) as file:
        asyncio.run(_collect(settings, selection, file))


async def _collect(settings: Settings, selection: Selection, out: BinaryIO) -> None:
    try:
        async with opened_log(settings) as log, _vault(settings, selection) as vault:
            keyring = Keyring()
            state = await state_at(settings, log, vault, keyring=keyring, from_zero=True)
            if selection.user is not None and "/" not in selection.user:  # No number of a user.
                await find_user(state, vault, selection.user)
            history = History(log, keyring, vault, None, lambda: state.vocabulary)
            selected = await select(selection, state, history, LogWatcher(log))
            checkpoints = checkpoints_of(settings, log)
            writer = EvidenceWriter(selection, selected, history, checkpoints, keyring)
            if selection.open:
                async with writing_journal(settings) as journal:
                    await writer.record_openings(Operator(journal), operator())
            with progress_bar(COLLECTING, writer.lines_to_read) as progress:
                async for part in writer.parts():
                    out.write(part)
                    progress(writer.lines_read)
    except SigningSuspended as error:
        raise NegativeResult(error.message) from None


def _vault(settings: Settings, selection: Selection) -> AbstractAsyncContextManager[Vault]:
    """The vault, which is needed only for names and values to open."""
    if selection.open or selection.user is not None:
        return opened_vault(settings)
    return nullcontext(MemoryVault())
