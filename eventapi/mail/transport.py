"""The port of transports, which carry a mail away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec

Kind = Literal["verification", "password-reset", "email-changed"]


class Mail(msgspec.Struct, frozen=True):
    """A mail that is ready to be sent: ``content`` is its bytes (RFC 5322).

    ``position`` is that of its event, and ``user`` the number of the user whom it is about.
    ``sender`` and ``recipient`` are the addresses of the envelope.
    """

    position: int
    user: int
    kind: Kind
    sender: str
    recipient: str
    content: bytes


class MailRefused(Exception):
    """The mail can never be delivered; the text is a reason without a personal value."""


class RecipientUnavailable(Exception):
    """Only this mail cannot be delivered at present; the text is as in `MailRefused`."""


class MailInterrupted(Exception):
    """Sending failed after the sender was accepted.

    This mail may be the reason, or the mail server. The text is as in `MailRefused`.
    """


class MailVoid(Exception):
    """The mail must not be sent any more, because its user was erased, for example."""


Confirm = Callable[[], Awaitable[None]]
"""Raises `MailVoid` if a mail must not be sent any more."""


class Transport(Protocol):
    """Carries mails away, one at a time."""

    @property
    def place(self) -> str:
        """Where mails go, in words and without a secret."""

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        """Send a mail; when this returns, it is accepted for delivery.

        ``confirm`` is called as late as possible, just before the content is handed over, because a
        mail server may take minutes to get there. What it raises cancels the mail.

        Raises `MailRefused`, `RecipientUnavailable` and `MailInterrupted`, and `NotDelivered` for
        anything that concerns other mails, too.
        """

    async def withdraw(self, mail: Mail) -> None:
        """Remove the mails of a user who was erased meanwhile, if that is possible."""


class MemoryTransport:
    """Keeps mails in memory, for tests."""

    place = "memory"

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        await confirm()
        self.mails.append(mail)

    async def withdraw(self, mail: Mail) -> None:
        self.mails[:] = [one for one in self.mails if one.user != mail.user]
