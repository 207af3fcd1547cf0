"""Mail over SMTP, to real servers that are good, strict, slow, refusing or dead."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from eventapi.mail import smtp
from eventapi.mail.smtp import MailServer, SmtpTransport
from eventapi.mail.transport import (
    Mail,
    MailInterrupted,
    MailRefused,
    MailVoid,
    RecipientUnavailable,
)
from events.errors import NotDelivered
from tests.end_to_end.server import free_port
from tests.eventapi.mail.mailserver import Certificate, mail_server
from tests.eventapi.mail.writing import confirmed

ADDRESS = "ann@example.org"
CONTENT = b"From: a@localhost\r\nTo: ann@example.org\r\nSubject: hello\r\n\r\nA text.\r\n.\r\n"
LOGIN = "mailer:pass%20word%2F%40@"


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate that this process trusts."""
    found = Certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(found.file))
    return found


def mail(recipient: str = ADDRESS) -> Mail:
    return Mail(7, 1, "verification", "eventapi@localhost", recipient, CONTENT)


def transport(url: str, seconds: float = 20) -> SmtpTransport:
    return SmtpTransport(MailServer.parse(url), seconds, 2 * seconds)


async def failure(url: str, seconds: float = 20, error: type[Exception] = NotDelivered) -> str:
    with pytest.raises(error) as caught:
        await transport(url, seconds).send(mail(), confirmed)
    return str(caught.value)


async def test_a_plain_server_gets_the_mail() -> None:
    port = free_port()
    with mail_server(port) as inbox:
        await transport(f"smtp://127.0.0.1:{port}").send(mail(), confirmed)
    assert inbox.recipients == [ADDRESS]
    assert inbox.mails[0].get_content() == "A text.\r\n.\r\n"
    assert inbox.was_tls == [False]


async def test_tls_is_used_if_the_server_offers_it(trusted: Certificate) -> None:
    port = free_port()
    with mail_server(port, tls_context=trusted.server, require_starttls=True) as inbox:
        await transport(f"smtp://localhost:{port}").send(mail(), confirmed)
    assert inbox.was_tls == [True]


async def test_implicit_tls_with_a_login(trusted: Certificate) -> None:
    port = free_port()
    with mail_server(port, ssl_context=trusted.server, auth_require_tls=False) as inbox:
        await transport(f"smtps://{LOGIN}localhost:{port}").send(mail(), confirmed)
    assert inbox.logins == ["mailer:pass word/@"]
    assert inbox.recipients == [ADDRESS]


async def test_a_login_follows_starttls(trusted: Certificate) -> None:
    port = free_port()
    with mail_server(port, tls_context=trusted.server, auth_required=True) as inbox:
        await transport(f"smtp://{LOGIN}localhost:{port}").send(mail(), confirmed)
    assert (inbox.recipients, inbox.was_tls) == ([ADDRESS], [True])


async def test_a_wrong_password_is_a_failure_that_names_the_code(trusted: Certificate) -> None:
    port = free_port()
    with mail_server(port, tls_context=trusted.server, auth_required=True) as inbox:
        reason = await failure(f"smtp://mailer:wrong-secret@localhost:{port}")
    assert reason.endswith("it answered 535")
    assert "wrong-secret" not in reason
    assert inbox.mails == []


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_an_untrusted_certificate_is_refused(tmp_path: Path, scheme: str) -> None:
    port, untrusted = free_port(), Certificate(tmp_path)
    option = "tls_context" if scheme == "smtp" else "ssl_context"
    with mail_server(port, **{option: untrusted.server}) as inbox:
        reason = await failure(f"{scheme}://localhost:{port}")
    assert "certificate" in reason
    assert inbox.mails == []


async def test_control_without_the_check_that_certificate_is_accepted(tmp_path: Path) -> None:
    port, untrusted = free_port(), Certificate(tmp_path)

    def careless() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    with (
        mail_server(port, tls_context=untrusted.server) as inbox,
        patch("eventapi.mail.smtp.ssl.create_default_context", careless),
    ):
        await transport(f"smtp://localhost:{port}").send(mail(), confirmed)
    assert len(inbox.mails) == 1


async def test_a_password_is_not_sent_without_tls_to_another_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    options: dict[str, Any] = {"auth_require_tls": False}
    with mail_server(port, **options) as inbox:
        url = f"smtp://{LOGIN}127.0.0.1:{port}"
        await transport(url).send(mail(), confirmed)  # On this machine it is.
        assert len(inbox.logins) == 1
        monkeypatch.setattr(smtp, "_is_loopback", lambda _: False)
        await failure(url)
    assert (len(inbox.logins), len(inbox.mails)) == (1, 1)


@pytest.mark.parametrize(
    ("host", "needs"),
    [
        ("localhost", False),
        ("127.0.0.2", False),
        ("[::1]", False),
        ("mail.example", True),
        ("10.0.0.1", True),
        ("127.0.0.1.example", True),
        ("localhost.example", True),
    ],
)
def test_only_this_machine_gets_a_password_without_tls(host: str, *, needs: bool) -> None:
    assert MailServer.parse(f"smtp://{LOGIN}{host}").needs_tls is needs
    assert MailServer.parse(f"smtp://{host}").needs_tls is False


@pytest.mark.parametrize(
    ("refused", "codes", "error"),
    [
        ("recipient", (450, 451, 452), RecipientUnavailable),
        ("recipient", (550, 551, 553), MailRefused),
        ("content", (451, 552, 554), RecipientUnavailable),
    ],
)
async def test_a_refusal_is_final_or_delays_this_mail_and_its_reason_has_no_address(
    refused: str, codes: Sequence[int], error: type[Exception]
) -> None:
    port = free_port()
    with mail_server(port) as inbox:
        for code in codes:
            setattr(inbox, f"answer_to_{refused}", f"{code} <{{address}}> no")
            with pytest.raises(error) as caught:
                await transport(f"smtp://127.0.0.1:{port}").send(mail(), confirmed)
            assert str(caught.value) == f"the mail server answered {code} to the {refused}"


@pytest.mark.parametrize(
    ("step", "error"),
    [("sender", NotDelivered), ("recipient", MailInterrupted), ("content", MailInterrupted)],
)
async def test_a_connection_that_is_closed_in_the_middle_is_a_failure(
    step: str, error: type[Exception]
) -> None:
    """At the recipient or the content it may be because of this mail alone."""
    port = free_port()
    with mail_server(port) as inbox:
        inbox.closes_at = step
        assert ADDRESS not in await failure(f"smtp://127.0.0.1:{port}", error=error)


@pytest.mark.parametrize("is_wanted", [False, True])  # The second one is the control.
async def test_a_mail_that_becomes_void_at_the_recipient_is_not_handed_over(
    *, is_wanted: bool
) -> None:
    port = free_port()
    with mail_server(port) as inbox:

        async def confirm() -> None:
            assert inbox.tried == [ADDRESS]  # The server had accepted the recipient.
            if not is_wanted:
                raise MailVoid

        sending = transport(f"smtp://127.0.0.1:{port}").send(mail(), confirm)
        if is_wanted:
            await sending
        else:
            with pytest.raises(MailVoid):
                await sending
    assert len(inbox.mails) == is_wanted


@pytest.mark.parametrize(("step_seconds", "mail_seconds"), [(0.5, 20), (20, 0.5)])
async def test_a_server_that_stalls_at_a_recipient_is_given_up(
    step_seconds: float, mail_seconds: float
) -> None:
    port = free_port()
    with mail_server(port) as inbox:
        inbox.is_slow = True
        server = MailServer.parse(f"smtp://127.0.0.1:{port}")
        with pytest.raises(MailInterrupted, match="in time"):
            await SmtpTransport(server, step_seconds, mail_seconds).send(mail(), confirmed)


async def test_a_server_that_stalls_before_any_mail_is_a_failure_of_all_mail() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "in time" in await failure(f"smtp://127.0.0.1:{port}", 0.5)


async def test_authorities_that_cannot_be_read_are_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> ssl.SSLContext:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("eventapi.mail.smtp.ssl.create_default_context", missing)
    assert "No such file" in await failure(f"smtp://127.0.0.1:{free_port()}")


async def test_a_dead_server_is_a_failure() -> None:
    assert "refused" in (await failure(f"smtp://127.0.0.1:{free_port()}")).lower()


async def test_an_address_in_utf_8_needs_a_server_that_accepts_it() -> None:
    address = "änn@example.org"
    for port, accepts in ((free_port(), True), (free_port(), False)):
        with mail_server(port, enable_SMTPUTF8=accepts) as inbox:
            sending = transport(f"smtp://127.0.0.1:{port}").send(mail(address), confirmed)
            if accepts:
                await sending
                assert inbox.recipients == [address]
            else:
                with pytest.raises(MailRefused):
                    await sending


def test_the_place_has_no_password() -> None:
    assert transport("smtp://mailer:secret@mail.example:587").place == (
        "the mail server smtp://mailer:********@mail.example:587"
    )
