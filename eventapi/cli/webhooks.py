"""``eventapi webhooks``: list, create and change webhooks beside a running server."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Final

import click

from eventapi.bootstrap.http_client import HttpClient
from eventapi.bootstrap.mail import open_followers
from eventapi.bootstrap.storage import NO_OVERRIDES
from eventapi.bootstrap.webhooks import deliveries_of
from eventapi.cli.failures import NegativeResult
from eventapi.cli.opening import (
    opened_log,
    opened_vault,
    operator,
    state_at,
    stored_secret_keys,
    writing_journal,
)
from eventapi.cli.options import UTF8, json_option, loaded, settings_options
from eventapi.cli.output import print_json, print_table, printable
from eventapi.commands.command import Command
from eventapi.commands.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    existing_webhook,
)
from eventapi.configuration.settings import Settings
from eventapi.http.schemas.webhooks import NewWebhook, WebhookView, webhook_view
from eventapi.journal.batch import CommandResult
from eventapi.values.validation import faults_of
from eventapi.webhooks.signing import WebhookSecrets
from eventapi.webhooks.tasks import stored_status
from events.errors import Invalid, NotDelivered
from projections.tables.webhooks import Webhook

_COLUMNS: Final = (
    "id",
    "url",
    "types",
    "status",
    "position",
    "lag",
    "last status",
    "failing since",
)


@click.group()
@settings_options
def webhooks() -> None:
    """List, create and change webhooks, which deliver events to other servers."""


@webhooks.command("list")
@json_option
@settings_options
def list_webhooks(as_json: bool) -> None:
    """List all webhooks, and how far their deliveries are."""
    views = asyncio.run(_views(loaded().settings))
    if as_json:
        print_json(views)
        return
    rows = [
        [
            view.id,
            printable(view.url),
            ",".join(view.types) or "all",
            view.disabled_reason or "enabled",
            view.position,
            view.lag,
            printable(view.last_status),
            view.failing_since or "",
        ]
        for view in views
    ]
    print_table(_COLUMNS, rows)


async def _views(settings: Settings) -> list[WebhookView]:
    async with (
        opened_log(settings) as log,
        opened_vault(settings) as vault,
        open_followers(settings, NO_OVERRIDES, log) as store,
    ):
        state = await state_at(settings, log, vault)
        return [
            webhook_view(webhook, await stored_status(store, webhook, log.position))
            for webhook in state.webhooks.by_id.values()
        ]


@webhooks.command()
@click.argument("url", type=UTF8)
@click.option(
    "--type", "types", type=UTF8, multiple=True, help="A type of events, or KIND.*; repeatable."
)
@click.option(
    "--description", type=UTF8, default="", help="A text for operators, in the log in clear."
)
@settings_options
def add(url: str, types: tuple[str, ...], description: str) -> None:
    """Deliver later events to a URL; prints the secret, which is shown only here."""
    body = {"url": url, "types": [*types], "description": description}
    if faults := faults_of(body, NewWebhook):
        raise NegativeResult("; ".join(f"{one.pointer[1:]}: {one.detail}" for one in faults))
    secrets = _secrets()
    result = _carry_out(CreateWebhook(operator(), url, types, description))
    click.echo(f"{result.record.subject} has the secret {_secret_of(secrets, result)}")


@webhooks.command()
@click.argument("number", type=int)
@settings_options
def remove(number: int) -> None:
    """Delete a webhook; its deliveries end."""
    _carry_out(DeleteWebhook(operator(), number))
    click.echo(f"webhooks/{number} is deleted")


@webhooks.command("rotate-secret")
@click.argument("number", type=int)
@settings_options
def rotate_secret(number: int) -> None:
    """Give a webhook a new secret; for 24 hours, the one before it signs, too."""
    secrets = _secrets()
    result = _carry_out(RotateWebhookSecret(operator(), number))
    click.echo(f"webhooks/{number} has the secret {_secret_of(secrets, result)}")


@webhooks.command()
@click.argument("number", type=int)
@click.option("--after", type=click.IntRange(min=0), required=True, help="A position of the log.")
@settings_options
def replay(number: int, after: int) -> None:
    """Deliver all events after a position again."""
    _carry_out(ReplayWebhook(operator(), number, after))
    click.echo(f"webhooks/{number} gets the events after position {after} again")


@webhooks.command()
@click.argument("number", type=int)
@settings_options
def test(number: int) -> None:
    """Deliver an event of the type webhook.test now; exit code 1 if it fails."""
    settings = loaded().settings
    try:
        status = asyncio.run(_test(settings, number))
    except NotDelivered as error:
        raise NegativeResult(str(error)) from None
    if not 200 <= status < 300:
        raise NegativeResult(f"the receiver answered {status}")
    click.echo(f"the receiver of webhooks/{number} answered {status}")


async def _test(settings: Settings, number: int) -> int:
    async with opened_log(settings) as log, opened_vault(settings) as vault:
        state = await state_at(settings, log, vault)
    webhook = existing_webhook(state, number)
    with closing(HttpClient()) as client:
        deliveries = deliveries_of(settings, client, stored_secret_keys(settings))
        return await deliveries.test(webhook, state.last.source)


def _secrets() -> WebhookSecrets:
    """The secrets of the server's webhooks; called before anything is written."""
    return WebhookSecrets(stored_secret_keys(loaded().settings))


def _secret_of(secrets: WebhookSecrets, result: CommandResult) -> str:
    assert isinstance(result.entity, Webhook)  # noqa: S101 - for the type checker
    return secrets.text(result.entity, result.record.source)


def _carry_out(command: Command) -> CommandResult:
    async def run(settings: Settings) -> CommandResult:
        async with writing_journal(settings) as journal:
            return await journal.execute(command)

    try:
        return asyncio.run(run(loaded().settings))
    except Invalid as error:
        faults = "; ".join(f"{one.pointer[1:]}: {one.detail}" for one in error.faults)
        raise NegativeResult(faults) from None
