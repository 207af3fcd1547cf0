"""A composer and letters for tests."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

import msgspec

from eventapi.mail.compose import Composer
from eventapi.mail.letters import Letter
from eventapi.mail.texts import Templates
from eventapi.mail.transport import Kind, Mail
from eventapi.testing.given import folded_records, records_of, registered
from events.record import Record

RECORD: Final[Record] = records_of([registered(1, "ann")])[0]
USER: Final = folded_records([RECORD]).users.by_id[1]
BASE: Final = "https://api.example/events"
PATH: Final = f"/verify-email?token=1.1767830401.{'ab' * 32}"


def composer(sender: str = "eventapi@localhost", templates: Templates | None = None) -> Composer:
    return Composer(templates or Templates(), sender, BASE)


def letter(
    kind: Kind = "verification",
    recipient: str = "ann@example.org",
    username: str = "ann",
    *,
    replaced: bool = False,
) -> Letter:
    user = msgspec.structs.replace(USER, username=username)
    return Letter(kind, user, recipient, "" if kind == "email-changed" else PATH, replaced)


async def confirmed() -> None:
    """The check of a mail that is still wanted."""


def parsed(mail: Mail) -> EmailMessage:
    return message_from_bytes(mail.content, _class=EmailMessage, policy=policy.default)


def part(message: EmailMessage, kind: str) -> str:
    """The text of a part, with the line ends of Python."""
    found = message.get_body((kind,))
    assert found is not None
    text: str = found.get_content()
    return text.replace("\r\n", "\n")
