"""A server whose disk is full, limited, read-only, in memory, or without power."""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from eventapi.testing.items import ITEMS
from events.verification.verify import verify
from tests.end_to_end.client import Answer, BrokenError
from tests.end_to_end.log_reader import read_log
from tests.end_to_end.server import Server, by_serve, uvicorn_of
from tests.end_to_end.user_client import ApiUser, registered_user
from tests.fault_injection.faults.disks import (
    cut_power,
    full_disk,
    loop_disk,
    make_image,
    make_read_only,
    memory_disk,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

CUTS = 3
WRITES = 200
"""The minimum of acknowledged writes before each power cut."""

LOAD_SECONDS = 30.0
CLIENTS = 8


def assert_full(answer: Answer) -> None:
    """Assert that a write was refused because the disk is full."""
    assert (answer.status, answer.json()["type"]) == (507, "/problems/storage-full"), answer


async def write_until_full(user: ApiUser) -> list[str]:
    """Write until the disk is full; return the acknowledged titles."""
    acknowledged: list[str] = []
    for number in range(10_000):
        title = f"{number} {'x' * 150}"
        answer = await user.write(title)
        if answer.status != 200:
            assert_full(answer)
            return acknowledged
        acknowledged.append(title)
    raise AssertionError("the disk is never full")


def test_full_disk_refuses_writes_answers_reads_and_recovers_by_itself(tmp_path: Path) -> None:
    """Also: every worker warns at its start that the disk is in memory."""

    async def run(server: Server) -> list[str]:
        async with registered_user(server) as user:
            at_workers = await user.at_each_worker(server)
            with full_disk(server.data):
                acknowledged = await write_until_full(user)
                for worker in at_workers:
                    assert_full(await worker.write("no room"))
                    assert await worker.titles() == acknowledged
                assert_full(await user.register("ben"))
            for number, worker in enumerate(at_workers):
                assert (await worker.write(f"room {number}")).status == 200
                acknowledged.append(f"room {number}")
            assert await user.titles() == acknowledged
            return acknowledged

    with memory_disk(tmp_path / "disk", "16m") as disk:
        with Server(disk, 2, by_serve) as server:
            workers = server.worker_pids()
            acknowledged = asyncio.run(run(server))
            assert server.worker_pids() == workers, "a worker was restarted"
            assert server.stop() == 0
        log = read_log(server.log)
        assert verify(server.log, vocabulary=ITEMS).ok
        assert [line.personal["title"] for line in log.lines if line.item] == acknowledged


def test_file_size_limit_is_treated_as_a_full_disk(tmp_path: Path) -> None:
    async def run(server: Server) -> list[str]:
        async with registered_user(server) as user:
            assert (await user.write("before")).status == 200
            _, hard = resource.prlimit(user.worker, resource.RLIMIT_FSIZE)
            # In the middle of a later line, whose first part is written and must be cut again.
            limit = server.log.stat().st_size + 20_000
            resource.prlimit(user.worker, resource.RLIMIT_FSIZE, (limit, hard))
            acknowledged = ["before", *await write_until_full(user)]
            assert await user.titles() == acknowledged
            resource.prlimit(user.worker, resource.RLIMIT_FSIZE, (hard, hard))
            assert (await user.write("after")).status == 200
            return [*acknowledged, "after"]

    with Server(tmp_path / "data", 1, by_serve) as server:
        acknowledged = asyncio.run(run(server))
        assert server.stop() == 0
    log = read_log(server.log)
    assert not log.faults
    assert [line.personal["title"] for line in log.lines if line.item] == acknowledged


def test_disk_that_becomes_read_only_refuses_writes_and_answers_reads(tmp_path: Path) -> None:
    """As ext4 does after an error; a new mount has all acknowledged events."""

    async def run(server: Server) -> None:
        async with registered_user(server) as user:
            for title in ("first", "second"):
                assert (await user.write(title)).status == 200
            make_read_only(server.data)
            for _ in range(3):
                answer = await user.write("third")
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), answer
                assert await user.titles() == ["first", "second"]

    image, point = tmp_path / "image", tmp_path / "disk"
    make_image(image, 16)
    with loop_disk(image, point):
        with Server(point, 1, by_serve) as server:
            asyncio.run(run(server))
            server.kill()
        assert "Traceback" not in server.output
    with loop_disk(image, point):
        with Server(point, 1, by_serve) as server:
            assert server.stop() == 0
        titles = [line.personal["title"] for line in read_log(server.log).lines if line.item]
    assert titles == ["first", "second"]


class SentTitles(msgspec.Struct):
    """The titles of all writes sent, and of those acknowledged while there was power.

    Here the server outlives the power by a moment, and the disk may report success for a sync
    whose data is lost. Acknowledgements after the power cut are therefore ignored.
    """

    sent: Counter[str] = msgspec.field(default_factory=Counter)
    acknowledged: list[str] = []
    has_power: bool = True


async def write_without_end(user: ApiUser, name: str, ledger: SentTitles) -> None:
    """Write until the server stops answering."""
    for number in itertools.count():
        title = f"{name}-{number}"
        ledger.sent[title] += 1
        try:
            answer = await user.write(title)
        except BrokenError:
            return
        if answer.status != 200:
            assert answer.status == 503, answer
            return
        if ledger.has_power:
            ledger.acknowledged.append(title)


async def write_until_power_cut(server: Server, name: str, ledger: SentTitles) -> None:
    """Run many writing clients and cut the power under them."""
    enough = len(ledger.acknowledged) + WRITES
    ledger.has_power = True
    async with registered_user(server, name) as user, asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            client = await user.reconnect(server)
            clients.create_task(write_without_end(client, f"{name}-{number}", ledger))
        async with asyncio.timeout(LOAD_SECONDS):
            while len(ledger.acknowledged) < enough:  # noqa: ASYNC110 - clients set no event
                await asyncio.sleep(0.005)
        ledger.has_power = False
        cut_power(server.data)


def test_acknowledged_events_survive_power_cuts(tmp_path: Path) -> None:
    image, point = tmp_path / "image", tmp_path / "disk"
    make_image(image, 64)
    ledger = SentTitles()
    for cycle in range(CUTS):
        with loop_disk(image, point), Server(point, 2, by_serve) as server:
            asyncio.run(write_until_power_cut(server, f"user{cycle}", ledger))
            server.kill()
    with loop_disk(image, point):
        with Server(point, 1, by_serve) as server:
            assert server.stop() == 0
        log = read_log(server.log)
        assert not log.faults
        assert verify(server.log, vocabulary=ITEMS).ok
    found = Counter(line.personal["title"] for line in log.lines if line.item)
    assert len(ledger.acknowledged) >= WRITES * CUTS
    assert not [title for title in ledger.acknowledged if found[title] != 1], "lost or duplicated"
    assert not found - ledger.sent, "invented"


def test_control_server_without_syncs_loses_events(tmp_path: Path) -> None:
    image, point = tmp_path / "image", tmp_path / "disk"
    make_image(image, 64)
    ledger = SentTitles()
    command = uvicorn_of("tests.end_to_end.planted:no_sync")
    with loop_disk(image, point), Server(point, 2, command) as server:
        asyncio.run(write_until_power_cut(server, "user", ledger))
        server.kill()
    with loop_disk(image, point):
        lines = readable_lines(server.log)
    assert lines < len(ledger.acknowledged)


def readable_lines(log: Path) -> int:
    """How many lines a disk still has; none if it has lost the file, or its inode."""
    try:
        return log.read_bytes().count(b"\n")
    except OSError:
        return 0
