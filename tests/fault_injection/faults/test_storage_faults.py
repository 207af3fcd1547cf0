"""What a whole server does when its disk is full, limited, read-only, in memory, or without power."""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from events.verification.verify import verify
from tests.end_to_end.client import Answer, BrokenError
from tests.end_to_end.server import Server, by_serve, uvicorn_of
from tests.end_to_end.written import read_log
from tests.fault_injection.faults.asking import Person, newcomer
from tests.fault_injection.faults.disks import (
    cut_power,
    filled,
    loop_disk,
    make_image,
    make_read_only,
    memory_disk,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

CUTS = 3
WRITES = 200
"""How many are acknowledged at least before the power is cut."""

LOAD_SECONDS = 30.0
CLIENTS = 8


def assert_full(answer: Answer) -> None:
    """Refused for want of room."""
    assert (answer.status, answer.json()["type"]) == (507, "/problems/storage-full"), answer


async def write_until_full(person: Person) -> list[str]:
    """Write until there is no room any more; the titles that were acknowledged."""
    acknowledged: list[str] = []
    for number in range(10_000):
        title = f"{number} {'x' * 150}"
        answer = await person.write(title)
        if answer.status != 200:
            assert_full(answer)
            return acknowledged
        acknowledged.append(title)
    raise AssertionError("the disk is never full")


def test_a_full_disk_refuses_writes_answers_reads_and_heals_by_itself(tmp_path: Path) -> None:
    """And that it is a disk in memory every worker says at its start."""

    async def run(server: Server) -> list[str]:
        async with newcomer(server) as person:
            people = await person.at_each_worker(server)
            with filled(server.data):
                acknowledged = await write_until_full(person)
                for someone in people:
                    assert_full(await someone.write("no room"))
                    assert await someone.titles() == acknowledged
                assert_full(await person.register("nobody"))
            for number, someone in enumerate(people):
                assert (await someone.write(f"room {number}")).status == 200
                acknowledged.append(f"room {number}")
            assert await person.titles() == acknowledged
            return acknowledged

    with memory_disk(tmp_path / "disk", "4m") as disk:
        with Server(disk, 2, by_serve) as server:
            workers = server.worker_pids()
            acknowledged = asyncio.run(run(server))
            assert server.worker_pids() == workers, "a worker was restarted"
            assert server.stop() == 0
        log = read_log(server.log)
        assert verify(server.log).ok
        assert [line.personal["title"] for line in log.lines if line.item] == acknowledged
        warning = "the data directory is on tmpfs. "
        assert server.output.count(warning) == len(workers)


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path: Path) -> None:
    async def run(server: Server) -> list[str]:
        async with newcomer(server) as person:
            assert (await person.write("before")).status == 200
            _, hard = resource.prlimit(person.worker, resource.RLIMIT_FSIZE)
            # In the middle of a line to come: its first part is written, and must go again.
            limit = server.log.stat().st_size + 20_000
            resource.prlimit(person.worker, resource.RLIMIT_FSIZE, (limit, hard))
            acknowledged = ["before", *await write_until_full(person)]
            assert await person.titles() == acknowledged
            resource.prlimit(person.worker, resource.RLIMIT_FSIZE, (hard, hard))
            assert (await person.write("after")).status == 200
            return [*acknowledged, "after"]

    with Server(tmp_path / "data", 1, by_serve) as server:
        acknowledged = asyncio.run(run(server))
        assert server.stop() == 0
    log = read_log(server.log)
    assert not log.faults
    assert [line.personal["title"] for line in log.lines if line.item] == acknowledged


def test_a_disk_that_turns_read_only_refuses_writes_and_answers_reads(tmp_path: Path) -> None:
    """As ext4 does it after an error; mounted anew, all that was acknowledged is there."""

    async def run(server: Server) -> None:
        async with newcomer(server) as person:
            for title in ("first", "second"):
                assert (await person.write(title)).status == 200
            make_read_only(server.data)
            for _ in range(3):
                answer = await person.write("third")
                assert (answer.status, answer.headers["retry-after"]) == (503, "1"), answer
                assert await person.titles() == ["first", "second"]

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


class Ledger(msgspec.Struct):
    """The titles of all writes that were sent, and of those acknowledged while there was power.

    A server without power answers nobody. Here it lives on for a moment, and the disk may call a
    sync under way a success although nothing of it is kept: such an answer proves nothing.
    """

    sent: Counter[str] = msgspec.field(default_factory=Counter)
    acknowledged: list[str] = []
    has_power: bool = True


async def write_without_end(person: Person, name: str, ledger: Ledger) -> None:
    """Write until the server is gone."""
    for number in itertools.count():
        title = f"{name}-{number}"
        ledger.sent[title] += 1
        try:
            answer = await person.write(title)
        except BrokenError:
            return
        if answer.status != 200:
            assert answer.status == 503, answer
            return
        if ledger.has_power:
            ledger.acknowledged.append(title)


async def write_until_power_cut(server: Server, name: str, ledger: Ledger) -> None:
    """Have many clients write, and cut the power off under them."""
    enough = len(ledger.acknowledged) + WRITES
    ledger.has_power = True
    async with newcomer(server, name) as person, asyncio.TaskGroup() as clients:
        for number in range(CLIENTS):
            client = await person.again(server)
            clients.create_task(write_without_end(client, f"{name}-{number}", ledger))
        async with asyncio.timeout(LOAD_SECONDS):
            while len(ledger.acknowledged) < enough:  # noqa: ASYNC110 - clients do not count
                await asyncio.sleep(0.005)
        ledger.has_power = False
        cut_power(server.data)


def test_what_was_acknowledged_survives_power_cuts(tmp_path: Path) -> None:
    image, point = tmp_path / "image", tmp_path / "disk"
    make_image(image, 64)
    ledger = Ledger()
    for cycle in range(CUTS):
        with loop_disk(image, point), Server(point, 2, by_serve) as server:
            asyncio.run(write_until_power_cut(server, f"person{cycle}", ledger))
            server.kill()
    with loop_disk(image, point):
        with Server(point, 1, by_serve) as server:
            assert server.stop() == 0
        log = read_log(server.log)
        assert not log.faults
        assert verify(server.log).ok
    found = Counter(line.personal["title"] for line in log.lines if line.item)
    assert len(ledger.acknowledged) >= WRITES * CUTS
    assert not [title for title in ledger.acknowledged if found[title] != 1], "lost or doubled"
    assert not found - ledger.sent, "invented"


def test_control_a_server_that_does_not_sync_is_found_out(tmp_path: Path) -> None:
    image, point = tmp_path / "image", tmp_path / "disk"
    make_image(image, 64)
    ledger = Ledger()
    command = uvicorn_of("tests.end_to_end.planted:no_sync")
    with loop_disk(image, point), Server(point, 2, command) as server:
        asyncio.run(write_until_power_cut(server, "person", ledger))
        server.kill()
    with loop_disk(image, point):
        lines = server.log.read_bytes().count(b"\n")
    assert lines < len(ledger.acknowledged)
