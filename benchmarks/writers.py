"""Writers for 64 producers in one process on one core; a producer waits until its event is durable.

`benchmarks.log` runs every writer in a separate process. Our writer is first in a round, because
the others write the lines and batches that it wrote.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate, cycle, pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import msgspec
import redis.asyncio
import uvloop
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate

from benchmarks.results import Appended, percentile
from benchmarks.sample_log import write_items
from benchmarks.workload import NEW_ITEM
from eventapi.bootstrap.storage import open_journal
from eventapi.configuration.settings import Settings
from eventapi.journal.instrumentation import Instrumentation
from eventapi.journal.origin import Origin
from eventapi.testing.items import Content, create_item
from events.log.file.log import JsonlLog
from events.log.port import Head

PRODUCERS = 64
WARM_UP_SECONDS = 0.5
HASH_AT = slice(-66, -2)
"""The place of the hash on a line, in hex."""

Writer = Callable[[Path, float, str], Appended]
"""Takes a folder, the seconds to write, and the URL of the writer's server."""


class Tally:
    """Counts the appends between the end of the warm-up and the end."""

    def __init__(self, seconds: float) -> None:
        self.begins = time.perf_counter() + WARM_UP_SECONDS
        self.ends = self.begins + seconds
        self._waits: list[float] = []
        self._seconds = seconds

    def goes_on(self) -> bool:
        """Whether time is left."""
        return time.perf_counter() < self.ends

    def count(self, started: float) -> None:
        """Count an append that began at ``started`` and is durable now."""
        now = time.perf_counter()
        if self.begins <= now < self.ends:
            self._waits.append(now - started)

    def figures(self, batch: float = 0.0) -> Appended:
        """Return the figures of the counted appends."""
        return figures_of(len(self._waits), self._seconds, self._waits, batch)


def figures_of(events: int, seconds: float, waits: Sequence[float], batch: float) -> Appended:
    """Return the figures of some events; waits are in seconds."""
    p50, p99 = (percentile(waits, share) * 1000 for share in (0.5, 0.99))
    return Appended(rate=events / seconds, p50=p50, p99=p99, batch=batch)


class Batches(Instrumentation):
    """Records the number of lines of each append."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def append(self, lines: int) -> AbstractContextManager[object]:
        self.sizes.append(lines)
        return nullcontext()


def eventapi(folder: Path, seconds: float, _: str) -> Appended:
    """Write through the journal, as requests do: decide, seal, chain, write, sync, apply."""
    batches = Batches()

    async def run() -> Appended:
        await write_items(folder, users=1, items=0)
        async with open_journal(
            Settings(data=str(folder)), instrumentation=batches, begin=True
        ) as (
            journal,
            _,
        ):
            tally = Tally(seconds)

            async def produce() -> None:
                while tally.goes_on():
                    started = time.perf_counter()
                    await journal.execute(create_item(1, Content(**NEW_ITEM)), Origin("r" * 32))
                    tally.count(started)

            await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
        return tally.figures(sum(batches.sizes) / len(batches.sizes))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(run())
    (folder / "batches").write_bytes(msgspec.json.encode(batches.sizes))
    return figures


def read_batches(folder: Path) -> Iterator[list[bytes]]:
    """Yield the batches of lines that `eventapi` wrote into a folder, without the first line."""
    lines = (folder / "events.jsonl").read_bytes().splitlines()[1:]
    sizes = msgspec.json.decode((folder / "batches").read_bytes(), type=list[int])
    return (lines[start:end] for start, end in pairwise(accumulate(sizes, initial=0)))


def raw(folder: Path, seconds: float, _: str) -> Appended:
    """Write the same bytes in the same batches, with one write and one fdatasync each."""
    batches = [(len(batch), b"\n".join([*batch, b""])) for batch in read_batches(folder)]
    descriptor = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    waits, events = [], 0
    began = time.perf_counter()
    for lines, payload in cycle(batches):
        started = time.perf_counter()
        os.write(descriptor, payload)
        os.fdatasync(descriptor)
        ended = time.perf_counter()
        waits.append(ended - started)
        events += lines
        if ended - began > seconds:
            break
    os.close(descriptor)
    return figures_of(events, ended - began, waits, events / len(waits))


def append(folder: Path, seconds: float, _: str) -> Appended:
    """Write the same bytes in the same batches through the log alone: lock, write, sync, mark."""

    async def run() -> Appended:
        log = JsonlLog(folder / "append.jsonl")
        waits, position = [], 0
        began = time.perf_counter()
        for batch in read_batches(folder):
            started = time.perf_counter()
            position += len(batch)
            async with log.exclusive(1) as appender:
                await appender.append(
                    batch, Head(position, bytes.fromhex(batch[-1][HASH_AT].decode()))
                )
            waits.append(time.perf_counter() - started)
            if time.perf_counter() - began > seconds:
                break
        took = time.perf_counter() - began
        await log.close()
        return figures_of(position, took, waits, position / len(waits))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


class Item(Aggregate):
    """An item as an aggregate of the library."""

    def __init__(self, owner: int, title: str, description: str) -> None:
        self.owner = owner
        self.title = title
        self.description = description


def eventsourcing_sqlite(folder: Path, seconds: float, _: str) -> Appended:
    """Write one event of a new aggregate per transaction; WAL, SQLite's default synchronous=FULL."""
    module = {"PERSISTENCE_MODULE": "eventsourcing.sqlite"}
    return _write_aggregates(
        seconds, {**module, "SQLITE_DBNAME": str(folder / "eventsourcing.sqlite")}
    )


def eventsourcing_postgresql(_: Path, seconds: float, url: str) -> Appended:
    """Write the same on PostgreSQL, over the library's own pool."""
    parts = urlsplit(url)
    return _write_aggregates(
        seconds,
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": parts.path.lstrip("/"),
            "POSTGRES_HOST": parts.hostname or "",
            "POSTGRES_PORT": str(parts.port),
            "POSTGRES_USER": parts.username or "",
            "POSTGRES_PASSWORD": unquote(parts.password or ""),
        },
    )


def _write_aggregates(seconds: float, environment: dict[str, str]) -> Appended:
    application = Application[UUID](environment)
    tally = Tally(seconds)

    def produce() -> None:
        while tally.goes_on():
            started = time.perf_counter()
            application.save(Item(1, **NEW_ITEM))
            tally.count(started)

    with ThreadPoolExecutor(PRODUCERS) as pool:
        for producer in [pool.submit(produce) for _ in range(PRODUCERS)]:
            producer.result()
    application.close()
    return tally.figures()


def valkey(folder: Path, seconds: float, url: str) -> Appended:
    """Write our lines into a stream (XADD), ``appendfsync always``, one connection per producer."""
    lines = cycle([line for batch in read_batches(folder) for line in batch][:10_000])

    async def run() -> Appended:
        tally = Tally(seconds)

        async def produce() -> None:
            async with redis.asyncio.Redis.from_url(url, single_connection_client=True) as client:
                while tally.goes_on():
                    started = time.perf_counter()
                    await client.xadd("log", {"line": next(lines)})
                    tally.count(started)

        await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
        return tally.figures()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


WRITERS: Mapping[str, Writer] = {
    "eventapi": eventapi,
    "raw": raw,
    "append": append,
    "valkey": valkey,
    "eventsourcing-sqlite": eventsourcing_sqlite,
    "eventsourcing-postgresql": eventsourcing_postgresql,
}
"""Writers by their names in `benchmarks.log`."""
