"""Commands that record failed logins and opened values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from eventapi.commands.command import Decision
from eventapi.commands.users import existing
from eventapi.values.times import later
from events.errors import ActionRefused, Fault, Forbidden, Invalid
from events.record import all_timestamps_valid, entity_number
from events.vocabulary.security import LoginFailed, PackQuery, ValuesOpened
from events.vocabulary.sessions import Device
from projections.state import State

WINDOW_SECONDS: Final = 600
"""The length of a window in which failed logins are counted together."""

_UP_TO_TEN_MINUTES: Final = slice(len("2026-01-01T00:0"))
_SERVER: Final = "operator/eventapi"
_SUBJECT: Final = re.compile(
    r"[a-z][a-z0-9_]{0,62}/[1-9][0-9]{0,18}|(?:sessions|keys|security)/[0-9a-z]{1,55}"
    r"|schemas/[a-z][a-z0-9_]{0,62}|log/checkpoints",
    re.ASCII,
)


def window_of(time: str) -> str:
    """The start of the window that contains a time: a full ten minutes."""
    return f"{time[_UP_TO_TEN_MINUTES]}0:00.000000Z"


class RecordFailedLogins(msgspec.Struct, frozen=True):
    """Record the failed logins of a window; the server issues this command itself.

    ``subject`` is a user, or the subject of an unknown name. ``address_hash`` and ``device`` are as in
    `LoginFailed`. It is refused if the log has them already, so it can be repeated after a crash.
    """

    window: str
    subject: str
    address_hash: str
    count: int
    device: Device | None = None

    def decide(self, state: State) -> Decision:
        if later(self.window, WINDOW_SECONDS) > state.now:
            raise ActionRefused("the window has not ended")
        if state.failed_logins.has(self.window, self.subject, self.address_hash):
            raise ActionRefused("the log has the failed logins of this window already")
        is_user = self.subject.startswith("users/")
        if is_user:
            existing(state, entity_number(self.subject))
        event = LoginFailed(self.window, self.count, self.address_hash, personal=self.device)
        return Decision(self.subject, event, _SERVER, self.subject if is_user else "")


class RecordOpening(msgspec.Struct, frozen=True):
    """Record that sealed values of the user ``subject`` are shown to ``actor``.

    Those of the event at ``position``, or else of ``count`` events that a ``query`` selected. The
    values may be shown only after the event is written.
    """

    actor: str
    subject: str
    position: int | None = None
    query: PackQuery | None = None
    count: int | None = None

    def decide(self, state: State) -> Decision:
        if self.actor.startswith("users/"):
            auditor = state.users.by_id.get(entity_number(self.actor))
            if auditor is None or auditor.disabled or "auditor" not in auditor.roles:
                raise Forbidden("only auditors may do this")
        if self.query is not None:
            _check_query(self.query)
        existing(state, entity_number(self.subject))
        event = ValuesOpened(
            UNSET if self.position is None else self.position,
            UNSET if self.query is None else self.query,
            UNSET if self.count is None else self.count,
        )
        return Decision(self.subject, event, self.actor)


def openings_of_pack(
    actor: str, query: PackQuery, users: Mapping[str, int]
) -> Sequence[RecordOpening]:
    """The commands that record the opening of a pack: one for each user.

    ``users`` has the number of events whose values are opened, by ``sealedfor``.
    """
    counts = sorted(users.items())
    return [RecordOpening(actor, user, query=query, count=count) for user, count in counts]


def _check_query(query: PackQuery) -> None:
    """Raise `Invalid` for a text that is no subject or time, and may be personal."""
    if query.subject is not UNSET and not _SUBJECT.fullmatch(query.subject):
        raise Invalid(Fault("/subject", "must be a subject, such as items/7"))
    for name, time in (("since", query.since), ("until", query.until)):
        if time is not UNSET and not all_timestamps_valid([time]):
            raise Invalid(Fault(f"/{name}", "must be a time in the form of the log"))
