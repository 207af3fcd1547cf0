"""The export of everything about a user: every event, opened, each with its proof.

The HTTP endpoint and the command line share it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from eventapi.queries.history import History
from eventapi.queries.opened import OpenedLine, open_line
from events.codec import parse
from events.errors import Overloaded
from events.sealing import Keyring
from events.transparency.checkpoints import Proofs
from projections.state import State
from projections.tables.tombstones import last_event

EVENTS_PER_PART: Final = 16
"""Events of one export that are in memory at once; each may take 64 KiB."""

MAX_EXPORTS_PER_USER: Final = 2
MAX_EXPORTS: Final = 16
"""Exports that a process makes at a time; each has 8 bytes in memory for each of its events."""

_RESOURCES_PER_TURN: Final = 1_000
"""Resources whose events are collected before other tasks run."""

_CLOSED: Final = OpenedLine(None)

_encode: Final = msgspec.json.Encoder().encode


class ExportedEvent(msgspec.Struct, frozen=True, gc=False):
    """A line of an export.

    ``record`` has the bytes of the log's line. ``personal``, ``reason`` and ``clear`` are those of an
    `OpenedLine`. ``proof`` (a C2SP tlog-proof) is ``None`` if no checkpoint covers the line yet.
    """

    record: msgspec.Raw
    personal: dict[str, Any] | None
    proof: str | None
    reason: str | UnsetType
    clear: str | UnsetType


async def positions_about(state: State, user: int) -> Sequence[int]:
    """The positions of all events about a user and the user's resources, ascending.

    They are those at the state's position, although the state may move on meanwhile.
    """
    upto, versions = state.position, state.resources.versions
    found = array("Q", state.activity.of(user))
    for collection in list(state.resources):
        table = state.resources[collection]
        numbers = [*{*table.by_owner[user], *table.ever_deleted(user)}]
        for start in range(0, len(numbers), _RESOURCES_PER_TURN):
            for number in numbers[start : start + _RESOURCES_PER_TURN]:
                resource = table.find(number)
                if resource is not None:
                    found.extend(versions.of(last_event(resource), upto=upto))
            await asyncio.sleep(0)
    return array("Q", sorted(found))


class Export(msgspec.Struct, frozen=True):
    """What makes the lines of one export.

    ``subject`` is the user: only seals for this user are opened. Without ``proofs`` no event is
    proven, nor is one that their checkpoint does not cover.
    """

    history: History
    keyring: Keyring
    subject: str
    proofs: Proofs | None

    async def part(self, positions: Sequence[int]) -> bytes:
        """The lines of some events, as NDJSON."""
        lines = await self.history.lines(positions)
        events = [
            await self._event(position, line)
            for position, line in zip(positions, lines, strict=True)
        ]
        return b"".join(_encode(event) + b"\n" for event in events)

    async def _event(self, position: int, line: bytes) -> ExportedEvent:
        members, opened, proof = parse(line), _CLOSED, None
        if members.sealedfor == self.subject:
            opened = open_line(members, self.keyring)
        if self.covers(position) and self.proofs is not None:
            proof = str(await self.proofs.inclusion(position))
        return ExportedEvent(msgspec.Raw(line), opened.personal, proof, opened.reason, opened.clear)

    def covers(self, position: int) -> bool:
        """Whether there is a proof of the event at a position."""
        return self.proofs is not None and position <= self.proofs.size


class ExportLimit:
    """Counts the exports that a process makes at the same time."""

    def __init__(self) -> None:
        self._exports: Counter[int] = Counter()

    @contextmanager
    def admit(self, user: int) -> Iterator[None]:
        """Admit an export of a user; raises `Overloaded`."""
        if self._exports[user] >= MAX_EXPORTS_PER_USER:
            raise Overloaded(f"no more than {MAX_EXPORTS_PER_USER} exports may run at once")
        if self._exports.total() >= MAX_EXPORTS:
            raise Overloaded("too many exports run at this server")
        self._exports[user] += 1
        try:
            yield
        finally:
            self._exports[user] -= 1
            if not self._exports[user]:
                del self._exports[user]
