"""Count the cases that starts and recoveries find, to show that each occurs.

The disk is read without system calls, so counting does not change the simulation.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from eventapi.journal.journal import Journal
from events.io.files import TEMPORARY
from events.log.file import closing
from events.log.file import commit_index as mark
from events.log.file.log import JsonlLog
from events.log.file.recovery import recover_tail
from events.log.port import Appender
from projections import replay, snapshots
from tests.fault_injection.simulation.disk import File, Folder
from tests.fault_injection.simulation.ledger import MARK, SNAPSHOTS
from tests.fault_injection.simulation.machine import Machine
from tests.fault_injection.simulation.paths import lookup
from tests.fault_injection.simulation.whole_log import whole_log

_WORDS = struct.Struct("<QQQ")

_recover = JsonlLog._recover
_make_mark = mark._create
_newest = snapshots.Snapshots.newest
_open = snapshots.Snapshots._open
_stands_on = replay._belongs_to
_finish_erasures = Journal._finish_erasures
_cut = JsonlLog.cut
_follow = JsonlLog._follow_closing
_compare = closing._compare


@contextmanager
def findings(machine: Machine) -> Iterator[None]:
    """Count findings while the context is entered."""
    counts = machine.counts

    def recover(log: JsonlLog) -> None:
        found = _found(machine, is_first=not log._has_recovered)
        _recover(log)
        for kind in found:
            counts[f"found: {kind}"] += 1

    def make_mark(path: Any) -> None:
        has_log = whole_log(machine.root)
        counts[f"found: {'a log without a mark' if has_log else 'no log and no mark'}"] += 1
        _make_mark(path)

    def newest(self: snapshots.Snapshots, keyring: Any, *, position: int, **more: Any) -> Any:
        folder = lookup(machine.root, SNAPSHOTS)
        names = folder.entries if isinstance(folder, Folder) else {}
        past = [name for name in names if name[0].isdigit() and int(name.split(".")[0]) > position]
        counts["found: a snapshot past the mark"] += bool(past)
        return _newest(self, keyring, position=position, **more)

    def open_counted(self: snapshots.Snapshots, content: bytes) -> Any:
        try:
            return _open(self, content)
        except Exception:
            counts["found: a damaged snapshot"] += 1
            raise

    async def stands_on(*args: Any) -> bool:
        is_of_log = await _stands_on(*args)
        counts[f"found: a snapshot of {'this' if is_of_log else 'another'} log"] += 1
        return is_of_log

    async def finish_erasures(journal: Journal, appender: Appender) -> None:
        users = journal._state.users.by_id.values()
        erased = {user.subject for user in users if user.status == "erased"}
        left = erased & journal.vault.subjects  # type: ignore[attr-defined]  # it is simulated
        await _finish_erasures(journal, appender)
        counts["found: a key of an erased user"] += bool(left)

    with ExitStack() as stack:
        for place, name, counted in (
            (JsonlLog, "_recover", recover),
            (mark, "_create", make_mark),
            (snapshots.Snapshots, "newest", newest),
            (snapshots.Snapshots, "_open", open_counted),
            (replay, "_belongs_to", stands_on),
            (Journal, "_finish_erasures", finish_erasures),
            *_findings_of_closings(counts),
        ):
            stack.enter_context(mock.patch.object(place, name, counted))
        yield


def _findings_of_closings(counts: Counter[str]) -> tuple[tuple[object, str, Any], ...]:
    """The functions that count how closings went on, and what they replace."""

    def cut(log: JsonlLog, replacement: Any, offset: int) -> None:
        _cut(log, replacement, offset)
        counts["found: a log in two files"] += 1

    def follow(log: JsonlLog, published: Any) -> bool:
        has_followed = _follow(log, published)
        counts["found: a log that another process cut"] += has_followed
        return has_followed

    def compare(segment: Any, *args: Any) -> Any:
        counts["found: a segment from before a crash"] += not segment.path.name.endswith(TEMPORARY)
        return _compare(segment, *args)

    return (
        (JsonlLog, "cut", cut),
        (JsonlLog, "_follow_closing", follow),
        (closing, "_compare", compare),
    )


def _found(machine: Machine, *, is_first: bool) -> list[str]:
    """The cases that a recovery will find; an intact log counts only once per process."""
    log, page = whole_log(machine.root), lookup(machine.root, MARK)
    if log is None or not isinstance(page, File):
        return []
    position, fence, recovered = _WORDS.unpack_from(page.cache)
    published = max(mark._read_slots(bytes(page.cache)), key=lambda slot: slot.head.position)
    found = []
    if position != published.head.position:
        found.append("a word behind its slot")
    beyond = log[published.offset :]
    if fence > recovered:
        found.append("a failed sync, " + ("cut back" if beyond else "nothing to cut"))
    elif beyond:
        tail = recover_tail(io.BytesIO(beyond), published.offset, published.head)
        if tail.offset > published.offset:
            found.append("unpublished lines, kept")
        torn = beyond[tail.offset - published.offset :]
        if torn:
            found.append("a tail with NUL bytes, cut" if b"\0" in torn else "a torn tail, cut")
    elif is_first:
        found.append("all whole")
    return found
