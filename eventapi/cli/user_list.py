"""The list of ``eventapi users list``."""

from __future__ import annotations

import msgspec

from eventapi.cli.opening import opened_log, opened_vault, state_at
from eventapi.configuration.settings import Settings
from events.vault.tombstones import contents_of
from projections.state import State
from projections.tables.users import User


class Listed(msgspec.Struct, frozen=True):
    """A row of the list of users; ``items`` is the number of live items."""

    number: int
    username: str
    email: str
    email_verified: bool
    full_name: str | None
    status: str
    roles: list[str]
    items: int
    created_at: str


def listed(user: User, state: State) -> Listed:
    """The row of a user."""
    return Listed(
        user.id,
        user.username,
        user.newest_email,
        user.newest_email_verified,
        user.full_name,
        user.status,
        sorted(user.roles),
        len(state["items"].by_owner[user.id]),
        user.created_at,
    )


async def living_users(settings: Settings) -> list[Listed]:
    """The users who are erased neither in the log nor, later than that, in the vault."""
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault)
        erased = (await contents_of(vault)).erased
    return [
        listed(user, state)
        for user in state.users.by_id.values()
        if user.status != "erased" and user.subject not in erased
    ]
