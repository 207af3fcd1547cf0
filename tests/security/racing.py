"""App factories for uvicorn whose commands skip their checks, as controls of the races."""

from __future__ import annotations

from typing import Any
from unittest import mock

from litestar.types import ASGIApp

from eventapi import app
from eventapi.commands import keys, mailed_links, second_factors
from eventapi.commands.command import Command, Decision
from events.vocabulary.users import (
    PasswordHash,
    RecoveryHashes,
    UserEmailVerified,
    UserPasswordReset,
    UserSecondFactorUsed,
    UserTotpEnabled,
    VerifiedEmail,
)
from projections.state import State


def careless_commands() -> ASGIApp:
    """Bug: what was checked before the log's lock is not checked again under it."""

    def reset(command: Any, _: State) -> Decision:
        personal = PasswordHash(command.password_hash or "none")
        event = UserPasswordReset(command.request, command.mailed_to is not None, personal=personal)
        return _by_user(command.user, event)

    def verify(command: Any, _: State) -> Decision:
        return _by_user(command.user, UserEmailVerified(personal=VerifiedEmail(command.email)))

    def use(command: Any, _: State) -> Decision:
        event = UserSecondFactorUsed(step=command.step)
        if command.step is None:
            event = UserSecondFactorUsed(recovery=0)
        return _by_user(command.user, event)

    def enable(command: Any, _: State) -> Decision:
        hashes = RecoveryHashes(list(command.recovery_hashes))
        return _by_user(command.user, UserTotpEnabled(command.step, personal=hashes))

    _plant(mailed_links.ResetPassword, reset)
    mock.patch.object(mailed_links.ResetPassword, "withdrawals", return_value=()).start()
    _plant(mailed_links.VerifyEmail, verify)
    _plant(second_factors.UseSecondFactor, use)
    _plant(second_factors.EnableTotp, enable)
    mock.patch.object(keys, "MAX_KEYS", 10_000).start()
    return app.create_app()


def _by_user(user: int, event: Any) -> Decision:
    subject = f"users/{user}"
    return Decision(subject, event, subject, subject)


def _plant(command: type[Command], decide: Any) -> None:
    mock.patch.object(command, "decide", decide).start()
