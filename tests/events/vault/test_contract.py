"""The contract of `events.vault.port`, and the erasure of keys from SQLite files."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from events.errors import VaultUnavailable
from events.vault.port import Vault
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import UNKNOWN, fingerprint
from tests.events.stores import KINDS, new_store

Open = Callable[[], Awaitable[Vault]]
"""Opens the vault of a test once more, as another process would if the adapter supports several."""

KEYS = {f"users/{number}": bytes([number]) * 32 for number in range(1, 4)}


@pytest.fixture(params=KINDS)
def open_vault(request: pytest.FixtureRequest, tmp_path: Path, cleanup: AsyncExitStack) -> Open:
    """A function that opens the vault; every opened one is closed when the test ends."""
    store = new_store(request.param, request, tmp_path)

    async def open_once_more() -> Vault:
        vault = await store.open_vault()
        cleanup.push_async_callback(vault.close)
        return vault

    return open_once_more


async def test_a_new_vault_has_no_keys(open_vault: Open) -> None:
    vault = await open_vault()
    assert await vault.all() == {}
    assert await vault.get(["users/1"]) == {}


async def test_stored_keys_are_returned_by_every_opening_of_the_vault(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    for opened in (vault, await open_vault()):
        assert await opened.all() == KEYS
        assert await opened.get(["users/2", "users/9"]) == {"users/2": KEYS["users/2"]}
        assert await opened.get([]) == {}


async def test_many_keys_are_returned_at_once(open_vault: Open) -> None:
    vault = await open_vault()
    keys = {f"users/{number}": number.to_bytes(32) for number in range(1, 2000)}
    await vault.put(keys)
    assert await vault.get(set(keys)) == keys


async def test_storing_an_existing_key_replaces_it(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    await vault.put({"users/2": b"k" * 32})
    assert await vault.all() == KEYS | {"users/2": b"k" * 32}


async def test_destroying_a_key_removes_only_that_key(open_vault: Open) -> None:
    vault, other = await open_vault(), await open_vault()
    await vault.put(KEYS)
    await vault.destroy(["users/2", "users/3"])
    for opened in (vault, other):
        assert await opened.all() == {"users/1": KEYS["users/1"]}
        assert await opened.get(KEYS) == {"users/1": KEYS["users/1"]}


async def test_destroying_a_missing_key_is_no_error(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    for _ in range(2):
        await vault.destroy(["users/3", "users/9"])
    await vault.destroy([])
    assert set(await vault.all()) == {"users/1", "users/2"}


async def test_a_subject_can_get_a_new_key_after_its_key_was_destroyed(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    await vault.destroy(KEYS)
    await vault.put({"users/1": b"k" * 32})
    assert await vault.all() == {"users/1": b"k" * 32}


async def test_concurrent_puts_store_every_key(open_vault: Open) -> None:
    vaults = [await open_vault(), await open_vault()]
    keys = [{f"users/{number}": number.to_bytes(32)} for number in range(1, 121)]
    await asyncio.gather(*(vaults[number % 2].put(key) for number, key in enumerate(keys)))
    assert len(await vaults[0].all()) == 120


# Tombstones


async def test_a_new_vault_has_no_tombstones(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    assert await vault.tombstones() == {}


async def test_a_destroyed_key_leaves_a_tombstone_that_every_process_reads(
    open_vault: Open,
) -> None:
    vault, other = await open_vault(), await open_vault()
    await vault.put(KEYS)
    await vault.destroy(["users/2", "users/3"])
    wanted = {name: frozenset({fingerprint(KEYS[name])}) for name in ("users/2", "users/3")}
    assert await vault.tombstones() == await other.tombstones() == wanted


async def test_a_subject_without_a_key_gets_a_tombstone_without_a_fingerprint(
    open_vault: Open,
) -> None:
    vault = await open_vault()
    await vault.destroy(["users/9"])
    assert await vault.tombstones() == {"users/9": frozenset({UNKNOWN})}


async def test_destroying_twice_adds_no_second_tombstone(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    await vault.destroy(["users/2", "users/9"])
    before = await vault.tombstones()
    await vault.destroy(["users/2", "users/9"])
    assert await vault.tombstones() == before


async def test_a_tombstone_survives_a_new_key_and_its_destruction(open_vault: Open) -> None:
    vault = await open_vault()
    await vault.put(KEYS)
    await vault.destroy(["users/1"])
    await vault.put({"users/1": b"k" * 32})
    assert await vault.tombstones() == {"users/1": frozenset({fingerprint(KEYS["users/1"])})}
    await vault.destroy(["users/1"])
    both = frozenset({fingerprint(KEYS["users/1"]), fingerprint(b"k" * 32)})
    assert await vault.tombstones() == {"users/1": both}


async def test_tombstones_of_another_vault_are_added_and_their_keys_destroyed(
    open_vault: Open,
) -> None:
    vault, other = await open_vault(), await open_vault()
    await vault.put(KEYS)
    await vault.destroy(["users/3"])
    taken = {
        "users/1": frozenset({fingerprint(KEYS["users/1"])}),
        "users/2": frozenset({fingerprint(b"of another")}),
        "users/3": frozenset({UNKNOWN}),
    }
    await vault.add_tombstones(taken)
    await vault.add_tombstones({})
    assert await other.all() == {"users/2": KEYS["users/2"]}
    third = frozenset({UNKNOWN, fingerprint(KEYS["users/3"])})
    assert await other.tombstones() == {**taken, "users/3": third}


async def test_many_tombstones_are_stored(open_vault: Open) -> None:
    vault = await open_vault()
    keys = {f"users/{number}": number.to_bytes(32) for number in range(1, 1300)}
    await vault.put(keys)
    await vault.destroy(keys)
    wanted = {name: frozenset({fingerprint(key)}) for name, key in keys.items()}
    assert await vault.tombstones() == wanted
    await vault.add_tombstones(wanted)
    assert await vault.tombstones() == wanted


# SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite"


def _bytes_beside(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def _destroyed_keys_found(path: Path, seed: int) -> set[bytes]:
    """Store, replace and destroy keys; return the destroyed ones found on the disk."""
    chance = random.Random(seed)
    alive: dict[str, bytes] = {}
    gone: set[bytes] = set()
    found: set[bytes] = set()
    vault = SqliteVault(path)
    for _ in range(12):
        new = {f"users/{chance.randrange(10**6)}": chance.randbytes(32) for _ in range(100)}
        gone |= {alive[name] for name in new if name in alive}
        alive |= new
        await vault.put(new)
        ended = chance.sample(sorted(alive), min(len(alive), chance.randint(0, 150)))
        gone |= {alive.pop(name) for name in ended}
        await vault.destroy(ended)
        content = _bytes_beside(path)
        assert all(key in content for key in alive.values())
        found |= {key for key in gone if key in content}
    await vault.close()
    return found


@pytest.mark.parametrize("seed", [6, 9])
async def test_no_file_contains_a_destroyed_key(path: Path, seed: int) -> None:
    assert await _destroyed_keys_found(path, seed) == set()


@pytest.mark.parametrize("seed", [6, 9])
async def test_control_deleted_rows_leave_copies_even_with_secure_delete(
    path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """So no row is ever deleted: SQLite moves rows when it balances its tree."""
    delete = "DELETE FROM keys WHERE subject = ?"
    monkeypatch.setattr("events.vault.sqlite._DESTROY", delete)
    assert await _destroyed_keys_found(path, seed) != set()


async def test_control_a_deleted_row_without_secure_delete_is_found(path: Path) -> None:
    vault = SqliteVault(path)
    await vault.put(KEYS)
    await vault.close()
    with closing(sqlite3.connect(path)) as careless, careless:
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("DELETE FROM keys WHERE subject = 'users/2'")
    assert KEYS["users/2"] in _bytes_beside(path)


async def test_only_the_owner_can_read_the_file(path: Path) -> None:
    await SqliteVault(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_opening_a_vault_again_drops_no_lock_of_this_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two processes could write to it at once."""
    intruder = (
        "import sqlite3, sys\n"
        "try:\n"
        "    sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')\n"
        "except sqlite3.OperationalError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", intruder, str(path)]
    asyncio.run(SqliteVault(path).close())
    monkeypatch.setattr("events.vault.sqlite._BUSY_SECONDS", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with suppress(VaultUnavailable):
            asyncio.run(SqliteVault(path).close())
        assert subprocess.check_output(command, text=True) == "database is locked\n"


async def test_a_put_with_one_invalid_key_stores_none(path: Path) -> None:
    vault = SqliteVault(path)
    with pytest.raises(VaultUnavailable):
        await vault.put({"users/1": b"k" * 32, "users/2": b"too short"})
    assert await vault.all() == {}
    await vault.close()


async def test_a_vault_that_cannot_be_used_is_unavailable(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed vault, one that is locked for too long, and a file that is no vault."""
    monkeypatch.setattr("events.vault.sqlite._BUSY_SECONDS", 0.01)
    vault = SqliteVault(path)
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(VaultUnavailable):
            await vault.put(KEYS)
    await vault.put(KEYS)
    await vault.close()
    with pytest.raises(VaultUnavailable):
        await vault.all()
    path.write_bytes(b"no database, but long enough to be taken for one" * 100)
    with pytest.raises(VaultUnavailable):
        SqliteVault(path)
    with pytest.raises(VaultUnavailable):
        SqliteVault(path.parent / "nowhere" / "keys.sqlite")


def _make_old_vault(path: Path) -> None:
    """Make a vault of an earlier version: one key, one of zeros, no tombstones."""
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("CREATE TABLE keys (subject TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT")
        rows = [("users/1", KEYS["users/1"]), ("users/2", bytes(32))]
        old.executemany("INSERT INTO keys VALUES (?, ?)", rows)


async def test_zeros_of_an_earlier_version_are_tombstones_even_after_a_new_key(path: Path) -> None:
    _make_old_vault(path)
    vault = SqliteVault(path)
    unknown = {"users/2": frozenset({UNKNOWN})}
    assert (await vault.all(), await vault.tombstones()) == ({"users/1": KEYS["users/1"]}, unknown)
    await vault.put({"users/2": b"k" * 32})
    assert await vault.tombstones() == unknown
    await vault.close()


async def test_a_read_only_copy_of_an_earlier_version_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_old_vault(path)
    connect = sqlite3.connect

    def read_only(address: str, **options: Any) -> sqlite3.Connection:
        found: sqlite3.Connection = connect(address.replace("mode=rw", "mode=ro"), **options)
        return found

    monkeypatch.setattr("events.vault.sqlite.sqlite3.connect", read_only)
    vault = SqliteVault(path, begin=False)
    assert await vault.tombstones() == {"users/2": frozenset({UNKNOWN})}
    await vault.close()


async def test_a_key_is_not_destroyed_if_its_tombstone_cannot_be_stored(path: Path) -> None:
    vault = SqliteVault(path)
    await vault.put(KEYS)
    with closing(sqlite3.connect(path)) as careless, careless:
        careless.execute(
            "CREATE TRIGGER no BEFORE UPDATE ON keys BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(VaultUnavailable):
        await vault.destroy(["users/1"])
    assert (await vault.all(), await vault.tombstones()) == (KEYS, {})
    await vault.close()
