"""Restarts, several instances, and stores that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from events.transparency.cosignature import Cosigner
from events.transparency.policy import Policy
from tests.eventapi.followers.following import until
from tests.eventapi.witnesses.process import (
    Instance,
    cosigning,
    policy_text,
    trusted_by,
    warnings_in,
)
from tests.eventapi.witnesses.witness_server import Running
from tests.events.transparency.test_tree import LongLog


async def test_a_restart_keeps_the_cosignatures_and_continues_with_them(
    tmp_path: Path, first: Running
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        note = await instance.until_cosigned(300)
        policy = instance.checkpoints.policy
    assert policy is not None

    again = Instance(tmp_path / "data", instance.log, policy)
    assert await again.cosigned() == note
    again.log.extend(400)
    again.start()
    await again.until_cosigned(400)
    await again.stop()
    assert first.witness.statuses == [200, 200]  # No 409: the stored cosignature names the size.


async def test_another_policy_serves_nothing_until_its_witnesses_have_cosigned(
    tmp_path: Path, first: Running, second: Running
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        await instance.until_cosigned(300)
    async with cosigning(tmp_path / "data", [second]) as other:
        note = await other.until_cosigned(300)
        assert Cosigner.parse(second.witness.vkey).newest(note) is not None


async def test_only_one_of_two_instances_asks_and_the_other_takes_over(
    tmp_path: Path, first: Running
) -> None:
    policy = Policy.parse(policy_text([first]).encode())
    log = LongLog(300)
    one, two = (
        Instance(tmp_path / "data", log, policy, FileFollowers(tmp_path / "followers.sqlite"))
        for _ in range(2)
    )
    await trusted_by(one, [first])
    one.start()
    await one.until_cosigned(300)
    two.start()
    log.extend(400)
    await two.until_cosigned(400)  # Stored by the other instance.
    assert two.counts == []
    await until(lambda: two.tasks.status.size == 400)

    await one.stop()
    log.extend(500)
    await two.until_cosigned(500)

    assert first.witness.statuses == [200, 200, 200]  # It knew the size from the store.
    assert two.counts == [("w1", False)]
    await two.stop()


async def test_an_instance_that_lost_its_lease_stops_asking(tmp_path: Path, first: Running) -> None:
    store = MemoryFollowers()
    policy = Policy.parse(policy_text([first]).encode())
    instance = Instance(tmp_path / "data", LongLog(300), policy, store)
    await trusted_by(instance, [first])
    first.witness.faults = ["stall"]
    instance.start()
    await until(lambda: bool(first.witness.requests))
    await store.remove("witnesses")
    other = await store.acquire("witnesses")
    assert other is not None
    instance.log.extend(400)
    await asyncio.sleep(0.1)
    assert len(first.witness.requests) == 1
    await instance.stop()


async def test_a_store_that_fails_is_reported_once_and_tried_again(
    tmp_path: Path, first: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with cosigning(tmp_path / "data", [first]) as instance:
        await instance.until_cosigned(300)
        (tmp_path / "data" / "events.jsonl.key").rename(tmp_path / "key")
        (tmp_path / "data" / "events.jsonl.key").write_text("nonsense")
        instance.log.extend(400)
        await until(lambda: any("the witnesses wait" in one for one in warnings_in(caplog)))
        await asyncio.sleep(0.1)
        assert len([one for one in warnings_in(caplog) if "the witnesses wait" in one]) == 1

        (tmp_path / "key").rename(tmp_path / "data" / "events.jsonl.key")
        await instance.until_cosigned(400)
