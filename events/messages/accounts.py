"""Messages of `eventapi users`, which changes accounts."""

from __future__ import annotations

from typing import Final

from events.messages.message import Message

_UNCHANGED: Final = "Nothing was changed."

NO_ROLE: Final = Message(
    "there is no role {role}",
    _UNCHANGED,
    "name one of {roles}, or the modules whose resources name it: --resources or EVENTAPI_RESOURCES",
)
NO_ANSWER: Final = Message(
    "the input ended before the question was answered",
    _UNCHANGED,
    "answer y, or give --yes, which asks nothing",
)
NOT_ERASED: Final = Message(
    "{name} is not erased, because the answer was no",
    _UNCHANGED,
    "nothing; to erase the user, repeat the command and answer y",
)
NO_PASSWORD: Final = Message(
    "the input ended before the password was typed",
    _UNCHANGED,
    "type the password twice, or pipe it in: `eventapi users create NAME EMAIL --password-stdin`",
)
NO_TERMINAL: Final = Message(
    "there is no terminal at which to type the password",
    _UNCHANGED,
    "pipe the password in: `eventapi users create NAME EMAIL --password-stdin`",
)
ERASED_KEY_LEFT: Final = Message(
    "{name} is erased: the event is in the log and the account is gone. But the key of {subjects} "
    "could not be destroyed",
    "Older copies of the log can still be read with this vault. Writes continue.",
    "free disk space, or make the vault writable, and run `eventapi users erase --finish`; the next "
    "start of a server does the same",
)
ERASED_MAILS_LEFT: Final = Message(
    "{name} is erased: the event is in the log, and the key of {subjects} is destroyed. But mails to "
    "the user could not be removed",
    "Writes continue. The outbox still contains the address of the user.",
    "fix the permissions of the outbox, and run `eventapi users erase --finish`; the next start of a "
    "server does the same",
)
