"""Damage to the files beside the log: its mark, and a snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from eventapi.testing.given import created, registered, state_of
from eventapi.testing.items import ITEMS
from events.errors import DamagedLog
from events.log.file import commit_index as mark
from events.log.file.commit_index import CommitIndex, CommitPoint, read_commit_point
from events.sealing import Keyring
from projections.snapshots import Snapshots
from projections.state import State
from tests.fault_injection.torn.history import History, Verdict

WORD_BYTES = 8
MAGIC = range(24, 40)
SLOT_BYTES, HASH_AT = 52, 16


def mark_cases(path: Path, history: History, stride: int) -> Iterator[tuple[Verdict, Verdict]]:
    """Yield expected and given verdicts for flipped bits and lengths of a mark."""
    count = len(history.lines)
    page = CommitIndex(path)
    for at in (count - 1, count):
        page.publish(history.ends[at], history.heads[at])
    page.close()
    whole = path.read_bytes()
    newest = whole.index(history.heads[count].hash) - HASH_AT
    with mock.patch.object(mark, "_READ_ATTEMPTS", 2), mock.patch.object(mark.time, "sleep"):  # type: ignore[attr-defined]  # imported there
        for bit in range(0, len(whole) * 8, stride):
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            yield (
                _expected_mark_verdict(content, bit // 8, newest, count),
                _mark_verdict(path, bytes(content), history),
            )
        for size in range(0, len(whole), stride):
            yield Verdict("damaged"), _mark_verdict(path, whole[:size], history)
        for start in range(0, len(whole), 512):
            content = bytearray(whole)
            content[start : start + 512] = bytes(512)
            right = Verdict("whole", count) if start else Verdict("damaged")
            yield right, _mark_verdict(path, bytes(content), history)


def _expected_mark_verdict(content: bytearray, byte: int, newest: int, count: int) -> Verdict:
    """A mark may be behind the log, as lines past it are kept, but never ahead."""
    is_ahead = byte < WORD_BYTES and int.from_bytes(content[:WORD_BYTES], "little") > count
    if byte in MAGIC or newest <= byte < newest + SLOT_BYTES or is_ahead:
        return Verdict("damaged")
    return Verdict("whole", count)


def _mark_verdict(path: Path, content: bytes, history: History) -> Verdict:
    path.write_bytes(content)
    try:
        published = read_commit_point(path)
    except DamagedLog:
        return Verdict("damaged")
    at = published.head.position
    if published != CommitPoint(history.ends[at], history.heads[at]):
        return Verdict("whole", -1)
    return Verdict("whole", len(history.lines))


def snapshot_cases(directory: Path, stride: int) -> Iterator[tuple[Verdict, Verdict]]:
    """Yield expected and given verdicts for flipped bits and lengths of a snapshot."""
    keyring = Keyring()
    keyring.add("users/1", bytes(32))
    state = state_of(
        registered(1, "ann"), *[created(number, 1, f"title {number}") for number in range(1, 5)]
    )
    snapshots = Snapshots(directory, ITEMS)
    snapshots.write(state, keyring, bytes)
    (path,) = directory.glob("*.snapshot")
    whole = path.read_bytes()
    yield Verdict("whole", state.position), _snapshot_verdict(snapshots, keyring, state)
    for bit in range(0, len(whole) * 8, stride):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        yield Verdict("damaged"), _snapshot_verdict(snapshots, keyring, state)
    for size in range(0, len(whole), stride):
        path.write_bytes(whole[:size])
        yield Verdict("damaged"), _snapshot_verdict(snapshots, keyring, state)


def _snapshot_verdict(snapshots: Snapshots, keyring: Keyring, state: State) -> Verdict:
    found = snapshots.newest(keyring, position=state.position)
    if found is None:
        return Verdict("damaged")
    return Verdict("whole", found.position if found.checksum() == state.checksum() else -1)
