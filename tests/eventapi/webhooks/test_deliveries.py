"""Deliveries to a real receiver: order, retries, crashes, replays and rotations."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from standardwebhooks import WebhookVerificationError

from eventapi.commands.webhooks import (
    DeleteWebhook,
    DisableWebhook,
    ReplayWebhook,
    RotateWebhookSecret,
    UpdateWebhook,
)
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import Lease, Progress
from eventapi.testing.given import at
from eventapi.webhooks.signing import ROTATION_SECONDS, Headers
from events.errors import FollowersUnavailable
from tests.eventapi.followers.following import until
from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.webhooks.process import (
    ACTOR,
    WebhookProcess,
    create,
    delivering,
    secret_of,
    webhook_of,
)
from tests.eventapi.webhooks.receiver import Delivery, always, receiving


async def test_events_after_the_creation_are_delivered_in_order(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await harness.register("ann")
            webhook = await create(harness, receiver.url)
            for _ in range(5):
                await harness.create(1)
            await until(lambda: receiver.positions == [3, 4, 5, 6, 7])
            secret = await secret_of(harness, webhook)
            source = (await harness.state()).last.source.removeprefix("urn:uuid:")
    assert str(uuid.UUID(source)) == source
    for position, delivery in enumerate(receiver.deliveries, 3):
        event = delivery.verify(secret)
        assert (event["id"], event["type"]) == (str(position), "item.created")
        assert event["subject"] == f"items/{position - 2}"
        assert event["data"] == {"owner": 1}
        assert delivery.headers["webhook-id"] == f"{source}/{position}"
        assert delivery.headers["content-type"] == "application/cloudevents+json"


async def test_another_secret_does_not_verify(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            one = await create(harness, receiver.url)
            two = await create(harness, receiver.url + "?other")
            await harness.register("ann")
            await until(lambda: len(receiver.deliveries) == 2)
            secret, other = await secret_of(harness, one), await secret_of(harness, two)
    assert secret != other
    # The order in which two webhooks deliver is not promised.
    first, second = sorted(receiver.deliveries, key=lambda delivery: delivery.path)
    assert (first.path, second.path) == ("/hook", "/hook?other")
    first.verify(secret)
    second.verify(other)
    with pytest.raises(WebhookVerificationError):
        first.verify(other)
    with pytest.raises(WebhookVerificationError):
        second.verify(secret)


async def test_only_the_wanted_types_are_delivered(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await create(harness, receiver.url, "item.*")
            await harness.register("ann")
            await harness.create(1)
            await until(lambda: receiver.positions == [3])
            await harness.journal.execute(UpdateWebhook(ACTOR, 1, types=("user.registered",)))
            await harness.register("bob")
            await harness.create(1)
            await harness.register("eve")
            await until(lambda: receiver.positions == [3, 5, 7])


async def test_events_about_webhooks_are_never_delivered(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await create(harness, receiver.url)
            await create(harness, "https://secret.example/token")
            await harness.register("ann")
            await until(lambda: receiver.positions == [3])


@pytest.mark.parametrize("failure", [500, 404, 429, 301, 302, 307, 308, None], ids=str)
async def test_a_failed_delivery_is_repeated_before_the_next(
    storage: Storage, failure: int | None
) -> None:
    def answer(delivery: Delivery) -> int | None:
        return failure if len(receiver.deliveries) <= 3 else 200

    with receiving() as receiver:
        receiver.answer = answer
        async with (
            open_harness(storage) as harness,
            delivering(harness, MemoryFollowers()) as process,
        ):
            webhook = await create(harness, receiver.url)
            await harness.register("ann")
            await harness.register("bob")
            await until(lambda: receiver.positions == [2, 2, 2, 2, 3])
            secret = await secret_of(harness, webhook)
            await until(lambda: process.attempts == [(1, True)] * 3 + [(1, False)] * 2)
            await until(lambda: not process.tasks.failing)
    # The id of an event is the same in each attempt.
    assert len({one.headers["webhook-id"] for one in receiver.deliveries}) == 2
    assert all(one.verify(secret) for one in receiver.deliveries)


async def test_the_reason_of_a_failure_is_reported(storage: Storage) -> None:
    with receiving() as receiver:
        receiver.answer = always(503)
        async with (
            open_harness(storage) as harness,
            delivering(harness, MemoryFollowers()) as process,
        ):
            webhook = await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: process.tasks.failing == [1])
            status = await process.tasks.status(webhook)
    assert status.status == "the receiver answered 503"
    assert (status.position, status.lag) == (1, 1)
    assert status.failing_since


async def test_nothing_is_delivered_to_a_deleted_webhook(storage: Storage) -> None:
    store = MemoryFollowers()
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, store):
            webhook = await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: receiver.positions == [2])
            await harness.journal.execute(DeleteWebhook(ACTOR, 1))
            await harness.register("bob")
            await asyncio.sleep(0.7)
            assert receiver.positions == [2]
            assert await store.read(webhook.follower) is None
            assert (await create(harness, receiver.url)).id == 2


async def test_the_progress_of_a_disabled_webhook_is_removed_with_it(storage: Storage) -> None:
    store = MemoryFollowers()
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, store):
            webhook = await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: receiver.positions == [2])
            await harness.journal.execute(DisableWebhook(ACTOR, 1))
            await asyncio.sleep(0.7)
            assert await store.read(webhook.follower) is not None
            await harness.journal.execute(DeleteWebhook(ACTOR, 1))
            await until(lambda: webhook.follower not in store._progress)


async def test_a_replay_repeats_the_events_after_a_position(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, MemoryFollowers()):
            await harness.register("ann")
            await create(harness, receiver.url)
            await harness.create(1)
            await harness.create(1)
            await until(lambda: receiver.positions == [3, 4])
            await harness.journal.execute(ReplayWebhook(ACTOR, 1, 3))
            await until(lambda: receiver.positions == [3, 4, 4])
            await harness.journal.execute(ReplayWebhook(ACTOR, 1, 0))
            await until(lambda: receiver.positions == [3, 4, 4, 1, 3, 4])


async def test_a_change_of_the_url_is_tried_at_once(storage: Storage) -> None:
    with receiving() as receiver:
        async with open_harness(storage) as harness:
            process = WebhookProcess(harness, MemoryFollowers())
            process.tasks._backoff = process.tasks._backoff.__class__(3_600.0, 3_600.0)
            await create(harness, "http://127.0.0.1:1/")
            await harness.register("ann")
            await until(lambda: bool(process.attempts))
            await harness.journal.execute(UpdateWebhook(ACTOR, 1, url=receiver.url))
            await until(lambda: receiver.positions == [2])
            await process.stop()


async def test_both_secrets_sign_for_a_day_after_a_rotation(storage: Storage) -> None:
    now = 100
    with receiving() as receiver:
        async with (
            open_harness(storage, now=lambda: at(now)) as harness,
            delivering(harness, MemoryFollowers()) as process,
        ):
            process.tasks.deliveries._now = harness.journal.clock.seconds
            first = await secret_of(harness, await create(harness, receiver.url))
            now += 10
            await harness.journal.execute(RotateWebhookSecret(ACTOR, 1))
            second = await secret_of(harness, await webhook_of(harness))
            await harness.register("ann")
            await until(lambda: receiver.positions == [3])
            now += ROTATION_SECONDS
            await harness.register("bob")
            await until(lambda: receiver.positions == [3, 4])
    signatures = [one.headers["webhook-signature"].split() for one in receiver.deliveries]
    assert first != second
    assert [len(one) for one in signatures] == [2, 1]


class Forgetful(MemoryFollowers):
    """A store that a test can make lose every store."""

    fails = False

    async def acquire(self, name: str) -> Lease | None:
        lease = await super().acquire(name)
        if lease is not None:
            store = lease.store

            async def forget(progress: Progress) -> None:
                if self.fails and not progress.failing_since:
                    raise FollowersUnavailable("the disk is full")
                await store(progress)

            lease.store = forget  # type: ignore[method-assign]
        return lease


async def test_a_crash_between_the_answer_and_the_position_repeats_and_skips_nothing(
    storage: Storage,
) -> None:
    store = Forgetful()
    with receiving() as receiver:
        async with open_harness(storage) as harness:
            process = WebhookProcess(harness, store)
            await create(harness, receiver.url)
            await asyncio.sleep(0.6)
            store.fails = True
            await harness.register("ann")
            await harness.register("bob")
            await until(lambda: receiver.positions == [2])
            await process.kill()
            store.fails = False
            async with delivering(harness, store):
                await until(lambda: receiver.positions == [2, 2, 3])


@pytest.mark.long
async def test_one_of_many_processes_delivers_and_another_takes_over(storage: Storage) -> None:
    store = MemoryFollowers()
    with receiving() as receiver:
        async with open_harness(storage) as harness:
            processes = [WebhookProcess(harness, store) for _ in range(3)]
            await create(harness, receiver.url)
            for _ in range(3):
                await harness.register(f"user{len(receiver.positions)}")
                position = harness.log.position
                await until(lambda position=position: position in receiver.positions)  # type: ignore[misc]
                await until(lambda: any(one.attempts for one in processes))
                holder = next(one for one in processes if one.attempts)
                processes.remove(holder)
                await holder.kill()
    assert receiver.positions == [2, 3, 4]


async def test_progress_in_a_file_has_a_name_for_each_webhook(
    storage: Storage,
) -> None:
    path = storage._directory / "followers.sqlite"
    with receiving() as receiver:
        async with open_harness(storage) as harness, delivering(harness, FileFollowers(path)):
            await create(harness, receiver.url)
            await harness.register("ann")
            await until(lambda: receiver.positions == [2])
            assert (path.parent / "followers.webhook-1-1.lock").exists()


async def test_a_slow_receiver_delays_no_other(storage: Storage) -> None:
    release = asyncio.Event()
    posted: list[str] = []

    async def post(url: str, headers: Headers, body: bytes) -> int:
        posted.append(url)
        if "slow" in url:
            await release.wait()
        return 200

    async with open_harness(storage) as harness, delivering(harness, MemoryFollowers(), post):
        await create(harness, "https://slow.example/", "user.*")
        await create(harness, "https://quick.example/", "user.*")
        for name in ("ann", "bob", "eve"):
            await harness.register(name)
        await until(lambda: posted.count("https://quick.example/") == 3)
        assert posted.count("https://slow.example/") == 1
        release.set()
        await until(lambda: posted.count("https://slow.example/") == 3)
