"""The log port: the only source of truth, with the lock, the only coordination."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from events.record import GENESIS


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of the durable log: its last position and that record's 32-byte hash."""

    position: int = 0
    hash: bytes = GENESIS

    def matches(self, line: bytes) -> bool:
        """Whether a line, without its newline, is the record at this head, by its hash."""
        return line.endswith(b',"hash":"%b"}' % self.hash.hex().encode())


class Appender(Protocol):
    """The operations of the lock's holder."""

    head: Head
    """The end of the log; only this appender can move it while it holds the lock."""

    def keep_reserve(self) -> None:
        """Reserve disk space for events that take rights away, if the store supports it.

        Called before an append. It never fails: without a reserve, `append` refuses every event
        when there is no room. Adapters for databases and for memory keep none.
        """

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        """Append lines (without newlines), the last of which is at ``head``.

        When it returns, all of them are durable and published: they survive a power cut, and every
        reader in every process sees them. When it raises, none of them is published, and the log
        is as if the call had not been made. It does not suspend between publishing and returning,
        so the caller can update its own state before another task of its event loop reads it.

        Without lines it checks, as far as the store can tell, that there is room for one: nothing is
        written, and it raises as an append would.

        With ``revokes`` all lines are of events that only take rights away, and may use the
        reserve. Once it was used, other appends raise `StorageFull` until it can be refilled.

        Raises `StorageFull`, `LogUnavailable`, and `LogFenced` if every write is refused until a
        restart.
        """


class EventLog(Protocol):
    """An append-only sequence of lines at dense positions from 1.

    Order: lines have one total order, the same for every reader. An append follows directly after
    the head that its appender saw.

    Atomicity: an `Appender.append` becomes visible at one instant, with all its lines. Every
    visible line is durable. A crash may leave a part of an append behind; recovery keeps it only up
    to the last record with nothing ``remaining``, and never drops a published line.

    Isolation: `exclusive` excludes every other appender, in this process and others, on this
    machine or, if the adapter spans machines, on all of them. Readers are never blocked. On Galera
    it excludes those of the same node only; then all appenders but one raise `LogConflict`, and
    nothing of them is written.

    Adapters may differ in how soon `position` follows an append of another machine (on one machine:
    at once), in what `exclusive` costs, in whether a lost lock is noticed at `append`, and in
    whether the connection to the store can be lost. Then `read` and `exclusive` raise
    `LogUnreachable`, and an append that was under way raises `LogUnavailable` if it is unknown
    whether it was committed.
    """

    @property
    def position(self) -> int:
        """The last published position; cheap enough to be read before every request."""

    @property
    def lost_for(self) -> float:
        """Seconds since the store became unreachable; 0 if it is reachable, or a file.

        While it is unreachable, `position` does not change.
        """

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        """Yield published lines after ``after`` up to ``upto`` (by default all), in runs.

        The lines have no newlines, and are byte for byte as they were appended. Raises `DamagedLog`
        if there are fewer than were published.
        """

    def exclusive(self, timeout: float) -> AbstractAsyncContextManager[Appender]:
        """Lock the log for appending, waiting ``timeout`` seconds at most.

        Recovers first, if a holder of the lock died. Raises `LogUnavailable` if the lock is not
        free in time, `LogFenced` after a failed sync, and `DamagedLog` if recovery finds published
        events missing or damaged; then the log is left unchanged.
        """

    async def release_reserve(self) -> bool:
        """Free the reserve for other writes that take rights away, such as the vault's.

        Returns whether there was any; see `Appender.keep_reserve`.
        """

    async def close(self) -> None:
        """Close files and connections."""
