"""The verdict of the real code: recovery past the mark, decoding of the rest."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from eventapi.testing.items import ITEMS
from events.codec import decode
from events.errors import DamagedLog
from events.log.file.recovery import recover_tail
from events.sealing import Keyring
from tests.events.log_helpers import mark_of, open_file_log, publish, read_all, recover
from tests.fault_injection.torn.history import History, Verdict


def judge_content(history: History, content: bytes, marked: int) -> Verdict:
    """The verdict on a content with ``marked`` lines published, without files."""
    offset = history.ends[marked]
    if len(content) < offset:
        return Verdict("damaged")
    try:
        if not history.content.startswith(content[:offset]):
            decode(content[:offset].split(b"\n")[:-1], Keyring(), ITEMS)
            # Intact, but not the lines that the mark covers.
            return Verdict("damaged")
        tail = recover_tail(io.BytesIO(content[offset:]), offset, history.heads[marked])
    except DamagedLog:
        return Verdict("damaged")
    return Verdict("whole" if tail.offset == len(content) else "torn", tail.head.position)


def judge_file(
    path: Path, history: History, content: bytes, marked: int, closed: int = 0
) -> Verdict:
    """The verdict on a real file with its mark, opened as a server opens it.

    The first ``closed`` lines are in segments, which are there already.
    """
    content = content[history.ends[closed] :]
    path.write_bytes(content)
    mark_of(path).unlink(missing_ok=True)
    publish(path, history.lines[:marked], history.heads[marked])

    async def verdict() -> Verdict:
        try:
            async with open_file_log(path) as log:
                try:
                    head = await recover(log)
                except DamagedLog:
                    assert path.read_bytes() == content, "a refused file must not be changed"
                    raise
                decode(await read_all(log), Keyring(), ITEMS)
        except DamagedLog:
            return Verdict("damaged")
        left = path.read_bytes()
        return Verdict("whole" if left == content else "torn", head.position)

    return asyncio.run(verdict())
