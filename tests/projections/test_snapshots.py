"""A snapshot changes how long a start takes, and nothing else."""

from __future__ import annotations

import asyncio
import errno
import logging
import tempfile
import threading
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventapi.testing.given import Happened, created, registered, started
from eventapi.testing.items import ITEMS
from eventapi.testing.sample_log import Written, erased_users, key_of, write
from eventapi.testing.strategies import sound_histories
from events.errors import DamagedLog
from events.log.memory import MemoryLog
from events.log.port import Head
from events.record import Record
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.users import UserErased
from projections import snapshots as module
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State

STORY = [
    registered(1, "ann"),
    registered(2, "bob"),
    created(1, 1, "a secret of ann"),
    created(2, 2, "a secret of bob"),
    started("s1", 1),
    created(3, 1, "more of ann"),
]

_random = Random(7)


def sums(state: State) -> tuple[str, str, int, bytes, bytes]:
    versions = bytes(state.resources.versions).rstrip(b"\0")  # Its end is spare.
    return state.digest(), state.checksum(), state.position, state.last.hash, versions


def keyring_of(written: Written) -> Keyring:
    keyring = Keyring()
    for subject in written.keys:
        keyring.add(subject, key_of(subject))
    return keyring


def replayed(
    written: Written,
    snapshots: Snapshots | None,
    *,
    log: MemoryLog | None = None,
    position: int | None = None,
    time: str | None = None,
    destroyed: set[str] | None = None,
) -> State:
    """The state of a start, with or without snapshots."""

    async def run() -> State:
        vault = await written.vault(destroyed or set())
        source = log or written.log
        return await replay(
            source, Keyring(), vault, ITEMS, snapshots=snapshots, position=position, time=time
        )

    return asyncio.run(run())


def take(snapshots: Snapshots, written: Written, position: int | None = None) -> None:
    """Take a snapshot at a position, or at the end."""
    state = replayed(written, None, position=position)
    snapshots.write(state, keyring_of(written), _random.randbytes)


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "snapshots", ITEMS)


def files(snapshots: Snapshots) -> list[Path]:
    return sorted(snapshots._directory.glob("*.snapshot"))


@given(sound_histories(), st.data())
def test_snapshot_and_tail_fold_to_the_state_of_the_whole_log(
    history: list[Happened], data: st.DataObject
) -> None:
    written = write(history)
    gone = erased_users(replayed(written, None))
    at = data.draw(st.integers(0, len(history)))
    with tempfile.TemporaryDirectory() as directory:
        kept = Snapshots(Path(directory), ITEMS)
        if at:
            take(kept, written, at)
        for destroyed in (set(), gone):
            expected = replayed(written, None, destroyed=destroyed)
            assert sums(replayed(written, kept, destroyed=destroyed)) == sums(expected)


def test_snapshot_is_read_in_another_thread(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers from a snapshot can answer other requests meanwhile."""
    written = write(STORY)
    take(snapshots, written)
    threads: list[threading.Thread] = []
    newest = snapshots.newest

    def noted(keyring: Keyring, *, position: int, time: str | None = None) -> State | None:
        threads.append(threading.current_thread())
        return newest(keyring, position=position, time=time)

    monkeypatch.setattr(snapshots, "newest", noted)
    replayed(written, snapshots)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_start_folds_only_the_records_after_the_snapshot(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(STORY)
    take(snapshots, written, 5)
    folded: list[int] = []
    apply = State.apply

    def counted(self: State, record: Record) -> object:
        folded.append(record.position)
        return apply(self, record)

    monkeypatch.setattr(State, "apply", counted)
    replayed(written, snapshots)
    assert folded == [6]


@pytest.mark.parametrize("reaches", [3, 5, None])
def test_a_state_at_a_position_starts_from_no_later_snapshot(
    snapshots: Snapshots, reaches: int | None
) -> None:
    written = write(STORY)
    take(snapshots, written, 2)
    take(snapshots, written, 5)
    expected = sums(replayed(written, None, position=reaches))
    assert sums(replayed(written, snapshots, position=reaches)) == expected


def test_a_state_at_a_time_starts_from_no_later_snapshot(snapshots: Snapshots) -> None:
    written = write(STORY)
    take(snapshots, written, 2)
    take(snapshots, written, 5)
    time = written.records[2].time
    assert replayed(written, snapshots, time=time).position == 3


def test_a_snapshot_with_any_byte_changed_is_passed_over(
    snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    written = write(STORY)
    take(snapshots, written)
    (file,) = files(snapshots)
    whole = file.read_bytes()
    for at in range(0, len(whole), 7):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert snapshots.newest(keyring_of(written), position=99) is None
        assert not file.exists()
    assert f"the snapshot {file.name} was damaged and has been removed" in caplog.text
    assert sums(replayed(written, snapshots)) == sums(replayed(written, None))


def damage(file: Path) -> None:
    """Change the last byte, which is a random one."""
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_damaged_snapshot_does_not_keep_a_new_one_from_being_taken(snapshots: Snapshots) -> None:
    """Its header may be whole, so by its header it is usable."""
    written = write(STORY)
    take(snapshots, written)
    (file,) = files(snapshots)
    damage(file)
    replayed(written, snapshots)
    assert snapshots.usable_position() == 0


def test_a_damaged_snapshot_that_cannot_be_removed_is_passed_over(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = write(STORY)
    take(snapshots, written)
    (file,) = files(snapshots)
    damage(file)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert sums(replayed(written, snapshots)) == sums(replayed(written, None))
    assert "is damaged and cannot be removed" in caplog.text


@pytest.mark.parametrize("lock", ["locked", "claimed"])
def test_lock_of_the_snapshots_is_exclusive(tmp_path: Path, lock: str) -> None:
    one, other = Snapshots(tmp_path, ITEMS), Snapshots(tmp_path, ITEMS)
    with getattr(one, lock)() as first, getattr(other, lock)() as second:
        assert (first, second) == (True, False)
    with getattr(other, lock)() as again:
        assert again


def test_a_snapshot_of_any_shorter_length_is_passed_over(snapshots: Snapshots) -> None:
    written = write(STORY)
    take(snapshots, written)
    (file,) = files(snapshots)
    whole = file.read_bytes()
    for length in range(0, len(whole), 5):
        file.write_bytes(whole[:length])
        assert snapshots.newest(keyring_of(written), position=99) is None


def test_a_snapshot_of_other_code_is_passed_over(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(STORY)
    take(snapshots, written)
    assert snapshots.usable_position() == len(STORY)
    monkeypatch.setattr(module, "code_version", lambda: "another")
    other = Snapshots(snapshots._directory, ITEMS)
    assert other.newest(keyring_of(written), position=99) is None
    assert other.usable_position() == 0


def test_a_snapshot_of_another_log_is_passed_over(
    snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    take(snapshots, write([registered(1, "eve"), *STORY[1:]]))
    written = write(STORY)
    with caplog.at_level(logging.WARNING):
        assert sums(replayed(written, snapshots)) == sums(replayed(written, None))
    assert "it belongs to another log" in caplog.text


def test_a_snapshot_with_users_who_came_after_the_keys_were_read_is_not_used(
    snapshots: Snapshots,
) -> None:
    """Their names would be missing as if they were erased."""
    written = write([registered(1, "ann"), registered(2, "bob"), created(1, 2), created(2, 1)])
    taken = replayed(written, None, position=3)
    log = MemoryLog(written.lines[:1], Head(1, written.records[0].hash))

    class Vault(MemoryVault):
        """While its answer is under way, others register, and take a snapshot."""

        async def all(self) -> dict[str, bytes]:
            keys = await super().all()
            if log.position == 1:
                await self.put(written.keys)
                async with log.exclusive(1) as appender:
                    await appender.append(written.lines[1:3], Head(3, written.records[2].hash))
                snapshots.write(taken, keyring_of(written), _random.randbytes)
                async with log.exclusive(1) as appender:
                    await appender.append(written.lines[3:], Head(4, written.records[3].hash))
            return keys

    async def run() -> State:
        vault = Vault()
        await vault.put({"users/1": written.keys["users/1"]})
        return await replay(log, Keyring(), vault, ITEMS, snapshots=snapshots)

    assert sums(asyncio.run(run())) == sums(replayed(written, None))


def test_an_older_snapshot_serves_where_the_newer_is_damaged(snapshots: Snapshots) -> None:
    written = write(STORY)
    take(snapshots, written, 3)
    take(snapshots, written, 5)
    files(snapshots)[1].write_bytes(b"damaged")
    state = snapshots.newest(keyring_of(written), position=99)
    assert state is not None
    assert state.position == 3


def test_damage_below_a_snapshot_still_refuses_the_start(snapshots: Snapshots) -> None:
    """A cache must not hide damage of the log."""
    written = write(STORY)
    take(snapshots, written, 5)
    lines = list(written.lines)
    lines[1] = lines[1].replace(b"users/2", b"users/3", 1)
    with pytest.raises(DamagedLog) as refusal:
        replayed(written, snapshots, log=MemoryLog(lines, written.log.head))
    assert refusal.value.position == 2
    assert refusal.value.offset == len(lines[0]) + 1


def test_temporary_file_of_a_killed_process_is_removed(snapshots: Snapshots) -> None:
    """Each would take as much room as a snapshot, for ever."""
    written = write(STORY)
    take(snapshots, written, 3)
    left = snapshots._directory / "4.snapshot.tmp"
    left.write_bytes(b"the beginning of a snapsh")
    take(snapshots, written, 5)
    assert not left.exists()


def test_a_snapshot_that_cannot_be_written_takes_no_room(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(STORY)
    take(snapshots, written, 3)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="no space"):
        take(snapshots, written, 5)
    assert [file.name for file in snapshots._directory.iterdir()] == ["3.snapshot"]


def test_snapshot_has_no_personal_value_in_clear(snapshots: Snapshots) -> None:
    written = write(STORY)
    take(snapshots, written)
    content = files(snapshots)[0].read_bytes()
    for typed in (b"ann@", b"Bob", b"example.org", b"secret of ann", b"hash of", b"curl"):
        assert typed not in content
    state = snapshots.newest(keyring_of(written), position=99)
    assert state is not None
    assert state["items"].by_id[1].title == "a secret of ann"


def test_an_erasure_reaches_a_snapshot_taken_before(snapshots: Snapshots) -> None:
    written = write([*STORY, ("users/1", UserErased())])
    take(snapshots, written, 6)
    keyring = keyring_of(written)
    del keyring["users/1"]
    state = snapshots.newest(keyring, position=99)
    assert state is not None
    assert state["items"].by_id[1].title == ""
    assert state.users.by_id[1].username == ""
    assert state.users.by_id[2].username == "bob"
    live = replayed(written, None)
    assert sums(replayed(written, snapshots, destroyed={"users/1"})) == sums(live)


def test_only_the_newest_two_are_kept(snapshots: Snapshots) -> None:
    written = write(STORY)
    for position in (1, 3, 5):
        take(snapshots, written, position)
    assert snapshots.positions() == [5, 3]


def test_only_one_process_takes_a_snapshot_at_a_time(snapshots: Snapshots) -> None:
    with snapshots.locked() as alone:
        assert alone
        assert snapshots.is_locked()
        with snapshots.locked() as also:
            assert not also
    assert not snapshots.is_locked()


def test_snapshot_keeps_idempotency_records_and_their_clock(snapshots: Snapshots) -> None:
    written = write(STORY)
    state = replayed(written, None)
    record = msgspec.structs.replace(
        written.records[2], idempotencykey="key", requesthash="sealed", sealedfor="users/1"
    )
    state.idempotency.add(record)
    state.idempotency.advance(record.time, "2036-01-01T00:00:00.000000Z")
    snapshots.write(state, keyring_of(written), _random.randbytes)
    restored = snapshots.newest(keyring_of(written), position=99)
    assert restored is not None
    receipt = restored.idempotency.valid("key", record.time, record.time)
    assert receipt is not None
    assert (receipt.position, receipt.request) == (3, "sealed")
    assert restored.idempotency.skipped == state.idempotency.skipped
    assert sums(restored) == sums(state)


def test_a_directory_that_cannot_be_read_is_passed_over(
    snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = write(STORY)
    take(snapshots, written)

    def fail(_: Snapshots) -> list[int]:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Snapshots, "positions", fail)
    assert sums(replayed(written, snapshots)) == sums(replayed(written, None))
    assert "the snapshots are ignored" in caplog.text
