"""Mailed links: forgotten passwords, and verified addresses.

The mails are sent by a follower of the log, after the events.

The requests of an unknown and of a known address must look alike, also while the log cannot be
written. So the log is checked first, whether or not there will be an event, and only that decides
about the answer: a write that fails after it is reported to the operator alone.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

from eventapi.accounts.links import ResetLink, reset_link, verified_email
from eventapi.accounts.service import Accounts, Client
from eventapi.commands.command import Command
from eventapi.commands.mailed_links import (
    RequestEmailVerification,
    RequestPasswordReset,
    ResetPassword,
    VerifyEmail,
    void_link,
)
from eventapi.journal.batch import CommandResult
from eventapi.security.fair_queue import Caller
from events.errors import ActionRefused, EventapiError, NotFound, Overloaded
from events.messages.mails import MAIL_NOT_REQUESTED
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.users import User

logger = logging.getLogger("eventapi.mail")

_RESET_ATTEMPTS: Final = 5
"""How often a reset is repeated because the account was changed meanwhile."""


async def check_log(client: Client) -> None:
    """Raise what a write would raise now; see `Journal.execute_all`."""
    await client.execute_all(())


async def request_reset(client: Client, user: User | None, device: Device) -> None:
    """Request a mail with a link that sets a new password; do nothing without a user.

    Call `check_log` before, and nothing more is raised.
    """
    command = None
    if user is not None and not user.disabled:
        command = RequestPasswordReset(user.id, device)
    await _write_alike(client, command)


async def request_verification(client: Client, user: User | None, device: Device) -> None:
    """Request another mail that verifies an address; see `request_reset`."""
    command = None if user is None else verification_request(user, device)
    await _write_alike(client, command)


def verification_request(user: User, device: Device) -> Command | None:
    """The request of a mail that verifies the newest address, unless that is verified."""
    if user.disabled or user.newest_email_verified:
        return None
    return RequestEmailVerification(user.id, device)


async def _write_alike(client: Client, command: Command | None) -> None:
    """Write a command, or check the log once more; both take a turn at the log."""
    try:
        if command is None:
            await check_log(client)
        else:
            await client.execute(command)
    except EventapiError as error:
        if command is not None:
            logger.warning(MAIL_NOT_REQUESTED.fill(reason=error))


async def reset_password(
    accounts: Accounts, client: Client, token: str, new_password: str
) -> CommandResult:
    """Set a new password by a link; raises `Invalid` if the link is void.

    The first use of a mailed link takes back what was set up before; see `ResetPassword`.
    """
    state = await client.current_state()
    link = _valid_link(accounts, state, token)
    _reset(link, "").check(state)  # Before the hash, which costs a thousand times more.
    caller = Caller("change", f"users/{link.user}")
    reset = _reset(link, await accounts.hash(client, new_password, caller))
    for _ in range(_RESET_ATTEMPTS):
        with suppress(ActionRefused, NotFound):  # A key or a factor came or went meanwhile.
            earlier = reset.withdrawals(await client.current_state())
            return (await client.execute_all([*earlier, reset]))[-1]
    raise Overloaded("the account changes all the time; try again")


def _valid_link(accounts: Accounts, state: State, token: str) -> ResetLink:
    link = reset_link(accounts.texts, state.last.source, state.users.by_id, token)
    if link is None or link.expires <= accounts.journal.clock.seconds():
        raise void_link()
    return link


def _reset(link: ResetLink, password_hash: str) -> ResetPassword:
    return ResetPassword(link.user, link.request, link.mailed_to, password_hash)


async def verify_email(accounts: Accounts, client: Client, token: str) -> CommandResult | None:
    """Verify an address by a mailed link; ``None`` if it is verified already.

    Raises `Invalid` if the link is void.
    """
    state = await client.current_state()
    found = verified_email(accounts.texts, state, token, accounts.journal.clock.seconds())
    if found is None:
        raise void_link()
    user, email = found
    command = VerifyEmail(user.id, email)
    with suppress(ActionRefused):
        command.decide(state)  # Without a write first, because links are often opened again.
        return await client.execute(command)
    return None
