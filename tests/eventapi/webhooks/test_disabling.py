"""When a webhook is disabled, by the server or by a person, and what follows."""

from __future__ import annotations

import asyncio

import pytest

from eventapi.commands.webhooks import (
    DisableWebhook,
    EnableWebhook,
    UpdateWebhook,
)
from eventapi.followers.backoff import Backoff
from eventapi.followers.memory import MemoryFollowers
from eventapi.testing.given import at
from eventapi.webhooks.follower import MIN_ATTEMPTS, PATIENCE_SECONDS
from eventapi.webhooks.signing import Headers
from events.vocabulary.webhooks import DisableReason
from tests.eventapi.followers.following import until
from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.webhooks.process import (
    ACTOR,
    create,
    delivering,
    reason_of_end,
    webhook_of,
)
from tests.eventapi.webhooks.receiver import always, receiving

NEVER = Backoff(3_600.0, 3_600.0)


async def test_a_receiver_that_is_gone_is_disabled_at_once(storage: Storage) -> None:
    with receiving() as receiver:
        receiver.answer = always(410)
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await create(harness, receiver.url)
            await harness.register("ann")
            assert await reason_of_end(harness) == "gone"
            await harness.register("bob")
            await asyncio.sleep(0.7)
            assert receiver.positions == [2]
            receiver.answer = always(200)
            await harness.journal.execute(EnableWebhook(ACTOR, 1))
            await until(lambda: receiver.positions == [2, 2, 4])


async def test_a_receiver_that_fails_for_five_days_is_disabled(storage: Storage) -> None:
    now = 100
    with receiving() as receiver:
        receiver.answer = always(500)
        async with (
            open_harness(storage, now=lambda: at(now)) as harness,
            delivering(harness, MemoryFollowers()) as process,
        ):
            await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: len(process.attempts) > 2)
            now += PATIENCE_SECONDS - 1
            tried = len(process.attempts)
            await until(lambda: len(process.attempts) > tried + 2)
            assert (await webhook_of(harness)).disabled is None
            now += 1
            assert await reason_of_end(harness) == "failing"
            # Five days begin again once an operator enables it.
            await asyncio.sleep(0.7)
            await harness.journal.execute(EnableWebhook(ACTOR, 1))
            tried = len(process.attempts)
            await until(lambda: len(process.attempts) > tried + 2)
            assert (await webhook_of(harness)).disabled is None


async def end_after_outage(storage: Storage, failures: int) -> DisableReason | None:
    """Why a webhook was disabled, if it was, after its server was off for 6 days.

    The receiver fails once before that, so many times after it, and then works.
    """
    now, store, left = 100, MemoryFollowers(), 1

    async def post(url: str, headers: Headers, body: bytes) -> int:
        nonlocal left
        left -= 1
        return 500 if left >= 0 else 200

    async with open_harness(storage, now=lambda: at(now)) as harness:
        await create(harness, "https://example.org/hook")
        await harness.register("ann")
        async with delivering(harness, store, post, NEVER) as process:
            await until(lambda: process.attempts == [(1, True)])
        now, left = now + 6 * 86_400, failures
        async with delivering(harness, store, post) as process:
            while (webhook := await webhook_of(harness)).disabled is None:
                if (1, False) in process.attempts:
                    break
                await asyncio.sleep(0.01)
        return webhook.disabled


async def test_the_time_while_the_server_was_off_disables_no_webhook(storage: Storage) -> None:
    assert await end_after_outage(storage, MIN_ATTEMPTS - 1) is None


async def test_a_receiver_that_also_fails_after_it_is_disabled(storage: Storage) -> None:
    assert await end_after_outage(storage, 10 * MIN_ATTEMPTS) == "failing"


async def test_control_if_one_attempt_sufficed_that_time_would_disable_it(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventapi.webhooks.follower.MIN_ATTEMPTS", 1)
    assert await end_after_outage(storage, 1) == "failing"


async def test_no_pause_goes_beyond_the_five_days(storage: Storage) -> None:
    now = 100.0
    hours = Backoff(0.02, 6 * 3_600.0)
    with receiving() as receiver:
        receiver.answer = always(500)
        async with (
            open_harness(storage, now=lambda: at(now)) as harness,
            delivering(harness, MemoryFollowers(), backoff=hours) as process,
        ):
            await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: bool(process.attempts))
            now += PATIENCE_SECONDS - 0.02
            # Without the limit, the pauses would have doubled to hours by then.
            await until(lambda: len(process.attempts) > 20)
            now += 0.02
            assert await reason_of_end(harness) == "failing"


async def test_a_new_url_has_five_days_of_its_own(storage: Storage) -> None:
    now = 100
    with receiving() as receiver:
        receiver.answer = always(500)
        async with (
            open_harness(storage, now=lambda: at(now)) as harness,
            delivering(harness, MemoryFollowers()) as process,
        ):
            await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: bool(process.attempts))
            now += PATIENCE_SECONDS - 1
            await harness.journal.execute(UpdateWebhook(ACTOR, 1, url=receiver.url + "?new"))
            now += 2
            await until(lambda: receiver.deliveries[-1].path == "/hook?new")
            tried = len(process.attempts)
            await until(lambda: len(process.attempts) > tried + 2)
            assert (await webhook_of(harness)).disabled is None
            now += PATIENCE_SECONDS
            assert await reason_of_end(harness) == "failing"


async def test_a_disabled_webhook_skips_nothing(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: receiver.positions == [2])
            await harness.journal.execute(DisableWebhook(ACTOR, 1))
            await harness.register("bob")
            await asyncio.sleep(0.7)
            assert receiver.positions == [2]
            await harness.journal.execute(EnableWebhook(ACTOR, 1))
            await until(lambda: receiver.positions == [2, 4])
