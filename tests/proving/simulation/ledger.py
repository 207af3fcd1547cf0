"""What the clients of a simulated machine were told, and whether it is still true.

Every wish carries a text of its own, by which its effect is found in the log. What a client was
told in the moment is checked in the moment; the rest when all is over.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from eventapi.batch import Once
from eventapi.commands.command import Command
from events.codec import decode
from events.items import Content, ContentChanges
from events.record import Record
from events.sealing import Keyring
from events.users import Profile
from projections.state import State
from tests.proving.simulation.disk import File, Folder
from tests.proving.simulation.machine import Machine
from tests.proving.simulation.paths import lookup

LOG = ("data", "events.jsonl")


class ViolationError(Exception):
    """A promise that was broken."""


class Wish(msgspec.Struct, eq=False):
    """What a client asked for, and what it was told.

    ``unknown`` also stands for having been told nothing, since the process died.
    """

    number: int
    commands: tuple[Command, ...]
    texts: tuple[str, ...]
    once: Once | None = None
    told: Literal["unknown", "written", "refused"] = "unknown"
    positions: tuple[int, ...] = ()


class Ledger:
    """All wishes, and every point of the log that anybody was shown."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.wishes: list[Wish] = []
        self.floor = 0
        """The highest position that anybody was told of."""
        self._hashes: dict[int, bytes] = {}

    def shown(self, record: Record, floor: int) -> None:
        """Somebody was shown the log up to a record, and began to ask when all knew ``floor``."""
        if record.position < floor:
            raise ViolationError(f"a read shows {record.position}, but {floor} was known before")
        self._must_stand(record)

    def answered(self, wish: Wish, records: list[Record], floor: int) -> None:
        """A wish was answered with its effect."""
        positions = tuple(record.position for record in records)
        if wish.told == "written" and wish.positions != positions:
            raise ViolationError(
                f"the wish {wish.number} had its effect at {wish.positions} and at {positions}"
            )
        wish.told, wish.positions = "written", positions
        if wish.once is None and positions[0] <= floor:
            raise ViolationError(f"written at {positions[0]}, but {floor} was known before")
        for record in records:
            self._must_stand(record)

    def _must_stand(self, record: Record) -> None:
        """A record that was shown is on the platter, and where it was."""
        if self._hashes.setdefault(record.position, record.hash) != record.hash:
            raise ViolationError(f"another record stands at {record.position} than before")
        self.floor = max(self.floor, record.position)
        log = self._log_after_power_cut()
        seen = lookup(self._machine.root, LOG)
        if not isinstance(seen, File) or log is not seen:
            raise ViolationError("the log's name would not outlive a power cut")
        if log.platter[: record.end] != seen.cache[: record.end]:
            raise ViolationError(f"{record.position} was shown, and is not on the platter")

    def _log_after_power_cut(self) -> object:
        folder = self._machine.root.durable.get(LOG[0])
        return folder.durable.get(LOG[1]) if isinstance(folder, Folder) else None

    # When all is over

    def settle(self, lines: list[bytes], keyring: Keyring) -> State:
        """Compare the log with everything that was told; the state that it folds to.

        Decoding checks that positions are dense and the chain is whole.
        """
        records = decode(lines, keyring)
        state = State.empty()
        places: dict[str, list[int]] = {}
        for record in records:
            state.apply(record)
            places.setdefault(_text(record), []).append(record.position)
        for position, digest in self._hashes.items():
            if position > len(records) or records[position - 1].hash != digest:
                raise ViolationError(f"position {position} was shown, and is lost")
        for wish in self.wishes:
            _check(wish, [places.pop(text, []) for text in wish.texts])
        if places:
            raise ViolationError(f"nobody wished for {places}")
        return state


def _check(wish: Wish, found: list[list[int]]) -> None:
    if any(len(places) > 1 for places in found):
        raise ViolationError(f"the wish {wish.number} is there twice: {found}")
    there = [places[0] for places in found if places]
    if there and len(there) < len(found):
        raise ViolationError(f"of the wish {wish.number}, a part is there: {found}")
    if there and there != list(range(there[0], there[0] + len(there))):
        raise ViolationError(f"the wish {wish.number} is out of order: {there}")
    if wish.told == "written" and tuple(there) != wish.positions:
        raise ViolationError(f"the wish {wish.number}, told {wish.positions}, is at {there}")
    if wish.told == "refused" and there:
        raise ViolationError(f"the wish {wish.number} was refused, and is at {there}")


def _text(record: Record) -> str:
    """The text by which the wish for a record is known."""
    personal = getattr(record.event, "personal", None)
    if isinstance(personal, Content | ContentChanges):
        return str(personal.title)
    if isinstance(personal, Profile):
        return personal.username
    return f"an unreadable {record.event.type}"
