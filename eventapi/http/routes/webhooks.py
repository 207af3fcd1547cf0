"""Webhooks, for operators; auditors may read them."""

from __future__ import annotations

from typing import Final

from litestar import Controller
from litestar.params import FromPath, JSONBody
from msgspec import UNSET
from msgspec.structs import asdict

from eventapi.commands.command import Command
from eventapi.commands.operators import ByOperator
from eventapi.commands.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
    existing_webhook,
)
from eventapi.http.handlers import delete, get, patch, post
from eventapi.http.operator_guards import operator_or_auditor, operator_or_key
from eventapi.http.request import ApiRequest, MergePatch
from eventapi.http.response import Response, event_position, json_response, written
from eventapi.http.schemas.webhooks import (
    NewWebhook,
    Replay,
    WebhookPatch,
    WebhookTest,
    WebhookView,
    WebhookWithSecret,
    webhook_view,
)
from eventapi.http.urls import path_number
from eventapi.journal.batch import CommandResult
from events.errors import NotDelivered
from projections.tables.webhooks import Webhook

_MISSING: Final = "Webhook not found"
_NO_STORE: Final = (b"cache-control", b"no-store")
_ONE: Final = "/{webhook_id:str}"
_WRITTEN: Final = ("Event-Position",)


class WebhooksController(Controller):
    """Webhooks, which deliver events to other servers."""

    path = "/webhooks"
    tags = ("webhooks",)

    @get(summary="List the webhooks", guards=(operator_or_auditor,))
    async def list_webhooks(self, request: ApiRequest) -> Response[list[WebhookView]]:
        """List all webhooks by number, without their secrets."""
        webhooks = [*request.caller.state.webhooks.by_id.values()]
        return json_response([await _view(request, webhook) for webhook in webhooks])

    @post(
        summary="Create a webhook",
        guards=(operator_or_key,),
        creates=True,
        request_headers=("Idempotency-Key",),
        response_headers=_WRITTEN,
        errors=("quota-exceeded", "validation-failed"),
    )
    async def create_webhook(
        self, request: ApiRequest, data: JSONBody[NewWebhook]
    ) -> Response[WebhookWithSecret]:
        """Deliver later events to a URL; only this response shows the secret."""
        actor = request.caller.user.subject
        command = CreateWebhook(actor, data.url, data.types, data.description)
        result = await request.execute(_by_operator(request, command), actor)
        location = request.url_of(f"/{_webhook_of(result).subject}").encode()
        return await _with_secret(request, result, 201, (b"location", location))

    @get(
        _ONE,
        summary="Read a webhook",
        guards=(operator_or_auditor,),
        errors=("not-found",),
    )
    async def get_webhook(
        self, request: ApiRequest, webhook_id: FromPath[str]
    ) -> Response[WebhookView]:
        """Read a webhook, and how far its deliveries are."""
        number = path_number(webhook_id, _MISSING)
        webhook = existing_webhook(request.caller.state, number)
        return json_response(await _view(request, webhook))

    @patch(
        _ONE,
        summary="Change, disable or enable a webhook",
        guards=(operator_or_key,),
        response_headers=_WRITTEN,
        errors=("not-found", "action-refused", "validation-failed"),
    )
    async def update_webhook(
        self, request: ApiRequest, webhook_id: FromPath[str], data: MergePatch[WebhookPatch]
    ) -> Response[WebhookView]:
        """Change the given members of a webhook, all or none.

        An event that was not delivered is tried again at once.
        """
        number, actor = path_number(webhook_id, _MISSING), request.caller.user.subject
        webhook = existing_webhook(await request.current_state(), number)
        commands: list[Command] = []
        if not data.url is data.types is data.description is UNSET:
            types = () if data.types is None else data.types
            description = "" if data.description is None else data.description
            change = UpdateWebhook(actor, number, data.url, types, description)
            commands.append(_by_operator(request, change))
        if data.disabled is not UNSET and data.disabled != (webhook.disabled is not None):
            kind = DisableWebhook if data.disabled else EnableWebhook
            commands.append(_by_operator(request, kind(actor, number)))
        if not commands:
            position = event_position(webhook.version)
            return json_response(await _view(request, webhook), 200, position)
        results = await request.execute_all_always(commands)
        return written(results[-1], await _view(request, _webhook_of(results[-1])))

    @delete(
        _ONE,
        summary="Delete a webhook",
        guards=(operator_or_key,),
        response_headers=_WRITTEN,
        errors=("not-found",),
    )
    async def delete_webhook(
        self, request: ApiRequest, webhook_id: FromPath[str]
    ) -> Response[None]:
        """Delete a webhook; its deliveries end."""
        number = path_number(webhook_id, _MISSING)
        command = DeleteWebhook(request.caller.user.subject, number)
        return written(await request.execute_always(_by_operator(request, command)), None)

    @post(
        f"{_ONE}/test",
        summary="Test a webhook",
        guards=(operator_or_key,),
        errors=("not-found",),
    )
    async def test_webhook(
        self, request: ApiRequest, webhook_id: FromPath[str]
    ) -> Response[WebhookTest]:
        """Deliver an event of the type `webhook.test` now, once, and wait for the answer."""
        state, number = request.caller.state, path_number(webhook_id, _MISSING)
        webhook = existing_webhook(state, number)
        try:
            status = await request.services.webhooks.deliveries.test(webhook, state.last.source)
        except NotDelivered as error:
            return json_response(WebhookTest("failed", None, str(error)))
        if 200 <= status < 300:
            return json_response(WebhookTest("delivered", status, None))
        return json_response(WebhookTest("failed", status, f"the receiver answered {status}"))

    @post(
        f"{_ONE}/replay",
        summary="Deliver events again",
        guards=(operator_or_key,),
        response_headers=_WRITTEN,
        errors=("not-found", "validation-failed"),
    )
    async def replay_webhook(
        self, request: ApiRequest, webhook_id: FromPath[str], data: JSONBody[Replay]
    ) -> Response[WebhookView]:
        """Deliver all events after a position again, in the order of the log."""
        number = path_number(webhook_id, _MISSING)
        command = ReplayWebhook(request.caller.user.subject, number, data.after)
        result = await request.execute_always(_by_operator(request, command))
        return written(result, await _view(request, _webhook_of(result)))

    @post(
        f"{_ONE}/rotate-secret",
        summary="Give a webhook a new secret",
        guards=(operator_or_key,),
        response_headers=_WRITTEN,
        errors=("not-found",),
    )
    async def rotate_webhook_secret(
        self, request: ApiRequest, webhook_id: FromPath[str]
    ) -> Response[WebhookWithSecret]:
        """Give a webhook a new secret, which only this response shows.

        For 24 hours, deliveries have the signature of the secret before it, too.
        """
        number = path_number(webhook_id, _MISSING)
        command = RotateWebhookSecret(request.caller.user.subject, number)
        result = await request.execute_always(_by_operator(request, command))
        return await _with_secret(request, result, 200)


def _by_operator(request: ApiRequest, command: Command) -> ByOperator:
    return ByOperator(request.caller.user.id, command)


async def _view(request: ApiRequest, webhook: Webhook) -> WebhookView:
    return webhook_view(webhook, await request.services.webhooks.status(webhook))


async def _with_secret(
    request: ApiRequest, result: CommandResult, status: int, *headers: tuple[bytes, bytes]
) -> Response[WebhookWithSecret]:
    webhook = _webhook_of(result)
    secret = request.services.webhooks.deliveries.secrets.text(webhook, result.record.source)
    content = WebhookWithSecret(**asdict(await _view(request, webhook)), secret=secret)
    return written(result, content, status, *headers, _NO_STORE)


def _webhook_of(result: CommandResult) -> Webhook:
    assert isinstance(result.entity, Webhook)  # noqa: S101 - for the type checker
    return result.entity
