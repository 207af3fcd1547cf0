"""``eventapi users``: look at accounts, and make them."""

from __future__ import annotations

import asyncio
import sys

import click
import msgspec

from eventapi.cli.failures import AnswerIsNo, complaint
from eventapi.cli.opening import opened_log, operator, state_at
from eventapi.cli.options import loaded, settings_options
from eventapi.cli.output import print_json, print_table, printable
from eventapi.commands.users import RegisterUser
from eventapi.http.bodies import Registration, check_password, normal_email
from eventapi.security.passwords import Passwords
from eventapi.settings import Settings
from eventapi.storage import open_vault, opened_journal
from events.users import Profile
from projections.state import State
from projections.users import User


class Listed(msgspec.Struct, frozen=True):
    """A user as the list shows them; ``items`` counts the live ones."""

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
    """Look at accounts, and make them."""


@users.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def list_users(as_json: bool) -> None:
    """List all users but the erased ones, of whom nothing is left to show."""
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
    async with opened_log(settings) as log:
        vault = open_vault(settings)
        try:
            return await state_at(log, vault)
        finally:
            await vault.close()


def _listed(user: User, state: State) -> Listed:
    return Listed(
        user.id,
        user.username,
        user.email,
        user.full_name,
        user.status,
        sorted(user.roles),
        len(state.items.by_owner[user.id]),
        user.created_at,
    )


@users.command()
@click.argument("username")
@click.argument("email")
@click.option("--full-name", help="What the user is called.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@settings_options
def create(
    username: str, email: str, full_name: str | None, password_stdin: bool, as_json: bool
) -> None:
    """Make an account; the password is asked for."""
    settings = loaded().settings
    password = _piped_password() if password_stdin else _typed_password()
    body = {"username": username, "email": email, "password": password, "full_name": full_name}
    try:
        checked = msgspec.convert(body, Registration)
    except msgspec.ValidationError as error:
        place = str(error).partition(" - at `$.")[2].rstrip("`")
        raise AnswerIsNo(f"{place}: {complaint(error)}") from None
    check_password(checked.password, "/password")
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
        raise AnswerIsNo("the password is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")


def _typed_password() -> str:
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


async def _registered(settings: Settings, profile: Profile, password: str) -> tuple[User, State]:
    passwords = Passwords()
    try:
        password_hash = await passwords.hash(password)
    finally:
        passwords.close()
    profile = msgspec.structs.replace(profile, password_hash=password_hash)
    async with opened_journal(settings) as (journal, _):
        outcome = await journal.execute(RegisterUser(profile, actor=operator()))
        state = await journal.state()
    assert isinstance(outcome.entity, User)  # noqa: S101 - for the type checker
    return outcome.entity, state
