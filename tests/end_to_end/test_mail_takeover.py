"""Two instances over one PostgreSQL: one takes the mail over from one that is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.end_to_end.server import Command, Server, free_port, uvicorn_of
from tests.end_to_end.waiting import SECONDS, wait_until
from tests.eventapi.mail.mailserver import Inbox, MailServer
from tests.servers.postgresql import PostgreSQL

HANG_SECONDS = 60.0
"""This only ends a test that would hang: `tests/eventapi/followers/test_contract.py` has the bound."""

PLANTED = "tests.end_to_end.planted_accounts"
short_lease = uvicorn_of(f"{PLANTED}:short_lease")
PASSWORD = "correct horse battery staple"
BEFORE, WHILE_STOPPED, AFTER = range(4), range(4, 10), range(10, 14)


def address(number: int) -> str:
    return f"user{number}@example.org"


def register(server: Server, numbers: range) -> None:
    for number in numbers:
        body = {"username": f"user{number}", "email": address(number), "password": PASSWORD}
        answer = httpx.post(f"{server.url}/api/v2/auth/register", json=body, timeout=60)
        assert answer.status_code == 201, answer.text


@contextmanager
def instances(
    folder: Path, postgresql: PostgreSQL, inbox_port: int, command: Command
) -> Iterator[tuple[list[Server], str]]:
    """Two instances with data directories of their own, over one new database."""
    url = postgresql.new_database()
    settings = {
        "EVENTAPI_LOG": url,
        "EVENTAPI_SECRET_KEY": "a key that both of the instances have " * 2,
        "EVENTAPI_MAIL_URL": f"smtp://127.0.0.1:{inbox_port}",
    }
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Server(folder / name, 1, command, settings))
            for name in ("one", "two")
        ]
        yield servers, url.rpartition("/")[2]


def lease(postgresql: PostgreSQL, database: str) -> str:
    """The holder of the mail; it is a random text, new for each lease."""
    return postgresql.sql("SELECT holder FROM eventapi_followers WHERE name = 'mail'", database)


def repeats(recipients: list[str]) -> list[str]:
    """The mails that came again; the rest must be in order."""
    found, newest = [], -1
    for one in recipients:
        number = int(one.removeprefix("user").partition("@")[0])
        if number <= newest:
            found.append(one)
        else:
            assert number == newest + 1, f"{one} follows user{newest}: {recipients}"
            newest = number
    return found


class Hesitant(Inbox):
    """Accepts every mail, but answers to one only when the test says so."""

    def __init__(self, late: str) -> None:
        super().__init__()
        self.late = late
        self.reached = threading.Event()
        self.may_answer = threading.Event()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await super().handle_DATA(server, session, envelope)
        if self.late in envelope.rcpt_tos and not self.reached.is_set():
            self.reached.set()
            while not self.may_answer.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.05)
        return answer


@pytest.fixture
def hesitant() -> Iterator[MailServer]:
    smtp = MailServer(Hesitant(address(BEFORE[-1])), free_port())
    smtp.start()
    yield smtp
    smtp.stop()


def sent(server: Server) -> int:
    """The mails that an instance has sent."""
    metrics = httpx.get(f"{server.url}/metrics", timeout=60).text
    (line,) = (one for one in metrics.splitlines() if 'mails_total{outcome="sent"}' in one)
    return int(float(line.split()[-1]))


def lag(server: Server) -> int | None:
    """The events that the follower has not completed, as far as an instance knows."""
    found: Any = server.health()
    return None if found["mail"] is None else int(found["mail"]["lag"])


def take_over(
    folder: Path,
    postgresql: PostgreSQL,
    smtp: MailServer,
    command: Command = short_lease,
    seconds: float = HANG_SECONDS,
) -> float:
    """Stop the instance that sends a mail; return the seconds until the other one sends.

    The mail server has accepted that mail, so it comes again, and none else.
    """
    inbox = smtp.inbox
    assert isinstance(inbox, Hesitant)
    with instances(folder, postgresql, smtp.port, command) as (servers, database):
        register(servers[0], BEFORE)
        assert inbox.reached.wait(SECONDS)
        holder = lease(postgresql, database)
        stopped, other = sorted(servers, key=sent, reverse=True)
        os.kill(stopped.pid, signal.SIGSTOP)
        begun = time.monotonic()
        try:
            register(other, WHILE_STOPPED)
            wait_until(lambda: address(WHILE_STOPPED[-1]) in inbox.recipients, seconds)
            passed = time.monotonic() - begun
            assert lease(postgresql, database) != holder
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
            inbox.may_answer.set()
        register(stopped, AFTER)
        wait_until(lambda: address(AFTER[-1]) in inbox.recipients)
        wait_until(lambda: lag(stopped) == 0)
        assert repeats(inbox.recipients) == [inbox.late]
        assert sent(other) == 1 + len(WHILE_STOPPED) + len(AFTER)
    return passed


def test_the_mails_of_a_stopped_instance_are_sent_by_another_one(
    tmp_path: Path, postgresql: PostgreSQL, hesitant: MailServer
) -> None:
    take_over(tmp_path, postgresql, hesitant)
    assert len(set(hesitant.inbox.recipients)) == AFTER.stop


def test_control_a_lease_that_does_not_end_is_found(
    tmp_path: Path, postgresql: PostgreSQL, hesitant: MailServer
) -> None:
    planted = uvicorn_of(f"{PLANTED}:endless_lease")
    with pytest.raises(TimeoutError):
        take_over(tmp_path, postgresql, hesitant, planted, HANG_SECONDS / 3)


def test_control_a_lease_without_a_fence_is_found(
    tmp_path: Path, postgresql: PostgreSQL, hesitant: MailServer
) -> None:
    planted = uvicorn_of(f"{PLANTED}:unfenced_lease")
    with pytest.raises((AssertionError, TimeoutError)):
        take_over(tmp_path, postgresql, hesitant, planted)
