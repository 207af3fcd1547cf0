"""App factories for uvicorn: servers with a planted bug in accounts or mail, or a short lease.

The bugs are controls: a check that does not find the bug proves nothing.
"""

from __future__ import annotations

import asyncio

from litestar.types import ASGIApp
from sqlalchemy import Executable, update

from eventapi import app
from eventapi.accounts import keys as uses
from eventapi.accounts import second_factors
from eventapi.commands import keys
from eventapi.commands.command import Decision
from eventapi.commands.mailed_links import ResetPassword
from eventapi.commands.second_factors import UseSecondFactor
from eventapi.followers import runner, sql
from eventapi.followers.backoff import Backoff
from eventapi.followers.parking import Parking
from eventapi.followers.port import Lease, Progress
from eventapi.mail.outbox import Outbox
from eventapi.mail.transport import Confirm, Mail
from eventapi.security import totp
from events.database.tables import FOLLOWERS
from events.vocabulary.users import PasswordHash, UserPasswordReset, UserSecondFactorUsed
from projections.state import State
from projections.tables.users import User
from tests.end_to_end.planted import plant

SLOW_MAIL_SECONDS = 5.0


def links_work_again() -> ASGIApp:
    """Bug: a link that set a password sets another one."""

    def check(command: ResetPassword, state: State) -> User:
        return state.users.by_id[command.user]

    def decide(command: ResetPassword, _: State) -> Decision:
        event = UserPasswordReset(
            command.request,
            command.mailed_to is not None,
            personal=PasswordHash(command.password_hash),
        )
        user = f"users/{command.user}"
        return Decision(user, event, user, user)

    plant(ResetPassword, "check", check)
    plant(ResetPassword, "decide", decide)
    return app.create_app()


def every_use_recorded() -> ASGIApp:
    """Bug: each use of an API key has an event."""
    for place in (uses, keys):
        plant(place, "is_use_due", lambda *_: True)
    return app.create_app()


def codes_remembered_by_each_worker() -> ASGIApp:
    """Bug: used codes are in the memory of the worker that accepted them."""
    used: set[str] = set()

    async def use_of(*given: object) -> UseSecondFactor | None:
        accounts, _, state, user, code = given
        factor = state.second_factors.by_user[user.id]  # type: ignore[attr-defined]
        now = accounts.journal.clock.seconds()  # type: ignore[attr-defined]
        step = totp.matching_step(factor.secret, str(code), now)
        if step is None or code in used:
            return None
        used.add(str(code))
        return UseSecondFactor(user.id, step=step)  # type: ignore[attr-defined]

    def decide(command: UseSecondFactor, _: State) -> Decision:
        user = f"users/{command.user}"
        return Decision(user, UserSecondFactorUsed(command.step, None), user, user)

    plant(second_factors, "_use_of", use_of)
    plant(UseSecondFactor, "decide", decide)
    return app.create_app()


def follower_without_position() -> ASGIApp:
    """Bug: a new holder begins at the end of the log; mails are slow."""

    async def begin(follower: runner.Runner, lease: Lease) -> runner._Position:
        position = follower._watcher.position
        parking = Parking(follower.follower.name, lease, (), Backoff().seconds)
        return runner._Position(lease, parking, Progress(position), position)

    send = Outbox.send

    async def send_slowly(outbox: Outbox, mail: Mail, confirm: Confirm) -> None:
        await asyncio.sleep(SLOW_MAIL_SECONDS)
        await send(outbox, mail, confirm)

    plant(runner.Runner, "_begin", begin)
    plant(Outbox, "send", send_slowly)
    return app.create_app()


def short_lease() -> ASGIApp:
    """No bug: a test waits less for the end of a lease."""
    plant(sql, "LEASE_SECONDS", 12)
    plant(sql, "_RENEW_SECONDS", 2.0)
    return app.create_app()


def endless_lease() -> ASGIApp:
    """Bug: the lease of a stopped holder does not end."""
    plant(sql, "LEASE_SECONDS", 86_400)
    return app.create_app()


def unfenced_lease() -> ASGIApp:
    """Bug: a former holder stores its progress, and does not notice its loss."""

    async def keep(_: sql._SqlLease) -> None:
        await asyncio.Event().wait()

    async def renew(lease: sql._SqlLease, *then: Executable, **values: object) -> bool:
        until = lease._store.now + sql.LEASE_SECONDS
        mine = update(FOLLOWERS).where(FOLLOWERS.c.name == lease._name)
        return await lease._store.change(mine.values(lease_until=until, **values), *then)

    plant(sql._SqlLease, "keep", keep)
    plant(sql._SqlLease, "_renew", renew)
    plant(sql._SqlLease, "check", lambda _: None)
    return short_lease()
