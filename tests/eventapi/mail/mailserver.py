"""A real mail server (aiosmtpd) whose faults a test chooses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.security.test_tls import certificate

ACCEPTED = "250 accepted"


class Inbox:
    """What a mail server has accepted, and its answers."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.tried: list[str] = []
        self.recipients: list[str] = []
        self.logins: list[str] = []
        self.was_tls: list[bool] = []
        self.answer_to_recipient = ACCEPTED
        self.answer_to_content = ACCEPTED
        self.is_slow = False
        self.closes_at = ""

    async def handle_MAIL(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._close_at("sender", server)
        envelope.mail_from = address
        envelope.mail_options += options
        return ACCEPTED

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.tried.append(address)
        if self.is_slow:
            await asyncio.sleep(3_600)
        self._close_at("recipient", server)
        if self.answer_to_recipient == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return self.answer_to_recipient.format(address=address)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self._close_at("content", server)
        if self.answer_to_content == ACCEPTED:
            assert isinstance(envelope.content, bytes)
            self.recipients += envelope.rcpt_tos
            self.mails.append(
                message_from_bytes(envelope.content, _class=EmailMessage, policy=policy.default)
            )
            self.was_tls.append(session.ssl is not None)
        return self.answer_to_content

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any
    ) -> AuthResult:
        """Accept one user."""
        assert isinstance(login, LoginPassword)
        self.logins.append(f"{login.login.decode()}:{login.password.decode()}")
        return AuthResult(success=self.logins[-1] == "mailer:pass word/@", handled=False)

    def _close_at(self, step: str, server: SMTP) -> None:
        if self.closes_at == step:
            assert server.transport is not None
            server.transport.close()


class MailServer:
    """A mail server on a port; `stop` and `start` it at will."""

    def __init__(self, inbox: Inbox, port: int, **options: Any) -> None:
        self.inbox = inbox
        self.port = port
        self._options = options
        self._controller: Controller | None = None

    def start(self) -> None:
        """Listen."""
        self._controller = Controller(
            self.inbox,
            "127.0.0.1",
            self.port,
            authenticator=self.inbox.authenticate,
            enable_SMTPUTF8=self._options.pop("enable_SMTPUTF8", True),
            **self._options,
        )
        self._controller.start()

    def stop(self) -> None:
        """Close the port."""
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None


class Certificate:
    """A self-signed certificate for localhost, and what trusts it."""

    def __init__(self, directory: Path) -> None:
        self.file, self._key = certificate(directory)

    @property
    def server(self) -> ssl.SSLContext:
        """The context of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self._key)
        return context


@contextmanager
def mail_server(port: int, **options: Any) -> Iterator[Inbox]:
    """A mail server that listens inside the context."""
    server = MailServer(Inbox(), port, **options)
    server.start()
    try:
        yield server.inbox
    finally:
        server.stop()
