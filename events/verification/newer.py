"""Find closed segments with later lines than the log, whose file is an older copy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

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
        """Find it, before the mark is read: only published lines are closed."""
        found = ((last, path) for _, last, path in list_segments(segments_path(log)))
        return cls(log, *max(found, default=(0, None)))

    def excess(
        self, position: int, published: CommitPoint | None, tail: Iterable[bytes]
    ) -> MissingEvents | None:
        """The error if the segment has lines after ``position``, the last checked one.

        Whole lines of the ``tail`` belong to the log, too: after a power cut the mark may be older.
        """
        if self.last > position and published is not None:
            with suppress(DamagedLog):
                tail_end = recover_tail(tail, published.offset, published.head)
                position = max(position, tail_end.head.position)
        if self.last <= position:
            return None
        message = LOG_FILE_OLD.fill(path=self.log, segment=self.path, last=self.last)
        return MissingEvents(message, position=position + 1, offset=0)
