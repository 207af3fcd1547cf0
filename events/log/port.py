"""The log port: the one truth, and the lock on it that is the one coordination."""

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
        """Whether a line, without its newline, is the record at this head, judged by its hash."""
        return line.endswith(b',"hash":"%b"}' % self.hash.hex().encode())


class Appender(Protocol):
    """What the holder of the lock may do."""

    head: Head
    """Where the log ends; nobody else can move it while the lock is held."""

    def keep_reserve(self) -> None:
        """Keep room in reserve for events that take rights away, where the store can do that.

        Called once, before the first append. It never fails: without it, `append` refuses all alike
        where there is no room. Adapters of databases and of memory keep none.
        """

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        """Append lines (without newlines), the last of which is at ``head``.

        When it returns, all of them are durable and published: they survive a power cut, and every
        reader in every process sees them. When it raises, none of them is published, and the log
        goes on as if the call had not been made. Between publishing and returning there is no
        suspension, so the caller can bring its own state up to date before anyone asks it.

        With ``revokes`` all lines are of events that only take rights away, and may use the
        reserve. Once it was used, other appends raise `StorageFull` until it can be kept again.

        Raises `StorageFull`, `LogUnavailable`, and `LogFenced` when nothing may be written again
        before a restart.
        """


class EventLog(Protocol):
    """An append-only sequence of lines at dense positions from 1.

    Order: lines have one total order, the same for every reader. An append lands right behind the
    head that its appender saw.

    Atomicity: an `Appender.append` becomes visible at one instant, with all its lines. What is
    visible is durable. A crash may leave a part of an append behind; recovery keeps it only up to
    the last record with nothing ``remaining``, and never drops what was published.

    Isolation: `exclusive` holds off every other appender, in this process and others, on this
    machine or, where the adapter spans machines, on all of them. Readers are never held off.

    Adapters may vary in how soon `position` follows an append of another machine (on one machine:
    at once), in what `exclusive` costs, in whether a lost lock is noticed at `append`, and in
    whether the store can be lost. Then `read` and `exclusive` raise `LogUnreachable`, and an append
    that was under way raises `LogUnavailable` where nobody can tell whether it was made.
    """

    @property
    def position(self) -> int:
        """The last published position; cheap enough to be asked before every read."""

    @property
    def lost_for(self) -> float:
        """For how many seconds the store does not answer; 0 where it does, or is a file.

        Meanwhile `position` stands still.
        """

    def read(self, after: int = 0, upto: int | None = None) -> AsyncIterator[list[bytes]]:
        """Published lines behind ``after`` up to ``upto`` (default: the head at the call), in runs.

        The lines come without their newlines, as they were appended, byte for byte. Raises
        `DamagedLog` where there are fewer than were published.
        """

    def exclusive(self, timeout: float) -> AbstractAsyncContextManager[Appender]:
        """Lock the log for appending, waiting ``timeout`` seconds at most.

        Recovers first, if a holder of the lock died. Raises `LogUnavailable` when the lock does not
        come in time, `LogFenced` after a failed sync, and `DamagedLog` where recovery finds
        published events gone or damaged; then the log is left untouched.
        """

    async def release_reserve(self) -> bool:
        """Give the reserve to whatever else needs room to take rights away, such as the vault.

        Returns whether there was any; see `Appender.keep_reserve`.
        """

    async def close(self) -> None:
        """Let go of files and connections."""
