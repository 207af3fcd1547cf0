"""Counts in files: shared by processes, and kept over restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eventapi.values.times import later
from tests.eventapi.failed_logins.clocked import START
from tests.eventapi.failed_logins.target import Target, open_target


async def failed_logins(target: Target) -> list[dict[str, Any]]:
    lines = map(json.loads, await target.harness.storage.lines())
    return [line for line in lines if line["type"] == "security.login_failed"]


async def test_counts_of_two_processes_survive_their_end(tmp_path: Path) -> None:
    clock = [START]
    async with open_target(tmp_path, clock) as one, open_target(tmp_path, clock) as other:
        await one.harness.register("ann")
        for target, times in ((one, 3), (other, 4)):
            for _ in range(times):
                await target.guess("192.0.2.1", "ann")
                await target.guess("192.0.2.1", "nobody")
    clock[0] = later(START, 1_260)
    async with open_target(tmp_path, clock) as later_one, open_target(tmp_path, clock) as other:
        await later_one.record()
        await other.record()
        found = await failed_logins(later_one)
    assert sorted((line["subject"][:6], line["data"]["count"]) for line in found) == [
        ("securi", 7),
        ("users/", 7),
    ]


async def test_no_name_address_or_user_agent_is_in_the_file(tmp_path: Path) -> None:
    async with open_target(tmp_path, [START]) as target:
        await target.harness.register("ann")
        for name in ("ann", "a password typed here"):
            await target.guess("192.0.2.123", name)
        await target.counter.store()
        content = b"".join(one.read_bytes() for one in tmp_path.glob("followers.sqlite*"))
    assert b"users/1" in content
    for text in (b"ann", b"typed", b"192.0.2", b"browser"):
        assert text not in content


async def test_two_processes_that_record_at_once_write_each_event_once(tmp_path: Path) -> None:
    clock = [START]
    async with open_target(tmp_path, clock) as one, open_target(tmp_path, clock) as other:
        await one.harness.register("ann")
        for number in range(30):
            await one.guess(f"192.0.2.{number}", "ann")
        await one.counter.store()
        clock[0] = later(START, 1_260)
        read = one.store.read

        async def read_while_another_records(upto: str, limit: int) -> Any:
            found = await read(upto, limit)
            await other.record()
            return found

        one.store.read = read_while_another_records  # type: ignore[method-assign]
        await one.record()
        found = await failed_logins(one)
    assert len(found) == 30
