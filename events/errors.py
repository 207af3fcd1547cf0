"""Every error of the house, one tree.

::

    EventapiError
    ├── Refusal                 the rules say no; nothing was written
    │   ├── NotFound            no such thing, or none of the caller's
    │   ├── UsernameTaken
    │   ├── EmailTaken
    │   ├── Unauthenticated     no token, or one that is not good (any more)
    │   ├── InvalidCredentials
    │   │   └── WrongPassword   of a user who is logged in
    │   ├── AccountDisabled
    │   ├── Forbidden
    │   ├── PreconditionFailed  If-Match named another version
    │   ├── QuotaExceeded       the user's items take up all that they may
    │   ├── IdempotencyKeyReused
    │   ├── RequestInProgress   the first request with this key has no answer yet
    │   └── Invalid             input of the wrong shape, with the places where
    ├── Overloaded              a bounded queue is full; try again later
    │   └── ShareUsedUp         one caller has taken all that is theirs of it
    ├── StorageFull             no room left, in the log or the vault; reads go on
    ├── LogError                the log cannot do what was asked of it
    │   ├── LogUnavailable      not reached, or not locked, in time
    │   │   ├── PositionNotReached  the log is not yet where the client asked for
    │   │   └── LogUnreachable  the database that has it does not answer; what is known goes on
    │   ├── LogFenced           a sync failed or a file in use is gone: only a restart may write
    │   ├── DamagedLog          bytes that are not what was written
    │   │   ├── DamagedMark     only the mark beside the log is damaged
    │   │   └── MissingEvents   acknowledged events are gone
    │   ├── DivergedLog         not the log that a copy was made of
    │   ├── SigningSuspended    nothing is signed until an operator decides; writes go on
    │   └── UnknownEvent        written by a newer version of this program
    ├── VaultUnavailable        the keys cannot be read or written
    ├── ClockJumped             the clock of this machine cannot be right; reads go on
    └── ConfigurationError      a setting, or a data directory, that cannot be used
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from events.messages import error_classes
from events.messages.message import Message


class EventapiError(Exception):
    """Root of the tree.

    Its text is what is wrong; `message` adds how bad that is and what to do. ``advice`` is the
    message of the class, for errors that are raised with a text alone.
    """

    advice: ClassVar[Message] = error_classes.EVENTAPI_ERROR

    def __init__(self, reason: str | Message = "") -> None:
        super().__init__(reason.text if isinstance(reason, Message) else reason)
        self._given = reason if isinstance(reason, Message) else self.advice

    @property
    def message(self) -> Message:
        """What is wrong, how bad it is, and what to type next."""
        return self._given.about(str(self))


class Refusal(EventapiError):
    """A command that the rules refuse; the log is as it was."""

    advice = error_classes.REFUSAL


class NotFound(Refusal):
    """There is no such thing for this caller."""

    advice = error_classes.NOT_FOUND


class UsernameTaken(Refusal):
    """The username is in use, without regard to case."""

    advice = error_classes.USERNAME_TAKEN


class EmailTaken(Refusal):
    """The email address is in use, without regard to case."""

    advice = error_classes.EMAIL_TAKEN


class Unauthenticated(Refusal):
    """No access token was given, or it is not good."""

    advice = error_classes.UNAUTHENTICATED


class InvalidCredentials(Refusal):
    """The username or the password is wrong; which one is not told."""

    advice = error_classes.INVALID_CREDENTIALS


class WrongPassword(InvalidCredentials):
    """The password that a user who is logged in must confirm is wrong."""

    advice = error_classes.WRONG_PASSWORD


class AccountDisabled(Refusal):
    """The credentials are right, but an operator disabled the account."""

    advice = error_classes.ACCOUNT_DISABLED


class Forbidden(Refusal):
    """The caller is known and may not do this."""

    advice = error_classes.FORBIDDEN


class PreconditionFailed(Refusal):
    """The entity is not at the version the caller named (RFC 9110, section 13)."""

    advice = error_classes.PRECONDITION_FAILED


class QuotaExceeded(Refusal):
    """The items of a user take up all that one user may have."""

    advice = error_classes.QUOTA_EXCEEDED


class IdempotencyKeyReused(Refusal):
    """The key was used before, for another request."""

    advice = error_classes.IDEMPOTENCY_KEY_REUSED


class RequestInProgress(Refusal):
    """A request with the same key is still running."""

    advice = error_classes.REQUEST_IN_PROGRESS


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with an input: a JSON pointer (RFC 6901) and what is wrong there.

    ``kind`` is a code such as pydantic has them, and ``where`` the part of the request that the
    pointer points into.
    """

    pointer: str
    detail: str
    kind: str = "value_error"
    where: Literal["body", "query", "header"] = "body"


class Invalid(Refusal):
    """Input of the right media type and the wrong content."""

    advice = error_classes.INVALID

    def __init__(self, *faults: Fault) -> None:
        told = (f"{one.pointer}: {one.detail}" if one.pointer else one.detail for one in faults)
        super().__init__("; ".join(told))
        self.faults = faults


class Overloaded(EventapiError):
    """A bounded queue is full; the caller may try again after some seconds."""

    advice = error_classes.OVERLOADED


class ShareUsedUp(Overloaded):
    """The caller's own share of a bounded queue is full; others still have room."""

    advice = error_classes.SHARE_USED_UP


class StorageFull(EventapiError):
    """The disk, quota or file-size limit is reached; the log is as it was."""

    advice = error_classes.STORAGE_FULL


class LogError(EventapiError):
    """The log cannot do what was asked of it."""

    advice = error_classes.LOG_ERROR


class LogUnavailable(LogError):
    """The log could not be reached, or its lock not taken, in time."""

    advice = error_classes.LOG_UNAVAILABLE


class PositionNotReached(LogUnavailable):
    """The log has not reached the position that a client asked for; that is no fault of the log."""

    advice = error_classes.POSITION_NOT_REACHED


class LogUnreachable(LogUnavailable):
    """The database of the log does not answer; nothing that is known already became wrong."""

    advice = error_classes.LOG_UNREACHABLE


class LogFenced(LogError):
    """Nothing may be written before a restart.

    A sync failed, so no cached byte may be trusted; or a file in use was removed or replaced.
    """

    advice = error_classes.LOG_FENCED


class DamagedLog(LogError):
    """Bytes in the log are not what was written.

    ``position`` is the record's, counted from 1, and ``offset`` that of its first byte.
    """

    advice = error_classes.DAMAGED_LOG

    def __init__(self, reason: str | Message, *, position: int, offset: int) -> None:
        given = reason if isinstance(reason, Message) else self.advice.about(reason)
        super().__init__(given.about(self._text(given.text, position, offset)))
        self.reason = given.text
        self.position = position
        self.offset = offset

    def _text(self, reason: str, position: int, offset: int) -> str:
        return f"the log is damaged at position {position:,}, byte offset {offset:,}: {reason}"


class DamagedCommitIndex(DamagedLog):
    """The mark beside a log is no mark; the log itself may be whole."""

    advice = error_classes.DAMAGED_MARK

    def __init__(self, path: str) -> None:
        super().__init__(self.advice.fill(path=path), position=0, offset=0)

    def _text(self, reason: str, position: int, offset: int) -> str:
        return reason


class MissingEvents(DamagedLog):
    """The log is shorter than what has been acknowledged."""

    advice = error_classes.MISSING_EVENTS


class DivergedLog(LogError):
    """The log is another one than a copy of it was made of."""

    advice = error_classes.DIVERGED_LOG


class SigningSuspended(LogError):
    """The log may not continue its newest checkpoint, so nothing is signed; writes go on."""

    advice = error_classes.SIGNING_SUSPENDED


class UnknownEvent(LogError):
    """An event type or shape that this version does not know; a newer one wrote it."""

    advice = error_classes.UNKNOWN_EVENT


class VaultUnavailable(EventapiError):
    """The vault cannot be read or written."""

    advice = error_classes.VAULT_UNAVAILABLE


class ClockJumped(EventapiError):
    """The clock of this machine jumped, or contradicts the log; nothing is written until it is settled."""

    advice = error_classes.CLOCK_JUMPED


class ConfigurationError(EventapiError):
    """A setting has a bad value, or the data directory cannot be used."""

    advice = error_classes.CONFIGURATION_ERROR


def known_error(error: BaseException | None) -> EventapiError | None:
    """The error of this tree that stands in the groups which task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(known_error, error.exceptions)), None)
    return error if isinstance(error, EventapiError) else None
