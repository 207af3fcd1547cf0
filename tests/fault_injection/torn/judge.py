"""What the code of the log says of a file: recovery of what is past the mark, replay of the rest."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from events.codec import decode
from events.errors import DamagedLog
from events.log.file.recovery import recover_tail
from events.sealing import Keyring
from tests.events.log_helpers import mark_of, open_file_log, publish, read_all, recover
from tests.fault_injection.torn.history import History, Verdict


def judged(history: History, content: bytes, marked: int) -> Verdict:
    """The verdict on a content, with so many lines published; no file is touched."""
    offset = history.ends[marked]
    if len(content) < offset:
        return Verdict("damaged")
    try:
        if not history.content.startswith(content[:offset]):
            decode(content[:offset].split(b"\n")[:-1], Keyring())
            # Whole as far as it goes, but is it what the mark speaks of?
            return Verdict("damaged")
        tail = recover_tail(io.BytesIO(content[offset:]), offset, history.heads[marked])
    except DamagedLog:
        return Verdict("damaged")
    return Verdict("whole" if tail.offset == len(content) else "torn", tail.head.position)


def judged_as_file(path: Path, history: History, content: bytes, marked: int) -> Verdict:
    """The same from a real file and its mark, opened as a server does."""
    path.write_bytes(content)
    mark_of(path).unlink(missing_ok=True)
    publish(path, history.lines[:marked], history.heads[marked])

    async def look() -> Verdict:
        try:
            async with open_file_log(path) as log:
                try:
                    head = await recover(log)
                except DamagedLog:
                    assert path.read_bytes() == content, "what is refused is not to be changed"
                    raise
                decode(await read_all(log), Keyring())
        except DamagedLog:
            return Verdict("damaged")
        left = path.read_bytes()
        return Verdict("whole" if left == content else "torn", head.position)

    return asyncio.run(look())
