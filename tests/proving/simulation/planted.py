"""Bugs to be found: a simulation that does not find them proves nothing.

Each is a small change of the real code, by name, for as long as its context is entered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from eventapi import batch, journal
from events import files
from events.log import jsonl, recovery
from events.log.jsonl import JsonlLog
from events.log.mark import Mark, Published
from events.log.port import Head
from projections.receipts import Receipts
from projections.replay import apply_all
from projections.state import State

Bug = Callable[[], AbstractContextManager[object]]


def _instead(place: object, name: str, value: object) -> Bug:
    return lambda: mock.patch.object(place, name, value)


def _nothing(*_: object, **__: object) -> None:
    """What is left out."""


def _calls() -> Any:
    """The system calls, as the log sees them."""
    return vars(jsonl)["os"]


class _AnsweredEarly(batch.Batch):
    """Answers what it has decided, and not yet written."""

    def take(self, wish: batch.Wish) -> None:
        super().take(wish)
        journal._answer(*self.answers[-1])


def _write_unsynced(log: JsonlLog, data: bytes) -> None:
    log._write_all(data, log._offset)


def _sync_twice(log: JsonlLog, data: bytes) -> None:
    """A sync that failed is simply tried again."""
    log._write_all(data, log._offset)
    try:
        _calls().fdatasync(log._file)
    except OSError:
        _calls().fdatasync(log._file)


def _publish_early(log: JsonlLog, data: bytes) -> None:
    """Publish after the write, before the sync."""
    log._write_all(data, log._offset)
    lines = data.split(b"\n")[:-1]
    digest = bytes.fromhex(lines[-1][-66:-2].decode())
    log._mark.publish(log._offset + len(data), Head(log.head.position + len(lines), digest))
    with log._fencing():
        _calls().fdatasync(log._file)


async def _read_all(
    log: JsonlLog, after: int = 0, upto: int | None = None
) -> AsyncIterator[list[bytes]]:
    """Everything that is in the file, published or not."""
    content = _calls().pread(log._file, _calls().fstat(log._file).st_size, 0)
    yield content.split(b"\n")[:-1][after:upto]


async def _apply_early(self: journal.Journal, wishes: Any, appender: Any) -> Any:
    """Apply to the state first, append then."""
    await self._catch_up()
    decided = batch.Batch(self._state, self._keyring, self._environment)
    for wish in wishes:
        decided.take(wish)
    if decided.lines:
        await self._vault.put(decided.keys.raw)
        self._keyring.update(decided.keys)
        apply_all(decided.records, self._state, self._keyring)
        last = decided.records[-1]
        await appender.append(decided.lines, Head(last.position, last.hash))
    return decided.answers


def _recover_by_the_lines(log: JsonlLog) -> None:
    """Take the file's end for the end of the log, whatever the mark says."""
    content = _calls().pread(log._file, _calls().fstat(log._file).st_size, 0)
    lines = content.split(b"\n")[:-1]
    digest = bytes.fromhex(lines[-1][-66:-2].decode()) if lines else Head().hash
    log.head, log._offset = Head(len(lines), digest), len(content)


def _cut_to_the_mark(log: JsonlLog, published: Published, size: int) -> Published:
    """What stands past the mark was never acknowledged, or so one thinks."""
    log._cut(published.offset, size)
    return published


def _cut_below_the_mark(log: JsonlLog, published: Published, size: int) -> Published:
    """One line too many, for good measure."""
    log._cut(max(published.offset - 300, 0), size)
    return published


def _line_by_line(line: bytes, head: Head) -> tuple[Head, int]:
    """Lines that stand or fall together do not know of each other."""
    return _real_continues(line, head)[0], 0


def _recovered_unsynced(mark: Mark) -> None:
    mark._words[2] = mark.fence


def _make_directory_once(path: Any) -> None:
    """Sync what is above a new directory, but not above one that is there already."""
    if not path.is_dir():
        _make_directory_once(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        files.sync_directory(path.parent)


@contextmanager
def _forget_names() -> Iterator[None]:
    """Never sync a directory."""
    with (
        mock.patch.object(files, "sync_directory", _nothing),
        mock.patch.object(jsonl, "sync_directory", _nothing),
    ):
        yield


@contextmanager
def _reuse_numbers() -> Iterator[None]:
    """A batch counts from where the process last wrote, not from where the log ends."""

    async def lag(self: journal.Journal) -> None:
        if self._task is None:
            await _real_catch_up(self)

    with (
        mock.patch.object(journal.Journal, "_catch_up", lag),
        mock.patch.object(journal.Journal, "_check_head", _nothing),
        mock.patch.object(journal.Journal, "state", _stale_state),
    ):
        yield


@contextmanager
def _drop_the_fence() -> Iterator[None]:
    """After a failed sync somebody else syncs what is in the cache; one guard alone is enough."""
    with (
        mock.patch.object(Mark, "raise_fence", _nothing),
        mock.patch.object(JsonlLog, "_renew", _nothing),
    ):
        yield


async def _stale_state(self: journal.Journal) -> State:
    return self._state


_real_continues = recovery._continues
_real_catch_up = journal.Journal._catch_up

PLANTED: Mapping[str, Bug] = {
    "acknowledge before the sync": _instead(journal, "Batch", _AnsweredEarly),
    "skip the sync": _instead(JsonlLog, "_write", _write_unsynced),
    "publish before the sync": _instead(JsonlLog, "_write", _publish_early),
    "try a failed sync again": _instead(JsonlLog, "_write", _sync_twice),
    "drop the fence, and trust the cache": _drop_the_fence,
    "forget the directory sync": _forget_names,
    "sync only the directories one made": _instead(jsonl, "make_directory", _make_directory_once),
    "read past the mark": _instead(JsonlLog, "read", _read_all),
    "apply before the append": _instead(journal.Journal, "_write", _apply_early),
    "lose the draft": _instead(State, "draft", lambda state: state),
    "read what is at hand": _instead(journal.Journal, "state", _stale_state),
    "use a position twice": _reuse_numbers,
    "take no lock": _instead(jsonl, "_locked", lambda _: True),
    "do not recover": _instead(JsonlLog, "_recover", _recover_by_the_lines),
    "cut all that is past the mark": _instead(JsonlLog, "_adopt_tail", _cut_to_the_mark),
    "cut below the mark": _instead(JsonlLog, "_adopt_tail", _cut_below_the_mark),
    "forget that lines stand together": _instead(recovery, "_continues", _line_by_line),
    "trust the cache of the dead": _instead(JsonlLog, "_renew", _nothing),
    "refuse a batch with a hole": _instead(recovery, "_is_of_batch", lambda *_: False),
    "do not sync what was cleaned up": _instead(Mark, "set_recovered", _recovered_unsynced),
    "forget the receipts": _instead(Receipts, "add", _nothing),
}
"""What is wrong, by what one would say of it."""
