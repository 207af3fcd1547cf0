"""``eventapi users``: list, create and change user accounts."""

from __future__ import annotations

import asyncio
import sys
import warnings
from contextlib import closing
from getpass import GetPassWarning
from typing import Any, Final

import click
import msgspec

from eventapi.accounts.service import Operator, register
from eventapi.bootstrap.storage import registry_of
from eventapi.cli.failures import Failure, Misuse, NegativeResult
from eventapi.cli.opening import opened_log, opened_vault, operator, state_at, writing_journal
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_json, print_table, printable
from eventapi.commands.command import Command
from eventapi.commands.users import (
    DisableUser,
    EnableUser,
    EraseUser,
    GrantRole,
    RevokeRole,
)
from eventapi.configuration.settings import Settings
from eventapi.http.schemas.requests import Registration
from eventapi.security.passwords import Passwords
from eventapi.values.rules import normal_email
from eventapi.values.validation import faults_of
from events.errors import NotFound
from events.messages.commands import ERASED_KEY_LEFT, NO_ROLE, NO_TERMINAL
from events.vocabulary.users import Profile, Role
from projections.state import State
from projections.tables.users import User


class Listed(msgspec.Struct, frozen=True):
    """A row of the list of users; ``items`` is the number of live items."""

    number: int
    username: str
    email: str
    full_name: str | None
    status: str
    roles: list[str]
    items: int
    created_at: str


@click.group()
@settings_options
def users() -> None:
    """List, create and change user accounts."""


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options
def list_users(as_json: bool) -> None:
    """List all users except erased ones, whose data is gone."""
    state = asyncio.run(_state(loaded().settings))
    listed = [
        _listed(user, state) for user in state.users.by_id.values() if user.status != "erased"
    ]
    if as_json:
        print_json(listed)
        return
    rows = [
        [
            user.number,
            user.username,
            user.email,
            user.full_name or "",
            user.status,
            ",".join(user.roles),
            user.items,
            user.created_at,
        ]
        for user in listed
    ]
    print_table([name.replace("_", " ") for name in Listed.__struct_fields__], rows)


async def _state(settings: Settings) -> State:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        return await state_at(settings, log, vault)


def _listed(user: User, state: State) -> Listed:
    return Listed(
        user.id,
        user.username,
        user.email,
        user.full_name,
        user.status,
        sorted(user.roles),
        len(state["items"].by_owner[user.id]),
        user.created_at,
    )


@users.command()
@click.argument("username")
@click.argument("email")
@click.option("--full-name", help="The full name of the user.")
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
        print_json(_listed(user, state))
    else:
        click.echo(f"{user.subject} is {printable(user.username)}")


def _piped_password() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise NegativeResult("the password is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _typed_password() -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
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


_role = click.argument("role")
_username = click.argument("username")


@users.command(cls=_UserCommand)
@_username
@_role
@settings_options
def grant(username: str, role: Role) -> None:
    """Grant a role to a user: auditor, operator, or one that a resource names."""
    roles = registry_of(loaded().settings).roles
    if role not in roles:
        raise Misuse(NO_ROLE.fill(role=printable(role), roles=", ".join(sorted(roles))))
    _carry_out(GrantRole(username, role, operator()))
    click.echo(f"{printable(username)} has the role {role}")


@users.command(cls=_UserCommand)
@_username
@_role
@settings_options
def revoke(username: str, role: str) -> None:
    """Revoke a role of a user."""
    _carry_out(RevokeRole(username, role, operator()))
    click.echo(f"{printable(username)} no longer has the role {role}")


@users.command(cls=_UserCommand)
@_username
@settings_options
def disable(username: str) -> None:
    """Disable an account; all of its sessions end at once."""
    _carry_out(DisableUser(username, operator()))
    click.echo(f"{printable(username)} is disabled")


@users.command(cls=_UserCommand)
@_username
@settings_options
def enable(username: str) -> None:
    """Enable a disabled account."""
    _carry_out(EnableUser(username, operator()))
    click.echo(f"{printable(username)} is enabled")


@users.command(cls=_UserCommand)
@click.argument("username", required=False)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--finish", is_flag=True, help="Destroy the keys that an earlier erasure failed to destroy."
)
@settings_options
def erase(username: str | None, yes: bool, finish: bool) -> None:
    """Erase a user and all their data for ever, also in backups of the log."""
    if finish == (username is not None):
        raise click.UsageError(f"name the user to erase, or give --finish. {_DASHED}")
    if username is None:
        asyncio.run(_finish_erasures(loaded().settings))
        click.echo("no key of an erased user is left")
        return
    if not yes:
        prompt = asyncio.run(_erasure_prompt(loaded().settings, username))
        click.confirm(prompt, abort=True, err=True)
    pending = asyncio.run(_erase(loaded().settings, EraseUser(username, operator())))
    if pending:
        subjects = ", ".join(sorted(pending))
        raise Failure(ERASED_KEY_LEFT.fill(name=printable(username), subjects=subjects))
    click.echo(f"{printable(username)} is erased")


async def _erasure_prompt(settings: Settings, username: str) -> str:
    """The question that names the user and the number of items; raises `NotFound`."""
    state = await _state(settings)
    user = state.users.find_by_username(username)
    if user is None:
        raise NotFound(f"there is no user {username!r}")
    items = len(state["items"].by_owner[user.id])
    return (
        f"Erase {user.subject} {printable(user.username)} "
        f"({items:,} item{'' if items == 1 else 's'}, registered {user.created_at[:10]})? "
        "This cannot be undone."
    )


async def _erase(settings: Settings, command: EraseUser) -> frozenset[str]:
    """Erase a user; return the subjects whose keys could not be destroyed."""
    async with writing_journal(settings) as journal:
        await journal.execute(command)
        return journal.pending_destruction


async def _finish_erasures(settings: Settings) -> None:
    """Start a journal, which destroys the remaining keys of erased users or fails."""
    async with writing_journal(settings):
        pass


def _carry_out(command: Command) -> None:
    async def run(settings: Settings) -> None:
        async with writing_journal(settings) as journal:
            await journal.execute(command)

    asyncio.run(run(loaded().settings))
