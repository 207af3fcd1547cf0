"""Commands about webhooks: what is accepted, and what is refused."""

from __future__ import annotations

import pytest

from eventapi.commands.command import Command
from eventapi.commands.operators import ByOperator
from eventapi.commands.webhooks import (
    MAX_WEBHOOKS,
    CreateWebhook,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from eventapi.testing.given import Happened, at, created, given, registered
from events.errors import ActionRefused, Forbidden, Invalid, NotFound, QuotaExceeded
from events.vocabulary.users import UserRoleGranted
from events.vocabulary.webhooks import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEnabled,
    WebhookReplayed,
    WebhookSecretRotated,
    WebhookUpdated,
)

ROOT = "users/1"
URL = "https://example.org/hook"
HOOK: Happened = ("webhooks/1", WebhookCreated(URL))
DISABLED: Happened = ("webhooks/1", WebhookDisabled("failing"))


def test_a_webhook_gets_the_next_number() -> None:
    command = CreateWebhook(ROOT, URL, ("item.*", "user.erased"), "orders")
    event = WebhookCreated(URL, ("item.*", "user.erased"), "orders")
    decision = given(created(1, 1)).when(command).then("webhooks/1", event)
    assert (decision.actor, decision.sealedfor) == (ROOT, "")
    given(created(1, 1), HOOK).when(command).then("webhooks/2", event)
    deleted = ("webhooks/1", WebhookDeleted())
    given(created(1, 1), HOOK, deleted).when(command).then("webhooks/2", event)


@pytest.mark.parametrize("url", ["", "ftp://example.org", "https://a:b@example.org/"])
def test_a_url_must_be_usable(url: str) -> None:
    refusal = given(HOOK).when(CreateWebhook(ROOT, url)).refused(Invalid)
    assert [fault.pointer for fault in refusal.faults] == ["/url"]
    given(HOOK).when(UpdateWebhook(ROOT, 1, url=url)).refused(Invalid)


@pytest.mark.parametrize("pattern", ["user.eraset", "webhook.created", "webhook.*", "note.made"])
def test_an_unknown_type_is_refused_with_the_known_ones(pattern: str) -> None:
    command = CreateWebhook(ROOT, URL, ("user.erased", pattern))
    (fault,) = given(HOOK).when(command).refused(Invalid).faults
    assert fault.pointer == "/types/1"
    assert "user.erased" in fault.detail
    assert "webhook." not in fault.detail
    given(HOOK).when(UpdateWebhook(ROOT, 1, types=(pattern,))).refused(Invalid)


def test_all_types_of_a_kind_may_be_unknown_yet() -> None:
    given().when(CreateWebhook(ROOT, URL, ("invoice.*",))).then(
        "webhooks/1", WebhookCreated(URL, ("invoice.*",))
    )


def test_the_number_of_webhooks_is_limited() -> None:
    hooks = [(f"webhooks/{n}", WebhookCreated(URL)) for n in range(1, MAX_WEBHOOKS + 1)]
    given(*hooks).when(CreateWebhook(ROOT, URL)).refused(QuotaExceeded)
    given(*hooks[:-1]).when(CreateWebhook(ROOT, URL)).then(*hooks[-1])


def test_only_given_members_change() -> None:
    given(HOOK).when(UpdateWebhook(ROOT, 1, types=("item.*",))).then(
        "webhooks/1", WebhookUpdated(types=("item.*",))
    )
    given(HOOK).when(UpdateWebhook(ROOT, 1, description="new")).then(
        "webhooks/1", WebhookUpdated(description="new")
    )


def test_a_url_that_today_would_be_refused_keeps_no_other_change_out() -> None:
    """A rule that became stricter concerns new URLs only."""
    old: Happened = ("webhooks/1", WebhookCreated("https://old rule/"))
    given(old).when(UpdateWebhook(ROOT, 1, types=("item.*",))).then(
        "webhooks/1", WebhookUpdated(types=("item.*",))
    )
    given(old).when(UpdateWebhook(ROOT, 1, url="https://old rule/")).refused(Invalid)


def test_a_webhook_is_disabled_and_enabled_once() -> None:
    disabled = (
        given(HOOK).when(DisableWebhook(ROOT, 1)).then("webhooks/1", WebhookDisabled("operator"))
    )
    assert disabled.revokes
    given(HOOK, DISABLED).when(DisableWebhook(ROOT, 1)).refused(ActionRefused)
    given(HOOK, DISABLED).when(EnableWebhook(ROOT, 1)).then("webhooks/1", WebhookEnabled())
    given(HOOK).when(EnableWebhook(ROOT, 1)).refused(ActionRefused)


def test_a_webhook_that_was_changed_is_not_disabled_for_its_past() -> None:
    changed = ("webhooks/1", WebhookUpdated("https://example.org/new"))
    command = DisableWebhook(ROOT, 1, "gone", version=1)
    given(HOOK).when(command).then("webhooks/1", WebhookDisabled("gone"))
    given(HOOK, changed).when(command).refused(ActionRefused)


def test_a_replay_begins_at_a_position_of_the_log() -> None:
    given(HOOK).when(ReplayWebhook(ROOT, 1, 1)).then("webhooks/1", WebhookReplayed(1))
    given(HOOK).when(ReplayWebhook(ROOT, 1, 0)).then("webhooks/1", WebhookReplayed(0))
    given(HOOK).when(ReplayWebhook(ROOT, 1, 2)).refused(Invalid)


def test_a_secret_is_rotated_and_a_webhook_deleted() -> None:
    rotated = given(HOOK).when(RotateWebhookSecret(ROOT, 1))
    assert rotated.then("webhooks/1", WebhookSecretRotated()).earliest == at(1.000_001)
    assert given(HOOK).when(DeleteWebhook(ROOT, 1)).then("webhooks/1", WebhookDeleted()).revokes


ABOUT_ONE: list[Command] = [
    UpdateWebhook(ROOT, 2, url=URL),
    DeleteWebhook(ROOT, 2),
    DisableWebhook(ROOT, 2),
    EnableWebhook(ROOT, 2),
    RotateWebhookSecret(ROOT, 2),
    ReplayWebhook(ROOT, 2, 0),
]


@pytest.mark.parametrize("command", ABOUT_ONE, ids=lambda one: type(one).__name__)
def test_a_missing_or_deleted_webhook_cannot_be_changed(command: Command) -> None:
    given(HOOK).when(command).refused(NotFound)
    two = ("webhooks/2", WebhookCreated(URL))
    given(HOOK, two, ("webhooks/2", WebhookDeleted())).when(command).refused(NotFound)


@pytest.mark.parametrize("command", ABOUT_ONE, ids=lambda one: type(one).__name__)
def test_a_user_who_lost_the_role_changes_nothing(command: Command) -> None:
    ann, operator = registered(1, "ann"), ("users/1", UserRoleGranted("operator"))
    two: Happened = ("webhooks/2", WebhookCreated(URL))
    given(ann, two).when(ByOperator(1, command)).refused(Forbidden)
    if not isinstance(command, EnableWebhook):
        decision = command.decide(given(ann, operator, two).state)
        given(ann, operator, two).when(ByOperator(1, command)).then(
            decision.subject, decision.event
        )
