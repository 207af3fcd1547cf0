"""A rotated secret is another one, whatever the clock says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from eventapi.commands.command import Command, Decision
from eventapi.commands.webhooks import RotateWebhookSecret
from eventapi.testing.given import SOURCE, at
from events.errors import Refusal
from events.vocabulary.webhooks import WebhookSecretRotated
from projections.state import State
from projections.tables.webhooks import Webhook
from tests.eventapi.harness import JournalHarness, Storage, open_harness
from tests.eventapi.webhooks.process import ACTOR, SECRETS, create, webhook_of

ROTATIONS = 4


@dataclass(frozen=True)
class CarelessRotation:
    """The command without the rule about times."""

    actor: str
    webhook: int

    def decide(self, state: State) -> Decision:
        if self.webhook not in state.webhooks.by_id:
            raise Refusal
        return Decision(f"webhooks/{self.webhook}", WebhookSecretRotated(), self.actor)


async def rotated(
    harness: JournalHarness, command: Command, *, together: bool
) -> tuple[set[str], list[str]]:
    """The secrets of a webhook and of some rotations, and the times of the rotations."""
    await create(harness, "https://example.org/hook")
    source = (await harness.state()).last.source
    secrets = {SECRETS.text(await webhook_of(harness), source)}
    if together:
        calls = [harness.journal.execute(command) for _ in range(ROTATIONS)]
        results = await asyncio.gather(*calls)
    else:
        results = [await harness.journal.execute(command) for _ in range(ROTATIONS)]
    for result in results:
        assert isinstance(result.entity, Webhook)
        secrets.add(SECRETS.text(result.entity, source))
    return secrets, [result.record.time for result in results]


@pytest.mark.parametrize("together", [False, True])
async def test_each_rotation_makes_another_secret_while_the_clock_stands(
    storage: Storage, *, together: bool
) -> None:
    """As it does while the log is ahead of it, or in one batch."""
    async with open_harness(storage, now=lambda: at(5)) as harness:
        command = RotateWebhookSecret(ACTOR, 1)
        secrets, times = await rotated(harness, command, together=together)
        assert len(secrets) == ROTATIONS + 1
        assert times == sorted(times)
        last = await webhook_of(harness)
        await harness.register("ann")
        assert (await harness.state()).last.time >= times[-1]
    async with open_harness(storage, now=lambda: at(1)) as harness:
        assert await webhook_of(harness) == last  # Also after a replay, and by another worker.


async def test_control_without_the_rule_it_is_the_same_secret(storage: Storage) -> None:
    async with open_harness(storage, now=lambda: at(5)) as harness:
        secrets, _ = await rotated(harness, CarelessRotation(ACTOR, 1), together=False)
    assert len(secrets) == 1


def test_the_secrets_of_earlier_events_stay_as_they_are() -> None:
    hook = Webhook(1, "https://example.org/", (), "", at(1), 1, at(1), 1, 1, at(1))
    assert SECRETS.text(hook, SOURCE) == "whsec_xigzX+kf+AZ+gAUEqPuL+EhAbV1ohc4WPKjDLfeGtKY="
