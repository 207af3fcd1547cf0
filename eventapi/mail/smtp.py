"""The transport over SMTP (RFC 5321), to a mail server that delivers further.

TLS is used if the server offers it, and certificates are always checked. With a password it is
required, unless the server is on this machine. Errors are reported by their codes, because the
texts of mail servers repeat addresses.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from contextlib import closing, suppress
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec
from aiosmtplib.errors import (
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPRecipientRefused,
    SMTPResponseException,
)

from eventapi.mail.transport import (
    Confirm,
    Mail,
    MailInterrupted,
    MailRefused,
    RecipientUnavailable,
)
from events.database.urls import mask_url
from events.errors import NotDelivered

STEP_SECONDS: Final = 30.0
MAIL_SECONDS: Final = 120.0
"""The time limits of one command, and of one mail in all."""

_PORTS: Final = {"smtp": 25, "smtps": 465}
_FIRST_PERMANENT: Final = 500


class MailServer(msgspec.Struct, frozen=True):
    """The mail server of a URL; ``address`` is the URL without its password."""

    address: str
    host: str
    port: int
    is_tls: bool
    username: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """Parse ``smtp://`` or ``smtps://``; the URL was checked with the settings."""
        parts = urlsplit(url)
        username, password = parts.username, parts.password
        return cls(
            mask_url(url),
            parts.hostname or "localhost",
            parts.port or _PORTS[parts.scheme],
            parts.scheme == "smtps",
            None if username is None else unquote(username),
            None if password is None else unquote(password),
        )

    @property
    def needs_tls(self) -> bool:
        """Whether a connection without TLS would show a password to the network."""
        return self.username is not None and not _is_loopback(self.host)


class SmtpTransport:
    """Sends each mail over a connection of its own."""

    def __init__(
        self,
        server: MailServer,
        step_seconds: float = STEP_SECONDS,
        mail_seconds: float = MAIL_SECONDS,
    ) -> None:
        self._server = server
        self._step_seconds = step_seconds
        self._mail_seconds = mail_seconds

    @property
    def place(self) -> str:
        """Where mails go, for the server's log."""
        return f"the mail server {self._server.address}"

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        failure: type[Exception] = NotDelivered
        try:
            with closing(self._client()) as client:
                async with asyncio.timeout(self._mail_seconds):
                    await client.connect()
                    encoding = await _begin(client, mail)
                    failure = MailInterrupted
                    await _transmit(client, mail, encoding, confirm)
                with suppress(SMTPException, OSError):
                    await client.quit()
        except (SMTPException, OSError, ValueError) as error:
            raise failure(f"{self.place}: {_reason_of(error)}") from error

    async def withdraw(self, mail: Mail) -> None:
        """Do nothing: what a mail server has accepted cannot be recalled."""

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            # By default the library looks this name up and blocks the event loop meanwhile.
            local_hostname=socket.gethostname() or "localhost",
            use_tls=server.is_tls,
            start_tls=True if server.needs_tls and not server.is_tls else None,
            tls_context=ssl.create_default_context(),
            timeout=self._step_seconds,
        )


async def _begin(client: aiosmtplib.SMTP, mail: Mail) -> str:
    """Name the sender; returns the encoding of addresses, and raises `MailRefused`."""
    if mail.recipient.isascii() and mail.sender.isascii():
        await client.mail(mail.sender)
        return "ascii"
    with suppress(SMTPHeloError):
        await client.ehlo()
    if not client.supports_extension("smtputf8"):
        raise MailRefused("the mail server accepts only ASCII addresses")
    await client.mail(mail.sender, options=["SMTPUTF8"], encoding="utf-8")
    return "utf-8"


async def _transmit(client: aiosmtplib.SMTP, mail: Mail, encoding: str, confirm: Confirm) -> None:
    """Send a mail after its sender; raises `MailRefused` and `RecipientUnavailable`."""
    try:
        await client.rcpt(mail.recipient, encoding=encoding)
        await confirm()
        await client.data(mail.content)
    except SMTPRecipientRefused as error:
        reason = f"the mail server answered {error.code} to the recipient"
        kind = MailRefused if error.code >= _FIRST_PERMANENT else RecipientUnavailable
        raise kind(reason) from error
    except SMTPDataError as error:
        reason = f"the mail server answered {error.code} to the content"
        raise RecipientUnavailable(reason) from error


def _reason_of(error: Exception) -> str:
    """The reason of an error, without any text of the mail server."""
    if isinstance(error, SMTPResponseException):
        return f"it answered {error.code}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    for one in (error, error.__cause__, error.__context__):
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is refused: {one.verify_message}"
        if isinstance(one, socket.gaierror):
            return "there is no such host"
        if isinstance(one, OSError) and one.errno:
            return os.strerror(one.errno)
    return type(error).__name__


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
