"""Compose a mail: headers, a plain text part with the link, and an HTML part.

Everything follows from the event, so a mail that is sent again has the same Message-ID and Date, and
a mail server or a person recognises it.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parseaddr
from typing import Final

from email_validator import validate_email

from eventapi.accounts.links import VERIFICATION_SECONDS
from eventapi.mail.letters import Letter
from eventapi.mail.texts import Templates, Values
from eventapi.mail.transport import Mail, MailRefused
from events.record import Record

_LONGEST_LINE: Final = 990
"""RFC 5322 allows 998 characters; a longer line is encoded."""

_DAY_SECONDS: Final = 86_400


class Composer:
    """Composes mails from letters."""

    def __init__(self, templates: Templates, sender: str, base_url: str) -> None:
        """``sender`` is an address with a name or without; links begin with ``base_url``."""
        self._templates = templates
        self._sender = parse_sender(sender)
        self._base_url = base_url

    def compose(self, letter: Letter, record: Record) -> Mail:
        """The mail of a letter about an event; raises `MailRefused` for a bad address."""
        try:
            recipient = parse_address(letter.recipient)
        except ValueError as error:
            raise MailRefused("the address has a bad form") from error
        is_ascii = recipient.addr_spec.isascii() and self._sender.addr_spec.isascii()
        message = EmailMessage(SMTP if is_ascii else SMTPUTF8)
        message["From"] = self._sender
        message["To"] = recipient
        message["Date"] = datetime.fromisoformat(record.time)
        identity = f"{record.position}.{letter.kind}.{record.source.rpartition(':')[2]}"
        domain = self._sender.domain if self._sender.domain.isascii() else "localhost"
        message["Message-ID"] = f"<{identity}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        values = Values(
            letter.user.username,
            f"{self._base_url}{letter.path}",
            record.time[:10],
            VERIFICATION_SECONDS // _DAY_SECONDS,
            letter.replaced,
        )
        texts = self._templates.render(letter.kind, values)
        message["Subject"] = texts.subject
        message.set_content(texts.text, cte=_transfer_encoding(texts.text))
        message.add_alternative(texts.html, subtype="html", cte=_transfer_encoding(texts.html))
        message.set_boundary(f"=_{hashlib.sha256(identity.encode()).hexdigest()[:32]}")
        return Mail(
            record.position,
            letter.user.id,
            letter.kind,
            self._sender.addr_spec,
            recipient.addr_spec,
            message.as_bytes(),
        )


def parse_sender(sender: str) -> Address:
    """An address with a name or without; raises `ValueError`."""
    name, address = parseaddr(sender)
    return parse_address(address, name)


def parse_address(text: str, name: str = "") -> Address:
    """An address for a header, with its domain in ASCII; raises `ValueError`."""
    checked = validate_email(text, check_deliverability=False, globally_deliverable=False)
    return Address(name, username=checked.local_part, domain=checked.ascii_domain)


def _transfer_encoding(text: str) -> str:
    """Leave plain lines as they are, because people copy a long link from them."""
    is_plain = text.isascii() and all(len(line) < _LONGEST_LINE for line in text.splitlines())
    return "7bit" if is_plain else "quoted-printable"
