"""The signing store in a database: one key for all, and copies do not sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from events.database.connection import Database
from events.database.tables import KEYS
from events.errors import SigningSuspended
from events.transparency.checkpoints import Checkpoints
from events.transparency.merkle import root_of
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.sql import SqlSigning
from events.transparency.tree import Tree
from tests.events.rows import Server, with_port
from tests.events.transparency.test_tree import LONGEST, LongLog
from tests.servers.postgresql import PostgreSQL
from tests.servers.replication import Standby
from tests.servers.serving import serving

pytestmark = pytest.mark.usefixtures("collected")

COPIED = "was copied or restored to this place"


@asynccontextmanager
async def instance(
    url: str, data: Path, size: int, *, behind_seconds: float = 0.0, log: LongLog | None = None
) -> AsyncIterator[Checkpoints]:
    """The checkpoints of an instance whose log has ``size`` lines."""
    data.mkdir(exist_ok=True)
    database = await Database.open(url)
    try:
        store = SqlSigning(database, data / "database.checkpoint")
        yield Checkpoints(Tree(log or LongLog(size)), store, behind_seconds)
    finally:
        await database.close()


async def sign(url: str, data: Path, size: int) -> Note:
    async with instance(url, data, size) as checkpoints:
        return await checkpoints.current()


async def assert_suspended(url: str, data: Path, size: int, reason: str) -> None:
    with pytest.raises(SigningSuspended, match=reason):
        await sign(url, data, size)


async def confirm(url: str, data: Path, size: int, note: Note) -> None:
    async with instance(url, data, size) as checkpoints:
        await checkpoints.confirm(note)


async def test_all_instances_sign_with_one_key_and_continue_each_other(
    url: str, tmp_path: Path
) -> None:
    first = await sign(url, tmp_path / "1", 5)
    assert await sign(url, tmp_path / "2", 5) == first
    second = TreeHead.parse(await sign(url, tmp_path / "2", 300))
    assert second.origin == TreeHead.parse(first).origin
    assert second.root == root_of(LONGEST[:300])
    assert await sign(url, tmp_path / "1", 300) == await sign(url, tmp_path / "2", 300)


async def test_concurrent_signers_of_the_first_checkpoint_agree(url: str, tmp_path: Path) -> None:
    signing = [sign(url, tmp_path / str(number), 9) for number in range(6)]
    assert len(set(map(str, await asyncio.gather(*signing)))) == 1


async def test_a_key_that_another_instance_creates_during_a_read_is_not_taken_for_a_copy(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_row = SqlSigning._row
    first_reads = iter([True])

    async def row_then_first_signature(self: SqlSigning, connection: AsyncConnection) -> Any:
        row = await read_row(self, connection)
        if next(first_reads, False):
            await sign(url, tmp_path / "other", 9)
        return row

    monkeypatch.setattr(SqlSigning, "_row", row_then_first_signature)

    note = await sign(url, tmp_path / "own", 9)

    monkeypatch.undo()
    assert note == await sign(url, tmp_path / "third", 9)


async def test_an_instance_that_is_behind_waits_for_the_records_that_another_one_signed(
    url: str, tmp_path: Path
) -> None:
    newest = await sign(url, tmp_path / "1", 20)
    log = LongLog(10)

    async def catch_up() -> None:
        await asyncio.sleep(0.1)
        log.extend(20)

    async with instance(url, tmp_path / "2", 0, behind_seconds=10, log=log) as checkpoints:
        note, _ = await asyncio.gather(checkpoints.current(), catch_up())
    assert note == newest


async def test_an_instance_that_has_seen_a_newer_checkpoint_refuses_an_older_database(
    url: str, tmp_path: Path, server: Server
) -> None:
    """The row is restored in a way that the database does not reveal."""
    await sign(url, tmp_path / "1", 5)
    await sign(url, tmp_path / "2", 9)
    note = await sign(url, tmp_path / "other", 9)
    signer = Signer.from_seed(await _seed(url), "eventapi/")
    root = root_of(LONGEST[:5])
    older = signer.sign(str(TreeHead(signer.verifier.name, 5, root)))
    await confirm(url, tmp_path / "fresh", 9, note)
    await _put_row_back(url, older)
    await assert_suspended(url, tmp_path / "2", 7, "that covers 9 events, and the log has 7")


async def _seed(url: str) -> bytes:
    database = await Database.open(url)
    try:
        async with database.reading.connect() as connection:
            found = await connection.scalar(
                KEYS.select().with_only_columns(KEYS.c.key).where(KEYS.c.subject == "log")
            )
            assert isinstance(found, bytes)
            return found
    finally:
        await database.close()


async def _put_row_back(url: str, note: Note) -> None:
    """Write an older checkpoint in the same way as a store in this place."""
    database = await Database.open(url)
    try:
        async with SqlSigning(database, Path("/nonexistent/checkpoint")).exclusive() as row:
            await row.record(note)
    finally:
        await database.close()


# Dumps and standbys

Restored = Callable[[PostgreSQL, str], str]


def _into_another_database(postgresql: PostgreSQL, url: str) -> str:
    other = postgresql.new_database()
    _psql(postgresql, _dump(postgresql, url), other)
    return other


def _over_the_old_one(postgresql: PostgreSQL, url: str) -> str:
    dump = _dump(postgresql, url, "--clean")
    _psql(postgresql, dump, url)
    return url


def _rows_alone(postgresql: PostgreSQL, url: str) -> str:
    """Load rows into the existing tables, which keep their identity."""
    dump = _dump(postgresql, url, "--data-only")
    _psql(
        postgresql,
        "DELETE FROM eventapi_signing; DELETE FROM eventapi_keys;"
        "DELETE FROM eventapi_head; DELETE FROM eventapi_events;" + dump,
        url,
    )
    return url


def _dump(postgresql: PostgreSQL, url: str, *options: str) -> str:
    return postgresql.run([postgresql.program("pg_dump"), "--no-owner", *options, url])


def _psql(postgresql: PostgreSQL, statements: str, url: str) -> None:
    psql: list[str | Path] = [postgresql.program("psql"), "--quiet", "--set=ON_ERROR_STOP=1", url]
    postgresql.run(psql, statements)


@pytest.mark.parametrize("restored", [_into_another_database, _over_the_old_one, _rows_alone])
async def test_a_loaded_dump_signs_nothing_until_the_newest_checkpoint_is_confirmed(
    restored: Restored, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    url = postgresql.new_database()
    newest = await sign(url, tmp_path / "1", 5)
    there = restored(postgresql, url)
    await assert_suspended(there, tmp_path / "fresh", 9, COPIED)
    await confirm(there, tmp_path / "fresh", 9, newest)
    assert TreeHead.parse(await sign(there, tmp_path / "another", 9)).size == 9


async def test_control_a_row_without_its_transaction_signs_in_a_loaded_dump(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def anywhere(_: object) -> str:
        return ""

    monkeypatch.setattr("events.transparency.signing.sql.transaction_id", anywhere)
    url = postgresql.new_database()
    await sign(url, tmp_path / "1", 5)
    _rows_alone(postgresql, url)
    assert TreeHead.parse(await sign(url, tmp_path / "fresh", 9)).size == 9


async def test_all_instances_use_a_new_key(url: str, tmp_path: Path) -> None:
    old = await sign(url, tmp_path / "1", 5)
    signer = Signer.from_seed(bytes(range(32)), "eventapi/")
    async with instance(url, tmp_path / "1", 4) as checkpoints:
        assert TreeHead.parse(await checkpoints.begin(signer)).origin != TreeHead.parse(old).origin
    note = await sign(url, tmp_path / "2", 6)
    assert signer.verifier.verify(note)


async def test_nothing_is_signed_if_the_key_of_the_row_is_missing(url: str, tmp_path: Path) -> None:
    await sign(url, tmp_path / "1", 5)
    database = await Database.open(url)
    async with database.writing.begin() as connection:
        await connection.execute(KEYS.delete())
    await database.close()
    await assert_suspended(url, tmp_path / "fresh", 9, "is missing")


@pytest.mark.long
async def test_a_promoted_standby_signs_nothing_until_the_newest_checkpoint_is_confirmed(
    tmp_path: Path,
) -> None:
    """It may lack the newest signature of the primary, without knowing it."""
    with serving(PostgreSQL()) as primary:
        newest = await sign(primary.url, tmp_path / "1", 5)
        with serving(Standby(primary)) as standby:
            standby.promote()
            url = with_port(primary.url, standby.port)
            await assert_suspended(url, tmp_path / "fresh", 9, COPIED)
            await confirm(url, tmp_path / "fresh", 9, newest)
            assert TreeHead.parse(await sign(url, tmp_path / "another", 9)).size == 9
