"""Planted bugs: a simulation that does not find them proves nothing.

Each is a context manager that replaces a small part of the real code, by name.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast
from unittest import mock

import msgspec

from eventapi.journal import batch, journal
from events.io import files
from events.log.file import lock, recovery
from events.log.file import log as jsonl
from events.log.file.commit_index import CommitIndex, CommitPoint
from events.log.file.log import JsonlLog
from events.log.port import Head
from projections import replay, snapshots
from projections.replay import apply_all
from projections.snapshots import Snapshots
from projections.state import State
from projections.tables.idempotency import IdempotencyRecords
from projections.tables.resources import ResourceTable
from tests.fault_injection.simulation import workload
from tests.fault_injection.simulation.bugs import Bug, instead, nothing
from tests.fault_injection.simulation.client_requests import Erase
from tests.fault_injection.simulation.ledger import ClientRequest
from tests.fault_injection.simulation.planted_closings import PLANTED_CLOSINGS
from tests.fault_injection.simulation.workload import World


class _AnsweredEarly(batch.Batch):
    """Answers requests that are decided but not yet written."""

    def add(self, write: batch.PendingWrite) -> None:
        super().add(write)
        pending, answer = self.answers[-1]
        pending.answer(answer)


def _write_unsynced(log: JsonlLog, data: bytes) -> None:
    log._write_all(data, log._offset)


def _sync_twice(log: JsonlLog, data: bytes) -> None:
    """Retry a failed sync."""
    log._write_all(data, log._offset)
    try:
        log._file.sync()
    except OSError:
        log._file.sync()


def _publish_early(log: JsonlLog, data: bytes) -> None:
    """Publish after the write, before the sync."""
    log._write_all(data, log._offset)
    lines = data.split(b"\n")[:-1]
    digest = bytes.fromhex(lines[-1][-66:-2].decode())
    log._commit_index.publish(log._offset + len(data), Head(log.head.position + len(lines), digest))
    with log._fence_on_error():
        log._file.sync()


async def _read_all(
    log: JsonlLog, after: int = 0, upto: int | None = None
) -> AsyncIterator[list[bytes]]:
    """Read the whole file, published or not."""
    content = log._file.pread(log._file.size, 0)
    yield content.split(b"\n")[:-1][after:upto]


async def _apply_early(self: journal.Journal, writes: Any, appender: Any) -> Any:
    """Apply to the state before appending."""
    await self._catch_up()
    decided = batch.Batch(self._state, self._keyring, self._runtime)
    for write in writes:
        decided.add(write)
    if decided.lines:
        await self.vault.put(decided.keys.raw)
        self._keyring.update(decided.keys)
        apply_all(decided.records, self._state, self._keyring)
        last = decided.records[-1]
        await appender.append(decided.lines, Head(last.position, last.hash))
    return decided.answers


def _recover_by_the_lines(log: JsonlLog) -> None:
    """Treat the end of the file as the end of the log, ignoring the mark."""
    content = log._file.pread(log._file.size, 0)
    lines = content.split(b"\n")[:-1]
    digest = bytes.fromhex(lines[-1][-66:-2].decode()) if lines else Head().hash
    log.head, log._offset = Head(len(lines), digest), len(content)


def _cut_to_the_mark(log: JsonlLog, published: CommitPoint, size: int) -> CommitPoint:
    """Cut all lines past the mark, assuming that none was acknowledged."""
    log._cut_tail(published.offset, size)
    return published


def _cut_below_the_mark(log: JsonlLog, published: CommitPoint, size: int) -> CommitPoint:
    """Cut one line below the mark too."""
    log._cut_tail(max(published.offset - 300, 0), size)
    return published


def _line_by_line(line: bytes, head: Head) -> tuple[Head, int]:
    """Ignore that the lines of a batch belong together."""
    return _real_extend(line, head)[0], 0


def _recovered_unsynced(mark: CommitIndex) -> None:
    mark._words[2] = mark.fence


def _recovered_once(mark: CommitIndex) -> None:
    """Trust a word that a process stored, and that died of a failed sync of it."""
    if mark._words[2] != mark.fence:
        mark._words[2] = mark.fence
    mark._page.flush()


def _make_directory_once(path: Any) -> None:
    """Sync the parent of a directory that it creates, but not of an existing one."""
    if not path.is_dir():
        _make_directory_once(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        files.sync_directory(path.parent)


@contextmanager
def _forget_names() -> Iterator[None]:
    """Never sync a directory."""
    with (
        mock.patch.object(files, "sync_directory", nothing),
        mock.patch.object(jsonl, "sync_directory", nothing),
    ):
        yield


@contextmanager
def _reuse_numbers() -> Iterator[None]:
    """Number a batch from the process's last write instead of the log's end."""

    async def lag(self: journal.Journal) -> None:
        if self._task is None:
            await _real_catch_up(self)

    with (
        mock.patch.object(journal.Journal, "_catch_up", lag),
        mock.patch.object(journal, "check_head", nothing),
        mock.patch.object(journal.Journal, "state", _stale_state),
    ):
        yield


@contextmanager
def _drop_the_fence() -> Iterator[None]:
    """After a failed sync, let another process sync; either guard prevents it."""
    with (
        mock.patch.object(CommitIndex, "raise_fence", nothing),
        mock.patch.object(JsonlLog, "_rewrite", nothing),
    ):
        yield


async def _stale_state(self: journal.Journal) -> State:
    return self._state


class _Ahead:
    """A log that is read to the end of its file, published or not."""

    def __init__(self, log: JsonlLog) -> None:
        self._log = log
        self.position = sys.maxsize

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        return _read_all(self._log, after, upto)


async def _replay_ahead(log: JsonlLog, *args: Any, **options: Any) -> State:
    return await replay.replay(cast("Any", _Ahead(log)), *args, **options)


def _newest_of_all(self: Snapshots, keyring: Any, *, position: int, **_: Any) -> State | None:
    return _real_newest(self, keyring, position=max(self.positions(), default=position))


async def _stands_anyway(*_: object) -> bool:
    return True


@contextmanager
def _snapshot_past_the_mark() -> Iterator[None]:
    """Take and accept a snapshot of unpublished lines; any guard alone prevents it."""
    with (
        mock.patch.object(workload, "replay", _replay_ahead),
        mock.patch.object(Snapshots, "newest", _newest_of_all),
        mock.patch.object(replay, "_belongs_to", _stands_anyway),
    ):
        yield


def _open_unchecked(_: Snapshots, content: bytes) -> Any:
    head, __, body = content[:-32].partition(b"\n")
    return snapshots._decode_header(head), memoryview(body)


def _everything_of(entity: msgspec.Struct) -> Any:
    """Export personal values as if they needed no key."""
    return msgspec.structs.astuple(entity)


async def _destroy_first(world: World, journal: journal.Journal, request: ClientRequest) -> Any:
    """Destroy the key before writing the erasure."""
    if isinstance(request.commands[0], Erase):
        await world.vault.destroy([f"users/{request.user}"])
    return await _real_execute(world, journal, request)


async def _finish_nothing(*_: object) -> None:
    """Leave an interrupted erasure unfinished."""


async def _append_and_go(
    log: JsonlLog, lines: Sequence[bytes], head: Head, *, revokes: bool = False
) -> None:
    """Release the lock on cancellation while the thread still writes."""
    data = b"\n".join((*lines, b""))
    await log._thread.run(log._write, data)
    log._offset, log.head = log._offset + len(data), head
    log._commit_index.publish(log._offset, head)


def _answer_cancelled_write(write: batch.PendingWrite, answer: Any) -> None:
    """Answer without checking whether the caller still waits."""
    if isinstance(answer, Exception):
        if not write.future.done():
            write.future.set_exception(answer)
    else:
        write.future.set_result(answer)


def _sync_perhaps(path: Any) -> None:
    with suppress(OSError):
        _real_sync_directory(path)


@contextmanager
def _ignore_directory_syncs() -> Iterator[None]:
    """Treat a failed sync of a directory as a success."""
    with (
        mock.patch.object(files, "sync_directory", _sync_perhaps),
        mock.patch.object(jsonl, "sync_directory", _sync_perhaps),
    ):
        yield


_real_extend = recovery._extend
_real_catch_up = journal.Journal._catch_up
_real_newest = Snapshots.newest
_real_execute = World.execute
_real_sync_directory = files.sync_directory

PLANTED: Mapping[str, Bug] = {
    "acknowledge before the sync": instead(journal, "Batch", _AnsweredEarly),
    "skip the sync": instead(JsonlLog, "_write", _write_unsynced),
    "publish before the sync": instead(JsonlLog, "_write", _publish_early),
    "try a failed sync again": instead(JsonlLog, "_write", _sync_twice),
    "drop the fence, and trust the cache": _drop_the_fence,
    "forget the directory sync": _forget_names,
    "sync only the directories one made": instead(jsonl, "make_directory", _make_directory_once),
    "read past the mark": instead(JsonlLog, "read", _read_all),
    "apply before the append": instead(journal.Journal, "_write", _apply_early),
    "lose the draft": instead(State, "stage", lambda state: state),
    "read what is at hand": instead(journal.Journal, "state", _stale_state),
    "use a position twice": _reuse_numbers,
    "take no lock": instead(lock, "_try_lock", lambda _: True),
    "do not recover": instead(JsonlLog, "_recover", _recover_by_the_lines),
    "cut all that is past the mark": instead(JsonlLog, "_adopt_tail", _cut_to_the_mark),
    "cut below the mark": instead(JsonlLog, "_adopt_tail", _cut_below_the_mark),
    "forget that lines stand together": instead(recovery, "_extend", _line_by_line),
    "trust the cache of the dead": instead(JsonlLog, "_rewrite", nothing),
    "refuse a batch with a hole": instead(recovery, "_is_of_batch", lambda *_: False),
    "do not sync what was cleaned up": instead(CommitIndex, "set_recovered", _recovered_unsynced),
    "trust the mark of the dead": instead(CommitIndex, "set_recovered", _recovered_once),
    "forget the receipts": instead(IdempotencyRecords, "add", nothing),
    "use a snapshot past the mark": _snapshot_past_the_mark,
    "use a snapshot newer than the keys": instead(Snapshots, "newest", _newest_of_all),
    "do not check a snapshot's sum": instead(Snapshots, "_open", _open_unchecked),
    "write a snapshot in clear": instead(
        ResourceTable, "_public_values", property(lambda _: _everything_of)
    ),
    "forget the receipts in a snapshot": instead(IdempotencyRecords, "load_shared", nothing),
    "destroy the key before the event": instead(World, "execute", _destroy_first),
    "finish no erasure at a start": instead(journal.Journal, "_finish_erasures", _finish_nothing),
    "let a cancelled append leave a hole": instead(JsonlLog, "append", _append_and_go),
    "answer who has hung up": instead(batch.PendingWrite, "answer", _answer_cancelled_write),
    "ignore a failed directory sync": _ignore_directory_syncs,
    **PLANTED_CLOSINGS,
}
"""The planted bugs by their description."""
