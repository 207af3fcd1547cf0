"""What happened on an account: a page of its events, read from only its own lines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from eventapi.queries.history import RECORDS_PER_READ, History
from events.record import Record
from events.vocabulary.keys import KeyCreated
from events.vocabulary.sessions import Device, SessionRefreshed
from events.vocabulary.users import UserPasswordChanged
from projections.state import State

_MAX_LINES: Final = 2_000
"""Lines that are read for a page, refreshes included; a page may have fewer events than its limit."""

_MAX_EARLIER_LINES: Final = 1_000
"""Lines before a page that are searched for the devices of its sessions and keys."""

_NO_DEVICE: Final = Device()


class AccountEvent(msgspec.Struct, frozen=True):
    """An event about an account.

    ``session`` and ``key`` are the ids of the session and the API key that it is about, or that it
    was made with, if any. ``device`` is that of its request, or the last one before it of its session
    or key.
    """

    record: Record
    session: str = ""
    key: str = ""
    device: Device = _NO_DEVICE


class AccountEvents(msgspec.Struct, frozen=True):
    """A page; ``next_after`` is where the next one starts, ``None`` on the last one."""

    events: Sequence[AccountEvent]
    next_after: int | None


async def account_events(
    history: History, state: State, user: int, after: int | None, limit: int, *, descending: bool
) -> AccountEvents:
    """A page of the events about a user's account, without refreshes of tokens.

    Failed logins and opened values are listed as well. Raises `Overloaded`.
    """
    every = state.activity.of(user)
    if descending:
        end = len(every) if after is None else bisect_left(every, after)
        positions = every[:end][::-1]
    else:
        positions = every[0 if after is None else bisect_right(every, after) :]
    with history.admit(user):
        found: list[Record] = []
        scanned = 0
        while scanned < min(len(positions), _MAX_LINES) and len(found) <= limit:
            wanted = positions[scanned : scanned + RECORDS_PER_READ]
            async with history.turn(user):
                records = await history.records(wanted)
            found += (one for one in records if not isinstance(one.event, SessionRefreshed))
            scanned += len(wanted)
        page, next_after = found[:limit], None
        if len(found) > limit:
            next_after = page[-1].position
        elif scanned < len(positions):
            next_after = positions[scanned - 1]
        devices = _Devices(state)
        ascending = page[::-1] if descending else page
        missing = devices.missing(ascending)
        if missing:
            first = bisect_left(every, ascending[0].position)
            earlier = every[:first][: -_MAX_EARLIER_LINES - 1 : -1]
            await _add_earlier(devices, missing, earlier, history, user)
    events = [devices.event_of(record) for record in ascending]
    return AccountEvents(events[::-1] if descending else events, next_after)


async def _add_earlier(
    devices: _Devices, missing: set[str], positions: Sequence[int], history: History, user: int
) -> None:
    """Add the last known devices of sessions and keys; ``positions`` descend."""
    for start in range(0, len(positions), RECORDS_PER_READ):
        async with history.turn(user):
            records = await history.records(positions[start : start + RECORDS_PER_READ])
        for record in records:
            if record.subject in missing and devices.add(record):
                missing.discard(record.subject)
        if not missing:
            return


class _Devices:
    """The last known device of each session and key, while events are read in order."""

    def __init__(self, state: State) -> None:
        self._sessions = state.sessions.by_id
        self._known: dict[str, Device] = {}

    def missing(self, records: Sequence[Record]) -> set[str]:
        """The sessions and keys whose device only an earlier event can tell."""
        known: set[str] = set()
        missing: set[str] = set()
        for record in records:
            if _device_of(record) is not None or isinstance(record.event, KeyCreated):
                known.add(record.subject)
            else:
                missing |= {
                    one for one in _credentials(record) if one not in known and not self._live(one)
                }
        return missing

    def add(self, record: Record) -> bool:
        """Add the device of an event's request; return whether it has one."""
        device = _device_of(record)
        if device is not None:
            self._known[record.subject] = device
        return device is not None

    def event_of(self, record: Record) -> AccountEvent:
        """An event with its device; the events before it must have been added."""
        self.add(record)
        named = dict(one.split("/") for one in _credentials(record))
        device = _device_of(record)
        for credential in _credentials(record):
            device = device or self._known.get(credential) or self._live(credential)
        session, key = named.get("sessions", ""), named.get("keys", "")
        return AccountEvent(record, session, key, device or _NO_DEVICE)

    def _live(self, credential: str) -> Device | None:
        """The device of a session that has not ended."""
        table, _, name = credential.partition("/")
        session = self._sessions.get(name) if table == "sessions" else None
        return None if session is None else Device(session.address, session.user_agent)


def _device_of(record: Record) -> Device | None:
    personal = getattr(record.event, "personal", None)
    return personal if isinstance(personal, Device) else None


def _credentials(record: Record) -> list[str]:
    """The subjects of the session and key that an event is about, or was made with.

    Those of an auditor or operator, who is another user, are not shown to the user.
    """
    subject, actor = record.subject, record.actor
    if subject.startswith("users/") and actor.startswith("users/") and actor != subject:
        return []
    found = [f"keys/{record.apikey}"] if record.apikey else []
    found += [f"sessions/{record.session}"] if record.session else []
    event = record.event
    if record.subject.startswith(("sessions/", "keys/")):
        return [record.subject, *found] if record.subject not in found else found
    if isinstance(event, UserPasswordChanged) and event.session is not None:
        return [f"sessions/{event.session}", *found]
    return found
