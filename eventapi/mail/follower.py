"""The follower that sends mails."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Literal

from eventapi.followers.port import Parked
from eventapi.mail.compose import Composer
from eventapi.mail.letters import MAILED, Letter, letters_of
from eventapi.mail.texts import template_line
from eventapi.mail.transport import (
    Mail,
    MailInterrupted,
    MailRefused,
    MailVoid,
    RecipientUnavailable,
    Transport,
)
from eventapi.queries.history import History
from eventapi.security.signed_texts import SignedTexts
from eventapi.values.times import later, seconds_of, time_of
from events.errors import NotDelivered
from events.messages.mails import MAIL_DELAYED, MAIL_DROPPED, MAIL_NOT_COMPOSED
from events.record import Record
from projections.state import State

logger = logging.getLogger("eventapi.mail")

FIRST_HOURS: Final = 24
"""A follower without stored progress sends the mails of so many hours again."""

PATIENCE_SECONDS: Final = 4 * 86_400.0
"""How long a mail is tried that only its recipient's server delays (RFC 5321, 4.5.4.1)."""

INTERRUPTIONS: Final = 3
"""A mail that the mail server interrupts so many times no longer holds up the next ones."""

INTERRUPTIONS_IN_A_ROW: Final = 15
"""So many times if no mail got through since the last such one: it may be the server, not the mail."""

Outcome = Literal["sent", "failed", "dropped"]
"""Sent, tried in vain, or given up."""


class MailFollower:
    """Sends the mails of each event, in log order except those that are delayed."""

    name = "mail"

    def __init__(
        self,
        composer: Composer,
        transport: Transport,
        texts: SignedTexts,
        history: History,
        *,
        state: Callable[[], Awaitable[State]],
        now: Callable[[], float],
        count: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        """``state`` returns the current state, ``now`` the log's time in seconds."""
        self._composer = composer
        self._transport = transport
        self._texts = texts
        self._history = history
        self._state = state
        self._now = now
        self._count = count
        self._sent: set[tuple[int, str]] = set()
        self._interruptions: Counter[tuple[int, str]] = Counter()
        self._patience = INTERRUPTIONS

    def wants(self, kind: str, state: State) -> bool:
        return kind in MAILED

    async def first_position(self, state: State) -> int:
        since = later(time_of(self._now()), -FIRST_HOURS * 3_600)
        return await self._history.position(since, state)

    async def handle(self, record: Record, line: bytes, state: State) -> Collection[str]:
        delayed = []
        for letter in self._letters(record, state):
            # After a failure of the second mail of an event, the first one is not sent again.
            if (record.position, letter.kind) in self._sent:
                continue
            reason = await self._send(letter, record)
            if reason:
                delayed.append(letter.kind)
                user, position = letter.user.subject, record.position
                logger.warning(MAIL_DELAYED.fill(user=user, position=position, reason=reason))
            else:
                self._sent.add((record.position, letter.kind))
        self._sent.clear()
        self._interruptions.clear()
        return delayed

    async def retry(self, record: Record, state: State, parked: Parked) -> bool:
        for letter in self._letters(record, state):
            if letter.kind != parked.part or await self._is_superseded(letter, record, state):
                continue
            reason = await self._send(letter, record, is_parked=True)
            if reason and self._now() < seconds_of(parked.since) + PATIENCE_SECONDS:
                return False
            if reason:
                self._drop(letter, record, reason)
        return True

    async def _is_superseded(self, letter: Letter, record: Record, state: State) -> bool:
        """Whether a newer link of the same kind goes to the same address.

        People follow the link of the mail that came last, and an older link expires earlier.
        """
        if not letter.path:
            return False
        positions = state.activity.of(letter.user.id)
        newer = positions[bisect_right(positions, record.position) :]
        async for records in self._history.slices(newer):
            for one in records:
                if any(_is_same(other, letter) for other in self._letters(one, state)):
                    return True
        return False

    def _letters(self, record: Record, state: State) -> Sequence[Letter]:
        return letters_of(record, state, self._texts, self._now())

    async def _send(self, letter: Letter, record: Record, *, is_parked: bool = False) -> str:
        """Send a mail unless it is void by now, or drop it if it can never be delivered.

        Returns the reason if only this mail is delayed, and raises `NotDelivered` if all are.
        """

        async def confirm() -> None:
            letters = self._letters(record, await self._state())
            if not any(_is_same(one, letter) for one in letters):
                raise MailVoid

        try:
            await confirm()  # Another mail of the event may have taken minutes.
            mail = self._compose(letter, record)
            await self._transport.send(mail, confirm)
        except MailVoid:
            pass
        except MailRefused as error:
            self._drop(letter, record, str(error))
        except MailInterrupted as error:
            self._interruptions[record.position, letter.kind] += 1
            is_often = self._interruptions[record.position, letter.kind] >= self._patience
            if not is_parked and not is_often:
                raise NotDelivered(str(error)) from error
            if not is_parked:
                self._patience = INTERRUPTIONS_IN_A_ROW
            self._count("failed")
            return str(error)
        except RecipientUnavailable as error:
            self._count("failed")
            return str(error)
        else:
            self._patience = INTERRUPTIONS
            self._count("sent")
            await self._withdraw_if_erased(mail)
        return ""

    def _compose(self, letter: Letter, record: Record) -> Mail:
        """Compose a mail; raises `RecipientUnavailable` if a template fails for it."""
        try:
            return self._composer.compose(letter, record)
        except MailRefused:
            raise
        except Exception as error:  # A template may contain any expression.
            # The text of the error may contain personal values.
            reason = f"{type(error).__name__}{template_line(error)}"
            user, position = letter.user.subject, record.position
            logger.error(MAIL_NOT_COMPOSED.fill(user=user, position=position, reason=reason))  # noqa: TRY400 - as above
            raise RecipientUnavailable(f"it could not be composed: {reason}") from error

    async def _withdraw_if_erased(self, mail: Mail) -> None:
        """Remove a mail whose user was erased while it was sent.

        The erasure removed the mails that were there, and may have missed this one.
        """
        user = (await self._state()).users.by_id.get(mail.user)
        if user is None or user.status == "erased":
            await self._transport.withdraw(mail)

    def _drop(self, letter: Letter, record: Record, reason: str) -> None:
        self._count("dropped")
        user, position = letter.user.subject, record.position
        logger.warning(MAIL_DROPPED.fill(user=user, position=position, reason=reason))


def _is_same(one: Letter, other: Letter) -> bool:
    return (one.kind, one.recipient) == (other.kind, other.recipient)
