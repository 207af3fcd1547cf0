"""Record that an auditor or operator opens sealed values, before they are shown."""

from __future__ import annotations

from collections.abc import Mapping

from eventapi.accounts.service import Client
from eventapi.commands.security import RecordOpening, openings_of_pack
from eventapi.journal.batch import CommandResult
from events.errors import NotFound, Overloaded
from events.vocabulary.security import PackQuery


async def record_opening(client: Client, actor: str, owner: str, position: int) -> CommandResult:
    """Write that ``actor`` opens the values of ``owner`` at a position.

    Show them only once this returns. ``actor`` is ``users/N``, or ``operator/NAME`` on the command
    line. Raises `Forbidden` if a user is no auditor, `NotFound` if the owner of the values was erased
    meanwhile, and as `Journal.execute` if nothing can be written.
    """
    return await client.execute(RecordOpening(actor, owner, position))


async def record_openings(
    client: Client, actor: str, query: PackQuery, users: Mapping[str, int]
) -> int:
    """Write an event for each user whose values are opened together, all or none.

    Returns the position of the last one, or 0 without users. ``users`` counts the opened values by
    ``sealedfor``. Raises as `record_opening`, but `Overloaded` if a user was erased meanwhile.
    """
    commands = openings_of_pack(actor, query, users)
    try:
        results = await client.execute_all(commands) if commands else []
    except NotFound:
        reason = "a user whose values were selected was erased meanwhile; try again"
        raise Overloaded(reason) from None
    return results[-1].record.position if results else 0
