"""A start over a log that is older than an erasure of which the vault has a tombstone."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from events.errors import StorageFull, VaultUnavailable
from events.vault.tombstones import UNKNOWN, fingerprint
from events.verification.verify import verify
from tests.eventapi.harness import JournalHarness, Storage, lose_key, opened
from tests.eventapi.journal.test_shared import Erase

Damage = Callable[[JournalHarness, dict[str, bytes]], Awaitable[None]]


def rewind(data: Path, lines: int) -> None:
    """Put an older log in place, as a copy without its mark."""
    log = data / "events.jsonl"
    kept = log.read_bytes().splitlines(keepends=True)[:lines]
    for file in data.glob("events.jsonl*"):
        file.unlink()
    log.write_bytes(b"".join(kept))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of the journal."""
    messages = [one.getMessage() for one in caplog.records if one.name == "eventapi.journal"]
    return [message.partition(" What was erased stays erased")[0] for message in messages]


async def _erased_ben_and_rewound(data: Path) -> tuple[Storage, dict[str, bytes]]:
    """A log of ann and ben from before ben's erasure, and the keys of that time."""
    storage = Storage("jsonl", data)
    async with opened(storage) as house:
        await house.register("ann")
        await house.register("ben")
        await house.create(2, "ben's secret")
        keys = await house.vault.all()
        await house.journal.execute(Erase(2))
    rewind(data, 3)
    return storage, keys


def test_a_user_erased_after_the_log_was_copied_is_erased_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        storage, keys = await _erased_ben_and_rewound(tmp_path)
        async with opened(storage) as house:
            state = await house.state()
            assert house.journal.erased_again == ("users/2",)
            assert state.users.by_id[2].status == "erased"
            assert list(state.users.ids_by_name) == ["ann"]
            assert state.items.by_id == {}
            sums = await house.sums()
        (*_, last) = map(json.loads, await storage.lines())
        assert (last["type"], last["subject"]) == ("user.erased", "users/2")
        assert last["actor"] == "operator/eventapi"
        assert set(await storage.keys()) == {"users/1"}
        async with opened(storage) as again:
            assert again.journal.erased_again == ()
            assert await again.sums() == sums
            assert await again.vault.tombstones() == {
                "users/2": frozenset({fingerprint(keys["users/2"])})
            }
        assert len(await storage.lines()) == 4

    asyncio.run(run())
    assert verify(tmp_path / "events.jsonl").ok
    assert warnings(caplog) == [
        "1 user was erased after this log was copied; the erasure was appended again: users/2."
    ]


async def _put_back(house: JournalHarness, keys: dict[str, bytes]) -> None:
    await house.vault.put({"users/2": keys["users/2"]})


async def _zeroed_by_an_earlier_version(house: JournalHarness, _: dict[str, bytes]) -> None:
    vault = house.vault.inner
    await vault._call(lambda db: db.execute("DROP TABLE erased"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [_put_back, _zeroed_by_an_earlier_version])
def test_neither_a_key_put_back_nor_an_earlier_version_hides_an_erasure(
    tmp_path: Path, damage: Damage
) -> None:
    async def run() -> None:
        storage, keys = await _erased_ben_and_rewound(tmp_path)
        house = JournalHarness(storage)
        await damage(house, keys)
        await house.log.close()
        await house.vault.close()
        async with opened(storage) as started:
            assert (await started.state()).users.by_id[2].status == "erased"
        assert set(await storage.keys()) == {"users/1"}

    asyncio.run(run())


def test_many_users_are_erased_again_in_one_append(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with opened(storage) as house:
            for number in range(7):
                await house.register(f"user{number}")
            for number in range(1, 7):
                await house.journal.execute(Erase(number))
        rewind(tmp_path, 7)
        async with opened(storage) as house:
            assert house.log.batches == [6]

    asyncio.run(run())
    assert warnings(caplog) == [
        "6 users were erased after this log was copied; the erasure was appended again: "
        "users/1, users/2, users/3, users/4, users/5, ..."
    ]


def test_a_start_that_cannot_append_the_erasure_serves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        storage, _ = await _erased_ben_and_rewound(tmp_path)
        house = JournalHarness(storage)
        house.log.error = StorageFull("full")
        with pytest.raises(StorageFull):
            await house.journal.start()
        with pytest.raises(Exception, match="not open"):
            await house.register("eve")
        await house.log.close()
        await house.vault.close()
        assert len(await storage.lines()) == 3

    asyncio.run(run())


def test_a_user_without_key_and_tombstone_stops_the_start_and_nobody_is_erased(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        storage, _ = await _erased_ben_and_rewound(tmp_path)
        house = JournalHarness(storage)
        await lose_key(house, "users/1")
        with pytest.raises(VaultUnavailable, match=r"1 user has no key \(users/1\)"):
            await house.journal.start()
        await house.log.close()
        await house.vault.close()
        assert len(await storage.lines()) == 3

    asyncio.run(run())


def test_the_number_of_an_erased_user_is_not_used_again_after_a_rewind(tmp_path: Path) -> None:
    async def run() -> None:
        storage, _ = await _erased_ben_and_rewound(tmp_path)
        shutil.copy(tmp_path / "events.jsonl", tmp_path / "monday")
        rewind(tmp_path, 1)
        async with opened(storage) as house:
            cid = await house.register("cid")
            assert cid.record.subject == "users/3"
            assert house.journal.erased_again == ()
            sums = await house.sums()
        async with opened(storage) as again:
            assert await again.sums() == sums

    asyncio.run(run())


def test_the_new_user_of_a_number_used_again_stays_readable(tmp_path: Path) -> None:
    """Where the vault learns only later that the number was that of an erased user."""

    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with opened(storage) as house:
            await house.register("cid")
            await house.vault.add_tombstones({"users/1": {fingerprint(b"of ben".ljust(32))}})
        async with opened(storage) as again:
            assert again.journal.erased_again == ()
            assert list((await again.state()).users.ids_by_name) == ["cid"]

    asyncio.run(run())


def test_a_start_leaves_a_tombstone_of_every_user_erased_in_the_log(tmp_path: Path) -> None:
    """Also where the vault is a copy that has heard of no erasure."""

    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with opened(storage) as house:
            await house.register("ann")
            await house.journal.execute(Erase(1))
        (tmp_path / "vault.sqlite").unlink()
        async with opened(storage) as house:
            assert await house.vault.tombstones() == {"users/1": frozenset({UNKNOWN})}

    asyncio.run(run())


def test_the_journal_lists_keys_that_it_could_not_destroy_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with opened(storage) as house:
            await house.register("ann")

            async def fail(_: object) -> None:
                raise StorageFull("full")

            with monkeypatch.context() as full:
                full.setattr(house.vault, "destroy", fail)
                await house.journal.execute(Erase(1))
                assert house.journal.pending_destruction == {"users/1"}
            await house.register("ben")
            assert house.journal.pending_destruction == frozenset()

    asyncio.run(run())
