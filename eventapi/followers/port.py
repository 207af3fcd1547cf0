"""The port of followers: their stored positions, and the process that runs one.

A follower is a named, at-least-once reader of the log; see `eventapi.followers.runner`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from events.record import Record
from projections.state import State

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
"""The form of a follower's name, which is part of the name of a file."""

TAKEOVER_SECONDS: Final = 30


class Progress(msgspec.Struct, frozen=True):
    """How far a follower has completed the log, and whether it fails.

    ``position`` is that of the last completed record, or 0, and ``hash`` that record's, in hex. The
    hash shows whether the log still has the record: after a restore of an older log, another one
    may be at the position. ``failing_since`` is the time of the first failed attempt at the next
    record, and ``status`` the reason of the last one; both are empty after a success.
    """

    position: int = 0
    hash: str = ""
    failing_since: str = ""
    status: str = ""


class Parked(msgspec.Struct, frozen=True):
    """A part of a record that is tried again later, while the follower goes on.

    ``position`` is that of the record, and ``part`` the follower's name of the part, of at most 64
    characters. ``since`` is the time of the first attempt and ``due`` that of the next one, in the
    form of a record's time; ``attempts`` is how many have failed. Nothing here is a personal value.
    """

    position: int
    part: str
    since: str
    due: str
    attempts: int = 1

    @property
    def key(self) -> tuple[int, str]:
        """The identity of the part within its follower."""
        return self.position, self.part


class Lease(Protocol):
    """The right of one process to run a follower."""

    async def read(self) -> Progress | None:
        """The stored progress; ``None`` if there is none."""

    async def store(self, progress: Progress) -> None:
        """Store the progress durably, if the lease is still held.

        Raises `LeaseLost` if another process may hold the follower; then nothing was stored.
        """

    async def parked(self) -> Sequence[Parked]:
        """The parked parts of the follower, in no order."""

    async def park(self, parked: Parked) -> None:
        """Store a parked part durably, in place of one with its key; see `store`."""

    async def unpark(self, parked: Parked) -> None:
        """Remove a parked part durably, if it is there; see `store`."""

    def check(self) -> None:
        """Raise `LeaseLost` if another process may hold the follower by now.

        This is what the process itself knows; it asks no other. The holder must call this before
        each record. A process that was stopped for long continues where it was, and would handle a
        record beside its successor.
        """

    async def keep(self) -> None:
        """Keep the lease until it is lost, and return only then.

        The holder must call this while it works, and stop its work when this returns.
        """

    async def release(self) -> None:
        """End the lease, so that another process can acquire it at once. Never raises."""


class FollowerStore(Protocol):
    """The progress and the holder of each follower, shared by all processes of a log.

    Exclusion: at most one lease of a name is held at a time, over all workers and instances of the
    log. A holder that was stopped for longer than its lease is no exception: its next `Lease.store`
    raises `LeaseLost` and changes nothing, even before it notices the loss itself (fencing).

    Liveness: the lease of a process that was killed, stopped, or cut off from the store can be
    acquired within `TAKEOVER_SECONDS`.

    Durability: progress and parked parts are stored durably or not at all. Losing it may only repeat events, never
    skip any: a follower without progress begins at its first position, and stores that at once.

    Adapters may differ in how soon the lease of a dead process is free. Every method raises
    `FollowersUnavailable`.
    """

    async def acquire(self, name: str) -> Lease | None:
        """The lease of a follower; ``None`` while another process holds it. Never waits."""

    async def read(self, name: str) -> Progress | None:
        """The stored progress of a follower, without its lease."""

    async def remove(self, name: str) -> None:
        """Forget a follower that has ended, with its parked parts.

        A lease that is still held is lost.
        """

    async def close(self) -> None:
        """Release files and connections."""


class Follower(Protocol):
    """A handler of the log's records, in log order."""

    name: str

    def wants(self, kind: str, state: State) -> bool:
        """Whether events of a type are handled; others are passed over unread.

        ``state`` includes the event and may be later.
        """

    async def first_position(self, state: State) -> int:
        """The position after which a follower without stored progress begins."""

    async def handle(self, record: Record, line: bytes, state: State) -> Collection[str] | None:
        """Handle a record in log order; ``state`` includes it and may be later.

        ``line`` is the line of the record, as it is in the log.

        Returns the parts of the record to park, if there are any; then this is a `ParkingFollower`.

        The personal values are open if the key of their user exists. An exception makes the runner
        repeat the call later. `NotDelivered` is for foreseen failures. The same record may be
        handled again after a success, because a crash may lose the stored progress.
        """


@runtime_checkable
class ParkingFollower(Follower, Protocol):
    """A follower for which the order of some parts is no part of the promise."""

    async def retry(self, record: Record, state: State, parked: Parked) -> bool:
        """Try a parked part again; return whether it is done, or given up.

        Otherwise it stays parked, as it does after an exception. The same part may be tried again
        after a success, because a crash may lose that it was removed.
        """
