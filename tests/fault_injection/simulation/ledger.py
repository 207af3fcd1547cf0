"""The oracle of the simulation: compares answers with disk and log.

Every answer is checked when it is given, and the whole log at the end. The number of a request is
its request id in the log, so its effect can be found even if its texts can no longer be unsealed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from eventapi.commands.command import Command
from eventapi.journal.batch import IdempotencyKey
from eventapi.testing.items import ITEMS, Content, ContentChanges, empty_state
from events.codec import decode
from events.record import Personal, Record, entity_number
from events.sealing import Keyring
from events.vocabulary.users import Profile
from projections.state import State
from tests.fault_injection.simulation.machine import Machine
from tests.fault_injection.simulation.whole_log import DATA, whole_log

MARK = (DATA, "events.jsonl.mark")
SNAPSHOTS = (DATA, "snapshots")


class ViolationError(Exception):
    """A broken promise."""


class ClientRequest(msgspec.Struct, eq=False):
    """A request of a client, and its outcome.

    The outcome is ``unknown`` without a response, because the process died or the client
    disconnected. ``user`` is the caller, 0 for a registration.
    """

    number: int
    user: int
    commands: tuple[Command, ...]
    texts: tuple[str, ...]
    idempotency: IdempotencyKey | None = None
    outcome: Literal["unknown", "written", "refused"] = "unknown"
    positions: tuple[int, ...] = ()


class Ledger:
    """All requests, and every position that a client has seen."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.requests: list[ClientRequest] = []
        self.floor = 0
        """The highest position that any client has seen."""
        self.erasing: set[int] = set()
        """Users whose erasure was requested, whatever its outcome."""
        self.erased: set[str] = set()
        """Subjects whose key was destroyed; it must never reappear."""
        self._hashes: dict[int, bytes] = {}

    def check_read(self, record: Record, floor: int) -> None:
        """Check a read of the log up to a record that began when ``floor`` was visible."""
        if record.position < floor:
            raise ViolationError(f"a read shows {record.position}, but {floor} was visible before")
        self._check_durable(record)

    def check_answer(self, request: ClientRequest, records: list[Record], floor: int) -> None:
        """Check a success against earlier answers to the request and against the disk."""
        positions = tuple(record.position for record in records)
        if request.outcome == "written" and request.positions != positions:
            raise ViolationError(
                f"the request {request.number} took effect at {request.positions} and at {positions}"
            )
        request.outcome, request.positions = "written", positions
        if request.idempotency is None and positions[0] <= floor:
            raise ViolationError(f"written at {positions[0]}, but {floor} was visible before")
        for record in records:
            # An idempotency record restored from a snapshot has the position only.
            if record.end:
                self._check_durable(record)

    def _check_durable(self, record: Record) -> None:
        """A visible record must be on the platter, always with the same hash."""
        if self._hashes.setdefault(record.position, record.hash) != record.hash:
            raise ViolationError(f"the record at {record.position} has changed")
        self.floor = max(self.floor, record.position)
        seen = whole_log(self._machine.root)
        kept = whole_log(self._machine.root, is_durable=True)
        if seen is None or kept is None:
            raise ViolationError("the log's files would not survive a power cut")
        if kept[: record.end] != seen[: record.end]:
            raise ViolationError(f"{record.position} was visible, but is not on the platter")

    def check_erasures(self, state: State, subjects: set[str]) -> None:
        """After a start, no key of a user that is erased in the state may exist."""
        users = state.users.by_id.values()
        self.erased |= {user.subject for user in users if user.status == "erased"}
        self.check_keys(subjects)

    def check_keys(self, subjects: set[str]) -> None:
        """``subjects`` have keys: none of them may be a user whose erasure was finished."""
        if self.erased & subjects:
            raise ViolationError(f"keys of erased users exist: {self.erased & subjects}")

    # At the end

    def check_log(self, lines: list[bytes], keyring: Keyring) -> State:
        """Compare the log with all requests and reads; return the fold of the log.

        ``keyring`` has all keys in the vault. Decoding checks that positions are dense and that the
        hash chain is intact.
        """
        records = decode(lines, keyring, ITEMS)
        state = empty_state()
        for record in records:
            state.apply(record)
        for position, digest in self._hashes.items():
            if position > len(records) or records[position - 1].hash != digest:
                raise ViolationError(f"position {position} was visible, but is lost")
        found_at: dict[int, list[int]] = {request.number: [] for request in self.requests}
        for record in records:
            found = found_at[int(record.requestid)]
            request = self.requests[int(record.requestid)]
            if len(found) == len(request.texts):
                raise ViolationError(f"the request {request.number} is in the log twice: {found}")
            _check_text(record, request.texts[len(found)], state)
            found.append(record.position)
        for request in self.requests:
            _check_positions(request, found_at[request.number])
        return state


def _check_positions(request: ClientRequest, found_at: list[int]) -> None:
    if found_at and len(found_at) < len(request.texts):
        raise ViolationError(
            f"only a part of the request {request.number} is in the log: {found_at}"
        )
    if found_at and found_at != list(range(found_at[0], found_at[0] + len(found_at))):
        raise ViolationError(
            f"the lines of the request {request.number} are not consecutive: {found_at}"
        )
    if request.outcome == "written" and tuple(found_at) != request.positions:
        raise ViolationError(
            f"the request {request.number} is at {found_at}, not at {request.positions}"
        )
    if request.outcome == "refused" and found_at:
        raise ViolationError(f"the request {request.number} was refused, but is at {found_at}")


def _check_text(record: Record, text: str, state: State) -> None:
    """The text must be readable with the key, and unreadable after an erasure."""
    personal = getattr(record.event, "personal", None)
    if not record.sealedfor:
        return
    if state.users.by_id[entity_number(record.sealedfor)].status == "erased":
        if isinstance(personal, Personal):
            raise ViolationError(
                f"{record.position} of the erased {record.sealedfor} can be unsealed"
            )
    elif not isinstance(personal, Profile | Content | ContentChanges):
        raise ViolationError(f"{record.position} of {record.sealedfor} cannot be unsealed")
    elif text != (personal.username if isinstance(personal, Profile) else personal.title):
        raise ViolationError(f"{record.position} has {personal} instead of {text!r}")
