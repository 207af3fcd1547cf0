"""One connection to ``followers.sqlite``, whatever happens to the file."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from eventapi.followers.file import FileFollowers
from eventapi.followers.port import Lease, Parked, Progress
from eventapi.testing.given import at
from events.errors import FollowersUnavailable, LeaseLost
from tests.end_to_end.server import ROOT

FIRST = Progress(7, "ab" * 32)
SECOND = Progress(8, "cd" * 32)
PARKED = Parked(7, "verification", at(1), at(2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "followers.sqlite"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[FileFollowers]:
    """A store, as one process has it."""
    store = FileFollowers(path)
    try:
        yield store
    finally:
        await store.close()


async def acquired(store: FileFollowers, name: str = "mail") -> Lease:
    lease = await store.acquire(name)
    assert lease is not None
    return lease


@asynccontextmanager
async def stored(path: Path) -> AsyncIterator[tuple[FileFollowers, Lease]]:
    """A store and the lease of a follower that has stored `FIRST`."""
    async with opened(path) as store:
        mail = await acquired(store)
        await mail.store(FIRST)
        yield store, mail


def open_files(path: Path) -> int:
    """How often this process has a file of that name open."""
    return sum(
        one.is_symlink() and str(path) in str(one.readlink())
        for one in Path("/proc/self/fd").iterdir()
    )


async def test_a_store_opens_its_file_once_and_closes_it(path: Path) -> None:
    opened_files = []
    connect = sqlite3.connect

    def count(*arguments: object, **options: object) -> object:
        opened_files.append(arguments)
        return connect(*arguments, **options)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", count)
        async with opened(path) as store:
            mail, hook = await acquired(store), await acquired(store, "webhook-1")
            for number in range(10):
                await asyncio.gather(mail.store(Progress(number)), hook.store(FIRST))
                await mail.park(PARKED)
                assert await store.read("mail") == Progress(number)
            assert open_files(path) == 1
    assert len(opened_files) == 1
    assert open_files(path) == 0


async def test_a_file_that_is_removed_is_made_anew(path: Path) -> None:
    async with opened(path) as store, opened(path) as other:
        mail, hook = await acquired(store), await acquired(other, "webhook-1")
        await mail.store(FIRST)
        await mail.park(PARKED)
        await hook.store(FIRST)
        path.unlink()
        assert await store.read("mail") is await other.read("mail") is None
        assert not path.exists()  # Reading creates nothing.
        await mail.store(SECOND)
        await hook.store(SECOND)
        for one in (store, other):
            assert await one.read("mail") == await one.read("webhook-1") == SECOND
        assert [*await mail.parked()] == []
        assert open_files(path) == 2


async def test_a_file_that_is_replaced_is_read(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    async with opened(copy / "followers.sqlite") as other:
        lease = await acquired(other)
        await lease.store(SECOND)
    async with stored(path) as (store, mail):
        (copy / "followers.sqlite").rename(path)
        assert await store.read("mail") == await mail.read() == SECOND
        await mail.store(FIRST)
        async with opened(path) as another:
            assert await another.read("mail") == FIRST


async def test_a_file_that_is_removed_during_a_transaction_is_unavailable_once(path: Path) -> None:
    async with stored(path) as (store, mail):

        def remove_and_write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            path.unlink()
            db.execute("DELETE FROM followers")

        with pytest.raises(FollowersUnavailable):
            await store.call(remove_and_write)
        await mail.store(SECOND)
        assert await store.read("mail") == SECOND


async def test_a_file_that_is_damaged_while_it_is_open_can_be_removed(path: Path) -> None:
    async with stored(path) as (store, mail):
        path.write_bytes(b"no database" * 1_000)
        for _ in range(2):
            with pytest.raises(FollowersUnavailable, match=r"followers\.sqlite"):
                await mail.store(SECOND)
        path.unlink()
        await mail.store(SECOND)
        assert await store.read("mail") == SECOND


async def test_a_file_that_is_repaired_in_place_is_used(path: Path) -> None:
    async with stored(path) as (store, mail):
        content = path.read_bytes()
        path.write_bytes(b"no database" * 1_000)
        with pytest.raises(FollowersUnavailable):
            await mail.store(SECOND)
        path.write_bytes(content)
        assert await store.read("mail") == FIRST
        await mail.store(SECOND)


async def test_a_file_that_is_emptied_gets_its_tables_again(path: Path) -> None:
    async with stored(path) as (store, mail):
        path.write_bytes(b"")
        with pytest.raises(FollowersUnavailable, match="no such table"):
            await mail.store(SECOND)
        await mail.store(SECOND)
        assert await store.read("mail") == SECOND


async def test_a_failed_transaction_changes_nothing(path: Path) -> None:
    async with stored(path) as (store, _):

        def write_and_fail(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM followers").close()
            raise LeaseLost("another holder")

        with pytest.raises(LeaseLost):
            await store.call(write_and_fail)
        assert await store.read("mail") == FIRST
        async with opened(path) as other:
            await (await acquired(other, "webhook-1")).store(FIRST)  # Nothing is locked.


async def test_work_is_done_although_its_caller_is_cancelled(path: Path) -> None:
    async with opened(path) as store:
        mail = await acquired(store)
        tasks = [asyncio.create_task(mail.store(Progress(number))) for number in range(1, 9)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)
        assert (await store.read("mail")) in {Progress(number) for number in range(1, 9)}


# Other processes and other versions

_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from eventapi.followers.file import FileFollowers
from eventapi.followers.port import Progress

async def main(path, name, how):
    store = FileFollowers(Path(path))
    lease = await store.acquire(name)
    for number in range(1, 51):
        await lease.store(Progress(number))
    if how == "kill":
        def half(db):
            db.execute("PRAGMA cache_spill = 1")
            db.execute("PRAGMA cache_size = 1")
            db.execute("BEGIN IMMEDIATE")
            for number in range(500):
                db.execute("INSERT INTO followers VALUES (?, 1, ?, '', '')", [f"x{number}", "x" * 500])
            os.kill(os.getpid(), 9)
        await store.call(half)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def start(path: Path, name: str, how: str = "close") -> subprocess.Popen[bytes]:
    """A process that stores 50 positions."""
    return subprocess.Popen([sys.executable, "-c", _PROCESS, str(path), name, how], cwd=ROOT)


async def test_several_processes_store_at_the_same_time(path: Path) -> None:
    names = ["webhook-1", "webhook-2"]
    processes = [start(path, name) for name in names]
    async with opened(path) as store:
        mail = await acquired(store)
        while any(process.poll() is None for process in processes):
            await mail.store(FIRST)
        for name in names:
            assert await store.read(name) == Progress(50)
        assert await store.read("mail") == FIRST
    assert [process.wait() for process in processes] == [0, 0]


async def test_a_transaction_of_a_killed_process_is_undone(path: Path) -> None:
    async with stored(path) as (store, _):
        process = start(path, "webhook-1", "kill")
        assert process.wait() == -9
        journal = path.with_name("followers.sqlite-journal").read_bytes()
        assert journal[:8] != bytes(8)  # It is needed.
        assert await store.read("mail") == FIRST
        assert await store.read("webhook-1") == Progress(50)
        assert await store.read("x1") is None


_EARLIER = """
CREATE TABLE followers (
    name TEXT PRIMARY KEY, position INTEGER NOT NULL, hash TEXT NOT NULL,
    failing_since TEXT NOT NULL, status TEXT NOT NULL
) STRICT
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_a_file_of_an_earlier_version_is_used_and_can_be_used_by_it_again(
    path: Path, mode: str
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute(_EARLIER)
        db.execute("INSERT INTO followers VALUES ('mail', 7, ?, '', '')", ["ab" * 32])
    async with opened(path) as store:
        mail = await acquired(store)
        assert await mail.read() == FIRST
        await mail.store(SECOND)
        for position in (9, 10):  # An earlier version beside this one.
            with closing(sqlite3.connect(path)) as db, db:
                assert db.execute("SELECT position FROM followers").fetchall() == [(position - 1,)]
                db.execute("UPDATE followers SET position = ?", [position])
            assert (await store.read("mail")) == Progress(position, SECOND.hash)
            await mail.store(Progress(position, SECOND.hash))
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("SELECT position FROM followers").fetchall() == [(10,)]
