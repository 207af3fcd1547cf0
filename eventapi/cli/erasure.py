"""Erase a user from the command line."""

from __future__ import annotations

import asyncio

import click

from eventapi.cli.failures import NegativeResult, ended_input_is
from eventapi.cli.opening import opened_log, opened_vault, state_at, writing_journal
from eventapi.cli.output import printable
from eventapi.cli.vaults import find_user
from eventapi.commands.users import EraseUser
from eventapi.configuration.settings import Settings
from events.errors import EventapiError
from events.messages.accounts import NO_ANSWER, NOT_ERASED


def confirm_erasure(settings: Settings, username: str) -> None:
    """Ask whether to erase a user.

    Raises `NegativeResult` for no, `Misuse` without an answer, and the errors of `find_user`.
    """
    question = asyncio.run(_question(settings, username))
    with ended_input_is(NO_ANSWER):
        is_confirmed = click.confirm(question, err=True)
    if not is_confirmed:
        raise NegativeResult(NOT_ERASED.fill(name=printable(username)))


async def _question(settings: Settings, username: str) -> str:
    """The question that names the user and the number of items."""
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault)
        user = await find_user(state, vault, username)
    items = len(state["items"].by_owner[user.id])
    return (
        f"Erase {user.subject} {printable(user.username)} "
        f"({items:,} item{'' if items == 1 else 's'}, registered {user.created_at[:10]})? "
        "This cannot be undone."
    )


async def erase_user(
    settings: Settings, command: EraseUser
) -> tuple[frozenset[str], EventapiError | None]:
    """Erase a user; return the subjects of whom something is left, and the reason."""
    async with writing_journal(settings) as journal:
        await journal.execute(command)
        return journal.pending_destruction, journal.destruction_failure


async def finish_erasures(settings: Settings) -> None:
    """Start a journal, which destroys the remaining keys of erased users or fails."""
    async with writing_journal(settings):
        pass
