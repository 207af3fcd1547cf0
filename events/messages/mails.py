"""Warnings and errors about mail that the server writes to its log."""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

MAILS_NOT_REMOVED: Final = Message(
    "mails of erased users are not removed yet: {reason}",
    "Writes continue, and the users are erased. Until it succeeds, the outbox contains their addresses.",
    "fix the permissions of the outbox; it is retried every second, and by "
    "`eventapi users erase --finish`",
)
MAIL_NOT_REQUESTED: Final = Message(
    "a mail that a user asked for was not requested: {reason}",
    "Requests continue. The answer did not report it, because that would reveal the account.",
    "fix the cause that is named; the user can request another mail",
)
MAIL_DELAYED: Final = Message(
    "a mail to {user} about the event at position {position:,} is delayed: {reason}",
    "Requests, writes and other mails continue. It is sent again for some days.",
    "nothing, unless it happens to many users: then check the log of the mail server",
)
MAIL_NOT_COMPOSED: Final = Message(
    "a mail to {user} about the event at position {position:,} could not be composed: {reason}",
    "Requests, writes and other mails continue. It is composed again for some days.",
    "correct your template and restart the server; if you have none, report it",
)
MAIL_DROPPED: Final = Message(
    "a mail to {user} about the event at position {position:,} was dropped: {reason}",
    "Requests and writes continue. The user does not get this mail.",
    "check the address of the user: `eventapi users list`; the user can request another mail",
)
