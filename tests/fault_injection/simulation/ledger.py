"""What the clients of a simulated machine were told, and whether it is still true.

A wish's number is the id of its request, by which its effect is found in the log, also when what it
says cannot be read any more. What a client was told in the moment is checked in the moment; the
rest when all is over.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from eventapi.commands.command import Command
from eventapi.journal.batch import IdempotencyKey
from events.codec import decode
from events.record import Personal, Record, entity_number
from events.sealing import Keyring
from events.vocabulary.items import Content, ContentChanges
from events.vocabulary.users import Profile
from projections.state import State
from tests.fault_injection.simulation.disk import File, Folder
from tests.fault_injection.simulation.machine import Machine
from tests.fault_injection.simulation.paths import lookup

DATA = "data"
LOG = (DATA, "events.jsonl")
MARK = (DATA, "events.jsonl.mark")
SNAPSHOTS = (DATA, "snapshots")


class ViolationError(Exception):
    """A promise that was broken."""


class Wish(msgspec.Struct, eq=False):
    """What a client asked for, and what it was told.

    ``unknown`` also stands for having been told nothing, since the process died or the client hung
    up. ``user`` is whose wish it is, 0 where they are not a user yet.
    """

    number: int
    user: int
    commands: tuple[Command, ...]
    texts: tuple[str, ...]
    once: IdempotencyKey | None = None
    told: Literal["unknown", "written", "refused"] = "unknown"
    positions: tuple[int, ...] = ()


class Ledger:
    """All wishes, and every point of the log that anybody was shown."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.wishes: list[Wish] = []
        self.floor = 0
        """The highest position that anybody was told of."""
        self.erasing: set[int] = set()
        """Users of whom somebody wished that they be erased, whatever came of it."""
        self.erased: set[str] = set()
        """Of whom the key was destroyed; it must not come back."""
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
            # A receipt that comes from a snapshot tells the position alone.
            if record.end:
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

    def is_finished(self, state: State, subjects: set[str]) -> None:
        """A process has started with a state: of whoever is erased in it, no key is left."""
        users = state.users.by_id.values()
        self.erased |= {user.subject for user in users if user.status == "erased"}
        self.keys_are_gone(subjects)

    def keys_are_gone(self, subjects: set[str]) -> None:
        """``subjects`` have keys: nobody whose erasure was finished is among them."""
        if self.erased & subjects:
            raise ViolationError(f"there are keys of the erased: {self.erased & subjects}")

    # When all is over

    def settle(self, lines: list[bytes], keyring: Keyring) -> State:
        """Compare the log with everything that was told; the state that it folds to.

        ``keyring`` has every key that there is. Decoding checks that positions are dense and the
        chain is whole.
        """
        records = decode(lines, keyring)
        state = State.empty()
        for record in records:
            state.apply(record)
        for position, digest in self._hashes.items():
            if position > len(records) or records[position - 1].hash != digest:
                raise ViolationError(f"position {position} was shown, and is lost")
        places: dict[int, list[int]] = {wish.number: [] for wish in self.wishes}
        for record in records:
            found = places[int(record.requestid)]
            wish = self.wishes[int(record.requestid)]
            if len(found) == len(wish.texts):
                raise ViolationError(f"the wish {wish.number} is there twice: {found}")
            _check_text(record, wish.texts[len(found)], state)
            found.append(record.position)
        for wish in self.wishes:
            _check_places(wish, places[wish.number])
        return state


def _check_places(wish: Wish, places: list[int]) -> None:
    if places and len(places) < len(wish.texts):
        raise ViolationError(f"of the wish {wish.number}, a part is there: {places}")
    if places and places != list(range(places[0], places[0] + len(places))):
        raise ViolationError(f"the wish {wish.number} is out of order: {places}")
    if wish.told == "written" and tuple(places) != wish.positions:
        raise ViolationError(f"the wish {wish.number}, told {wish.positions}, is at {places}")
    if wish.told == "refused" and places:
        raise ViolationError(f"the wish {wish.number} was refused, and is at {places}")


def _check_text(record: Record, text: str, state: State) -> None:
    """What was typed can be read by whoever has the keys, and of an erased user by nobody."""
    personal = getattr(record.event, "personal", None)
    if not record.sealedfor:
        return
    if state.users.by_id[entity_number(record.sealedfor)].status == "erased":
        if isinstance(personal, Personal):
            raise ViolationError(f"{record.position} is of {record.sealedfor}, who is erased")
    elif not isinstance(personal, Profile | Content | ContentChanges):
        raise ViolationError(f"{record.position} of {record.sealedfor} cannot be read")
    elif text != (personal.username if isinstance(personal, Profile) else personal.title):
        raise ViolationError(f"{record.position} says {personal}, and not {text!r}")
