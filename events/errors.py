"""Every error of events, projections and eventapi, as one tree.

::

    EventapiError
    ├── Refusal                 a rule refuses the command; nothing was written
    │   ├── NotFound            it does not exist, or the caller may not see it
    │   ├── UsernameTaken
    │   ├── EmailTaken
    │   ├── Unauthenticated     no access token, or one that is not valid
    │   ├── InvalidCredentials
    │   │   └── WrongPassword   of a user who is logged in
    │   ├── SecondFactorRequired  the password is right, and a code is needed as well
    │   ├── AccountDisabled
    │   ├── EmailUnverified     the server requires a verified email address
    │   ├── Forbidden
    │   ├── PreconditionFailed  If-Match named another version
    │   ├── QuotaExceeded       the user's resources have reached their limit
    │   ├── ActionRefused       a declared action refuses, in the application's words
    │   ├── IdempotencyKeyReused
    │   ├── RequestInProgress   the first request with this key is still running
    │   └── Invalid             invalid values, each with its place in the input
    │       └── NotUnique       values that another resource has, and that must be unique
    ├── Overloaded              a bounded queue is full; try again later
    │   └── ShareUsedUp         one caller's share of the queue is full
    ├── StorageFull             no space left for log or vault; reads continue
    ├── LogError                an operation on the log failed
    │   ├── LogUnavailable      not reachable, or its lock not acquired, in time
    │   │   ├── PositionNotReached  the log is behind the position that a client asks for
    │   │   ├── LogConflict     another appender was first; nothing was written
    │   │   ├── LogUnreachable  its database does not answer; known state stays valid
    │   │   └── LogNotChecked   its chain is still checked after a fast start; try again later
    │   ├── LogFenced           a sync failed, or a file in use is gone: no write before a restart
    │   ├── DamagedLog          bytes that are not what was written
    │   │   ├── DamagedCommitIndex  only the mark beside the log is damaged
    │   │   └── MissingEvents   acknowledged events are missing
    │   ├── DivergedLog         not the log that a copy was made of
    │   ├── SigningSuspended    nothing is signed until an operator decides; writes continue
    │   ├── UnknownKind         a newer version of the application changed the kind
    │   └── UnknownEvent        written by a newer version of this program
    ├── ApplicationFailed       an exception in the application's code failed this request
    ├── ProjectionFailed        an exception in the application's code stopped this projection
    │   └── ProjectionNotReady  its code changed, and it is computed anew; try again later
    ├── VaultUnavailable        the keys cannot be read or written
    ├── FollowersUnavailable    the progress of followers cannot be read or written
    │   └── LeaseLost           another process may run the follower
    ├── NotDelivered            a follower could not deliver an event; it is tried again
    ├── MailNotRemoved          mails of an erased user are still in the outbox
    ├── ClockJumped             the clock of this machine cannot be right; reads continue
    └── ConfigurationError      a setting, or a data directory, that cannot be used
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from events.messages import error_classes
from events.messages.message import Message


class EventapiError(Exception):
    """Root of the tree.

    Its text states what is wrong; `message` adds how bad that is and what to do. ``advice`` is the
    message of the class, for errors that are raised with a text only.
    """

    advice: ClassVar[Message] = error_classes.EVENTAPI_ERROR

    def __init__(self, reason: str | Message = "") -> None:
        super().__init__(reason.text if isinstance(reason, Message) else reason)
        self._given = reason if isinstance(reason, Message) else self.advice

    @property
    def message(self) -> Message:
        """The error's text, with how bad it is and what to type next."""
        return self._given.about(str(self))


class Refusal(EventapiError):
    """A command that a rule refuses; the log is unchanged.

    ``part`` is the number of the refused command, from 0, if it was written with others.
    """

    advice = error_classes.REFUSAL
    part: int | None = None


class NotFound(Refusal):
    """It does not exist, or the caller may not see it."""

    advice = error_classes.NOT_FOUND


class UsernameTaken(Refusal):
    """Another user has the username; case is ignored."""

    advice = error_classes.USERNAME_TAKEN


class EmailTaken(Refusal):
    """Another user has the email address; case is ignored."""

    advice = error_classes.EMAIL_TAKEN


class Unauthenticated(Refusal):
    """The access token is missing or not valid."""

    advice = error_classes.UNAUTHENTICATED


class InvalidCredentials(Refusal):
    """The username or the password is wrong; the error does not reveal which."""

    advice = error_classes.INVALID_CREDENTIALS


class WrongPassword(InvalidCredentials):
    """A logged-in user confirmed a request with a wrong password."""

    advice = error_classes.WRONG_PASSWORD


class SecondFactorRequired(Refusal):
    """The password is right, and the account needs a code as well.

    ``challenge`` is what the client sends with the code.
    """

    advice = error_classes.SECOND_FACTOR_REQUIRED
    challenge: str = ""


class AccountDisabled(Refusal):
    """The credentials are right, but an operator disabled the account."""

    advice = error_classes.ACCOUNT_DISABLED


class EmailUnverified(Refusal):
    """The credentials are right, but the server requires a verified email address."""

    advice = error_classes.EMAIL_UNVERIFIED


class Forbidden(Refusal):
    """The caller is authenticated, but may not do this."""

    advice = error_classes.FORBIDDEN


class PreconditionFailed(Refusal):
    """The entity is not at the version that the caller names (RFC 9110, section 13)."""

    advice = error_classes.PRECONDITION_FAILED


class QuotaExceeded(Refusal):
    """The resources of a user have reached the limit of one user."""

    advice = error_classes.QUOTA_EXCEEDED


class ActionRefused(Refusal):
    """An action that an application declares refuses; the text is the application's."""

    advice = error_classes.ACTION_REFUSED

    def __init__(self, reason: str | Message = "") -> None:
        is_blank = isinstance(reason, str) and not reason.strip()
        super().__init__("the action is refused; it gives no reason" if is_blank else reason)


class IdempotencyKeyReused(Refusal):
    """The key was used before, for another request."""

    advice = error_classes.IDEMPOTENCY_KEY_REUSED


class RequestInProgress(Refusal):
    """A request with the same key is still running."""

    advice = error_classes.REQUEST_IN_PROGRESS


class Fault(msgspec.Struct, frozen=True):
    """One invalid value: a JSON pointer (RFC 6901) to it, and what is wrong with it.

    ``kind`` is an error type in the style of pydantic, and ``where`` the part of the request.
    """

    pointer: str
    detail: str
    kind: str = "value_error"
    where: Literal["body", "query", "header"] = "body"


class Invalid(Refusal):
    """Input of the right media type with invalid content."""

    advice = error_classes.INVALID

    def __init__(self, *faults: Fault) -> None:
        details = (f"{one.pointer}: {one.detail}" if one.pointer else one.detail for one in faults)
        super().__init__("; ".join(details))
        self.faults = faults


class NotUnique(Invalid):
    """Values that must be unique, and that another live resource has."""

    advice = error_classes.NOT_UNIQUE


class Overloaded(EventapiError):
    """A bounded queue is full; the caller may retry after some seconds."""

    advice = error_classes.OVERLOADED


class ShareUsedUp(Overloaded):
    """The caller's share of a bounded queue is full; other callers have theirs."""

    advice = error_classes.SHARE_USED_UP


class StorageFull(EventapiError):
    """The disk, quota or file-size limit is reached; the log is unchanged."""

    advice = error_classes.STORAGE_FULL


class LogError(EventapiError):
    """An operation on the log failed."""

    advice = error_classes.LOG_ERROR


class LogUnavailable(LogError):
    """The log could not be reached, or its lock not acquired, in time."""

    advice = error_classes.LOG_UNAVAILABLE


class PositionNotReached(LogUnavailable):
    """The log has not reached the position that a client asks for; the log is fine."""

    advice = error_classes.POSITION_NOT_REACHED


class LogConflict(LogUnavailable):
    """Another appender was first, and surely nothing was written; decide again."""

    advice = error_classes.LOG_CONFLICT


class LogUnreachable(LogUnavailable):
    """The database of the log does not answer; the state known so far stays valid."""

    advice = error_classes.LOG_UNREACHABLE


class LogNotChecked(LogUnavailable):
    """Nothing is signed or proved before the chain below the snapshot is checked."""

    advice = error_classes.LOG_NOT_CHECKED


class LogFenced(LogError):
    """No write before a restart: a sync failed, or a file in use was replaced."""

    advice = error_classes.LOG_FENCED


class DamagedLog(LogError):
    """Bytes in the log are not what was written.

    ``position`` counts records from 1, and ``offset`` is its first byte, if that is known.
    """

    advice = error_classes.DAMAGED_LOG

    def __init__(self, reason: str | Message, *, position: int, offset: int | None = None) -> None:
        given = reason if isinstance(reason, Message) else self.advice.about(reason)
        text = given.text
        if offset is not None:
            text = f"the log is damaged at position {position:,}, byte offset {offset:,}: {text}"
        super().__init__(given.about(text))
        self.reason = given.text
        self.position, self.offset = position, offset


class DamagedCommitIndex(DamagedLog):
    """The mark beside a log is damaged; the log itself may be intact."""

    advice = error_classes.DAMAGED_MARK

    def __init__(self, path: str) -> None:
        super().__init__(self.advice.fill(path=path), position=0)


class MissingEvents(DamagedLog):
    """The log is shorter than its acknowledged events."""

    advice = error_classes.MISSING_EVENTS


class DivergedLog(LogError):
    """The log is not the one that a copy was made of."""

    advice = error_classes.DIVERGED_LOG


class SigningSuspended(LogError):
    """The log may contradict its newest checkpoint: no signing, but writes continue."""

    advice = error_classes.SIGNING_SUSPENDED


class UnknownEvent(LogError):
    """An event type or shape of a newer version, which this one does not know."""

    advice = error_classes.UNKNOWN_EVENT


class UnknownKind(LogError):
    """A newer version of the application changed the kind; all other kinds are served."""

    advice = error_classes.UNKNOWN_KIND


class ApplicationFailed(EventapiError):
    """The code of a declared action, or of a query, raised an exception."""

    advice = error_classes.APPLICATION_FAILED


class ProjectionFailed(EventapiError):
    """A declared projection has stopped; everything else is served."""

    advice = error_classes.PROJECTION_FAILED


class ProjectionNotReady(ProjectionFailed):
    """A projection that is computed anew in the background, because its code changed."""

    advice = error_classes.PROJECTION_NOT_READY


class VaultUnavailable(EventapiError):
    """The vault cannot be read or written."""

    advice = error_classes.VAULT_UNAVAILABLE


class FollowersUnavailable(EventapiError):
    """The progress of followers cannot be read or written; requests continue."""

    advice = error_classes.FOLLOWERS_UNAVAILABLE


class LeaseLost(FollowersUnavailable):
    """Another process may run the follower, so this one must stop."""

    advice = error_classes.LEASE_LOST


class NotDelivered(EventapiError):
    """A follower could not deliver an event; the text contains no personal value."""

    advice = error_classes.NOT_DELIVERED


class MailNotRemoved(EventapiError):
    """Mails of an erased user cannot be removed from the outbox."""

    advice = error_classes.MAIL_NOT_REMOVED


class ClockJumped(EventapiError):
    """The machine's clock jumped or contradicts the log; no writes until it is right."""

    advice = error_classes.CLOCK_JUMPED


class ConfigurationError(EventapiError):
    """A setting has a bad value, or the data directory cannot be used."""

    advice = error_classes.CONFIGURATION_ERROR


def known_error(error: BaseException | None) -> EventapiError | None:
    """The error of this tree inside the exception groups of task groups, or ``None``."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(known_error, error.exceptions)), None)
    return error if isinstance(error, EventapiError) else None
