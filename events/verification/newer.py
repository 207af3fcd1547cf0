"""Find closed segments with later lines than the log, whose file is an older copy."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from events.errors import DamagedLog, MissingEvents
from events.log.file.closed import list_segments
from events.log.file.commit_index import CommitPoint
from events.log.file.paths import segments_path
from events.log.file.recovery import recover_tail
from events.messages.errors import LOG_FILE_OLD


class NewestSegment(msgspec.Struct, frozen=True):
    """The closed segment with the last lines, and the log that it is beside."""

    log: Path
    last: int = 0
    path: Path | None = None

    @classmethod
    def find(cls, log: Path) -> NewestSegment:
        """Find the segment.

        Call this before the mark is read, so that the mark includes its lines: only published lines
        are closed.
        """
        found = ((last, path) for _, last, path in list_segments(segments_path(log)))
        return cls(log, *max(found, default=(0, None)))

    def excess(
        self, first: int, position: int, published: CommitPoint | None, tail: BinaryIO
    ) -> MissingEvents | None:
        """The error if the segment has lines after ``position``, the last checked one.

        A segment that ends before ``first``, the first line of the open file, is in use: its lines
        are part of the log, even if they are damaged. Whole lines of the ``tail`` belong to the
        log, too: after a power cut the mark may be older.
        """
        if self.last < first:
            return None
        offset = tail.tell()
        if self.last > position and published is not None:
            with suppress(DamagedLog):
                tail_end = recover_tail(tail, published.offset, published.head)
                position = max(position, tail_end.head.position)
        if self.last <= position:
            return None
        message = LOG_FILE_OLD.fill(path=self.log, segment=self.path, last=self.last)
        return MissingEvents(message, position=position + 1, offset=offset)
