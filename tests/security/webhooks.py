"""Webhooks for tests of access."""

from __future__ import annotations

import json

import msgspec

from eventapi.commands.command import Decision
from eventapi.commands.webhooks import CreateWebhook, UpdateWebhook
from projections.state import State
from tests.eventapi.http.client import OPERATOR, Api


class _TouchWebhook(msgspec.Struct, frozen=True):
    """Change the last webhook, or create one if there is none."""

    def decide(self, state: State) -> Decision:
        number = max(state.webhooks.by_id, default=0)
        if number:
            return UpdateWebhook(OPERATOR, number, description="touched").decide(state)
        return CreateWebhook(OPERATOR, "http://127.0.0.1:1/").decide(state)


def webhook_of(api: Api) -> str:
    """The subject of a webhook; writes one event about it."""
    api.execute(_TouchWebhook())
    subject: str = json.loads(api.log_lines(api.log.position - 1)[0])["subject"]
    return subject
