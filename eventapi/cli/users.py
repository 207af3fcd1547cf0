"""``eventapi users``: list, create and change user accounts."""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from getpass import GetPassWarning
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from eventapi.accounts.links import reset_path
from eventapi.accounts.service import Operator, register
from eventapi.bootstrap.storage import registry_of
from eventapi.cli.account_export import export_account
from eventapi.cli.erasure import confirm_erasure, erase_user, finish_erasures
from eventapi.cli.export import check_output, open_output
from eventapi.cli.failures import Failure, Misuse, NegativeResult, echo_error, ended_input_is
from eventapi.cli.opening import (
    operator,
    stored_secret_keys,
    writing_journal,
)
from eventapi.cli.options import UTF8, FilePath, loaded, settings_options
from eventapi.cli.output import print_json, print_table, printable
from eventapi.cli.reasons import command_origin, reason_option
from eventapi.cli.user_list import Listed, listed, living_users
from eventapi.commands.command import Command
from eventapi.commands.operators import RequestPasswordResetFor
from eventapi.commands.second_factors import RemoveTotp
from eventapi.commands.users import (
    DisableUser,
    EnableUser,
    EraseUser,
    GrantRole,
    RevokeRole,
    SetEmail,
    named,
)
from eventapi.configuration.settings import Settings
from eventapi.http.schemas.requests import Registration
from eventapi.journal.batch import CommandResult
from eventapi.security.passwords import Passwords
from eventapi.security.signed_texts import SignedTexts
from eventapi.values.rules import normal_email
from eventapi.values.validation import faults_of
from events.errors import ActionRefused, Invalid, MailNotRemoved
from events.messages.accounts import (
    ERASED_KEY_LEFT,
    ERASED_MAILS_LEFT,
    NO_PASSWORD,
    NO_ROLE,
    NO_TERMINAL,
)
from events.vocabulary.users import Profile, Role
from projections.state import State
from projections.tables.users import User


@click.group()
@settings_options
def users() -> None:
    """List, create and change user accounts."""


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_users(as_json: bool) -> None:
    """List all users except erased ones, whose data is gone."""
    listed_users = asyncio.run(living_users(loaded().settings))
    if as_json:
        print_json(listed_users)
        return
    rows = [
        [
            user.number,
            user.username,
            user.email,
            "yes" if user.email_verified else "no",
            user.full_name or "",
            user.status,
            ",".join(user.roles),
            user.items,
            user.created_at,
        ]
        for user in listed_users
    ]
    print_table([name.replace("_", " ") for name in Listed.__struct_fields__], rows)


@users.command()
@click.argument("username", type=UTF8)
@click.argument("email", type=UTF8)
@click.option("--full-name", type=UTF8, help="The full name of the user.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def create(
    username: str, email: str, full_name: str | None, password_stdin: bool, as_json: bool
) -> None:
    """Create an account; prompts for the password."""
    settings = loaded().settings
    password = _piped_password() if password_stdin else _typed_password()
    body = {"username": username, "email": email, "password": password, "full_name": full_name}
    faults = faults_of(body, Registration)
    if faults:
        raise NegativeResult("; ".join(f"{one.pointer[1:]}: {one.detail}" for one in faults))
    checked = msgspec.convert(body, Registration)
    profile = Profile(checked.username, normal_email(checked.email), "", checked.full_name)
    user, state = asyncio.run(_registered(settings, profile, checked.password))
    if as_json:
        print_json(listed(user, state))
    else:
        click.echo(f"{user.subject} is {printable(user.username)}")


_MAX_PIPED_BYTES: Final = 1 << 16
"""Far above the longest password; a device may have no end."""


def _piped_password() -> str:
    try:
        text = sys.stdin.buffer.read(_MAX_PIPED_BYTES).decode()
    except UnicodeDecodeError:
        raise NegativeResult("the password is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _typed_password() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            with ended_input_is(NO_PASSWORD):
                password: str = click.prompt(
                    "Password", hide_input=True, confirmation_prompt=True, err=True
                )
        except GetPassWarning:
            raise Misuse(NO_TERMINAL) from None
    return password


async def _registered(settings: Settings, profile: Profile, password: str) -> tuple[User, State]:
    async with writing_journal(settings, begin=True) as journal:
        with closing(Passwords()) as passwords:
            result = await register(Operator(journal), passwords, profile, password, operator())
        state = await journal.state()
    assert isinstance(result.entity, User)  # noqa: S101 - for the type checker
    return result.entity, state


_DASHED: Final = (
    "A name that begins with `-`, as earlier versions allowed, is given after `--`: "
    "eventapi users disable -- -NAME"
)


class _UserCommand(click.Command):
    """A command about one user, whose name may look like an option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "epilog": _DASHED})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.format_message()} {_DASHED}", ctx) from None


_role = click.argument("role", type=UTF8)
_username = click.argument("username", type=UTF8)


@users.command(cls=_UserCommand)
@_username
@_role
@reason_option
@settings_options
def grant(username: str, role: Role) -> None:
    """Grant a role to a user: auditor, operator, or one that a resource names."""
    _check_role(role)
    _carry_out_unless(
        lambda user: role in user.roles,
        GrantRole(username, role, operator()),
        f"{printable(username)} has the role {role}",
    )


@users.command(cls=_UserCommand)
@_username
@_role
@reason_option
@settings_options
def revoke(username: str, role: str) -> None:
    """Revoke a role of a user."""
    try:
        _carry_out(RevokeRole(username, role, operator(), must_have=True))
    except (ActionRefused, Invalid):
        # A user may still have a role that no resource names any more, so this is checked last.
        _check_role(role)
        raise
    click.echo(f"{printable(username)} no longer has the role {role}")


@users.command(cls=_UserCommand)
@_username
@reason_option
@settings_options
def disable(username: str) -> None:
    """Disable an account; all of its sessions end at once."""
    _carry_out_unless(
        lambda user: user.disabled,
        DisableUser(username, operator()),
        f"{printable(username)} is disabled",
    )


@users.command(cls=_UserCommand)
@_username
@reason_option
@settings_options
def enable(username: str) -> None:
    """Enable a disabled account."""
    _carry_out_unless(
        lambda user: not user.disabled,
        EnableUser(username, operator()),
        f"{printable(username)} is enabled",
    )


def _check_role(role: str) -> None:
    """Raise `Misuse` for a role that no resource names."""
    roles = registry_of(loaded().settings).roles
    if role not in roles:
        raise Misuse(NO_ROLE.fill(role=printable(role), roles=", ".join(sorted(roles))))


@users.command("reset-password", cls=_UserCommand)
@_username
@click.option("--link", "as_link", is_flag=True, help="Print the link; send no mail.")
@reason_option
@settings_options
def reset_password(username: str, as_link: bool) -> None:
    """Let a user set a new password by a link, which is valid for an hour.

    The running server mails it. --link prints it instead: hand it over in private.
    """
    settings = loaded().settings
    # Before anything is written.
    texts = SignedTexts(stored_secret_keys(settings)) if as_link else None
    delivery: Literal["mail", "link"] = "link" if as_link else "mail"
    result = _carry_out(RequestPasswordResetFor(username, operator(), delivery))
    if texts is None:
        click.echo(
            f"the running server mails {printable(username)} a link that sets a new password"
        )
        return
    if not settings.public_url:
        echo_error(
            f"eventapi: EVENTAPI_PUBLIC_URL is not set, so the link begins with {settings.base_url}; "
            "replace that if the server was started with --host or --port"
        )
    click.echo(f"{settings.base_url}{reset_path(texts, result.record, None)}")


@users.command("set-email", cls=_UserCommand)
@_username
@click.argument("email", type=UTF8)
@reason_option
@settings_options
def set_email(username: str, email: str) -> None:
    """Set the email address of a user; it counts at once, though it is not verified."""
    address = normal_email(email)
    _carry_out(SetEmail(username, address, operator()))
    click.echo(f"{printable(username)} has the email address {printable(address)}")


@users.command("remove-totp", cls=_UserCommand)
@_username
@reason_option
@settings_options
def remove_totp(username: str) -> None:
    """Remove the second factor of a user who lost the phone and the recovery codes."""
    _carry_out(RemoveTotp(username, operator()))
    click.echo(f"{printable(username)} logs in with the password alone")


@users.command(cls=_UserCommand)
@click.argument("username", required=False, type=UTF8)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--finish", is_flag=True, help="Destroy the keys and remove the mails that an erasure left."
)
@settings_options
def erase(username: str | None, yes: bool, finish: bool) -> None:
    """Erase a user and all their data for ever, also in backups of the log."""
    if finish == (username is not None):
        raise click.UsageError(f"name the user to erase, or give --finish. {_DASHED}")
    if username is None:
        asyncio.run(finish_erasures(loaded().settings))
        click.echo("no key of an erased user is left")
        return
    if not yes:
        confirm_erasure(loaded().settings, username)
    pending, failure = asyncio.run(erase_user(loaded().settings, EraseUser(username, operator())))
    if pending:
        message = ERASED_MAILS_LEFT if isinstance(failure, MailNotRemoved) else ERASED_KEY_LEFT
        subjects = ", ".join(sorted(pending))
        raise Failure(message.fill(name=printable(username), subjects=subjects))
    click.echo(f"{printable(username)} is erased")


@users.command("export", cls=_UserCommand)
@_username
@click.argument(
    "file",
    type=FilePath(allow_dash=True),
    default="-",
    required=False,
)
@settings_options
def export_user(username: str, file: Path) -> None:
    """Export every event about a user and their resources, opened, as NDJSON.

    FILE is written completely or not at all; without it, or for `-`, the lines go to standard output.
    Each line is that of `GET /auth/me/export`: the record, its personal values except secrets, and
    its proof in the newest checkpoint. `eventapi log checkpoint` signs a newer one.
    """
    settings = loaded().settings
    check_output(file, settings)
    with open_output(file) as out:
        asyncio.run(export_account(settings, username, out))


def _carry_out(command: Command) -> CommandResult:
    async def run(settings: Settings) -> CommandResult:
        async with writing_journal(settings) as journal:
            return await journal.execute(command, command_origin())

    return asyncio.run(run(loaded().settings))


def _carry_out_unless(
    is_done: Callable[[User], bool], command: GrantRole | DisableUser | EnableUser, result: str
) -> None:
    """Carry out a command, unless its user is so already; then write no event."""

    async def run(settings: Settings) -> bool:
        async with writing_journal(settings) as journal:
            if is_done(named(await journal.state(), command.username)):
                return False
            await journal.execute(command, command_origin())
            return True

    has_changed = asyncio.run(run(loaded().settings))
    click.echo(result if has_changed else f"{result} already; nothing was written")
