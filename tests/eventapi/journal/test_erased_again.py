"""A start over a log that is older than an erasure of which the vault has a tombstone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from eventapi.testing.items import ITEMS
from events.errors import StorageFull, VaultUnavailable
from events.vault.tombstones import UNKNOWN, fingerprint
from events.verification.verify import verify
from tests.eventapi.harness import JournalHarness, Storage, delete_key, open_harness
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
    return [message.partition(" The users stay erased")[0] for message in messages]


async def _erased_ben_and_rewound(data: Path) -> tuple[Storage, dict[str, bytes]]:
    """A log of ann and ben from before ben's erasure, and the keys of that time."""
    storage = Storage("jsonl", data)
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.register("ben")
        await harness.create(2, "ben's secret")
        keys = await harness.vault.all()
        await harness.journal.execute(Erase(2))
    rewind(data, 3)
    return storage, keys


async def test_user_erased_after_the_log_was_copied_is_erased_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        storage, keys = await _erased_ben_and_rewound(tmp_path)
        async with open_harness(storage) as harness:
            state = await harness.state()
            assert harness.journal.erased_again == ("users/2",)
            assert state.users.by_id[2].status == "erased"
            assert list(state.users.ids_by_name) == ["ann"]
            assert state["items"].by_id == {}
            sums = await harness.sums()
        (*_, last) = map(json.loads, await storage.lines())
        assert (last["type"], last["subject"]) == ("user.erased", "users/2")
        assert last["actor"] == "operator/eventapi"
        assert set(await storage.keys()) == {"users/1"}
        async with open_harness(storage) as again:
            assert again.journal.erased_again == ()
            assert await again.sums() == sums
            assert await again.vault.tombstones() == {
                "users/2": frozenset({fingerprint(keys["users/2"])})
            }
        assert len(await storage.lines()) == 4

    await run()
    assert verify(tmp_path / "events.jsonl", vocabulary=ITEMS).ok
    assert warnings(caplog) == [
        "1 user was erased after this log was copied; the erasure was appended again: users/2."
    ]


async def _put_back(harness: JournalHarness, keys: dict[str, bytes]) -> None:
    await harness.vault.put({"users/2": keys["users/2"]})


async def _zeroed_by_an_earlier_version(harness: JournalHarness, _: dict[str, bytes]) -> None:
    vault = harness.vault.inner
    await vault._call(lambda db: db.execute("DROP TABLE erased"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [_put_back, _zeroed_by_an_earlier_version])
async def test_restored_key_or_older_vault_does_not_hide_an_erasure(
    tmp_path: Path, damage: Damage
) -> None:
    storage, keys = await _erased_ben_and_rewound(tmp_path)
    harness = JournalHarness(storage)
    await damage(harness, keys)
    await harness.log.close()
    await harness.vault.close()
    async with open_harness(storage) as started:
        assert (await started.state()).users.by_id[2].status == "erased"
    assert set(await storage.keys()) == {"users/1"}


async def test_many_users_are_erased_again_in_one_append(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        storage = Storage("jsonl", tmp_path)
        async with open_harness(storage) as harness:
            for number in range(7):
                await harness.register(f"user{number}")
            for number in range(1, 7):
                await harness.journal.execute(Erase(number))
        rewind(tmp_path, 7)
        async with open_harness(storage) as harness:
            assert harness.log.batches == [6]

    await run()
    assert warnings(caplog) == [
        "6 users were erased after this log was copied; the erasure was appended again: "
        "users/1, users/2, users/3, users/4, users/5, ..."
    ]


async def test_start_fails_if_the_repeated_erasure_cannot_be_appended(tmp_path: Path) -> None:
    storage, _ = await _erased_ben_and_rewound(tmp_path)
    harness = JournalHarness(storage)
    harness.log.error = StorageFull("full")
    with pytest.raises(StorageFull):
        await harness.journal.start()
    with pytest.raises(Exception, match="not open"):
        await harness.register("eve")
    await harness.log.close()
    await harness.vault.close()
    assert len(await storage.lines()) == 3


async def test_user_without_key_and_tombstone_stops_the_start_and_erases_no_user(
    tmp_path: Path,
) -> None:
    storage, _ = await _erased_ben_and_rewound(tmp_path)
    harness = JournalHarness(storage)
    await delete_key(harness, "users/1")
    with pytest.raises(VaultUnavailable, match=r"1 user has no key \(users/1\)"):
        await harness.journal.start()
    await harness.log.close()
    await harness.vault.close()
    assert len(await storage.lines()) == 3


async def test_the_number_of_an_erased_user_is_not_used_again_after_a_rewind(
    tmp_path: Path,
) -> None:
    storage, _ = await _erased_ben_and_rewound(tmp_path)
    shutil.copy(tmp_path / "events.jsonl", tmp_path / "monday")
    rewind(tmp_path, 1)
    async with open_harness(storage) as harness:
        cid = await harness.register("cid")
        assert cid.record.subject == "users/3"
        assert harness.journal.erased_again == ()
        sums = await harness.sums()
    async with open_harness(storage) as again:
        assert await again.sums() == sums


async def test_the_new_user_of_a_number_used_again_stays_readable(tmp_path: Path) -> None:
    """Where the vault learns only later that the number was that of an erased user."""
    storage = Storage("jsonl", tmp_path)
    async with open_harness(storage) as harness:
        await harness.register("cid")
        await harness.vault.add_tombstones({"users/1": {fingerprint(b"of ben".ljust(32))}})
    async with open_harness(storage) as again:
        assert again.journal.erased_again == ()
        assert list((await again.state()).users.ids_by_name) == ["cid"]


async def test_start_writes_a_tombstone_for_every_erased_user(tmp_path: Path) -> None:
    """Also if the vault is a copy from before all erasures."""
    storage = Storage("jsonl", tmp_path)
    async with open_harness(storage) as harness:
        await harness.register("ann")
        await harness.journal.execute(Erase(1))
    (tmp_path / "vault.sqlite").unlink()
    async with open_harness(storage) as harness:
        assert await harness.vault.tombstones() == {"users/1": frozenset({UNKNOWN})}


async def test_journal_lists_keys_that_it_could_not_destroy_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage("jsonl", tmp_path)
    async with open_harness(storage) as harness:
        await harness.register("ann")

        async def fail(_: object) -> None:
            raise StorageFull("full")

        with monkeypatch.context() as full:
            full.setattr(harness.vault, "destroy", fail)
            await harness.journal.execute(Erase(1))
            assert harness.journal.pending_destruction == {"users/1"}
        await harness.register("ben")
        assert harness.journal.pending_destruction == frozenset()
