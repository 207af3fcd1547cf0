"""Mail of real servers: outages, killed workers, one sender, and erased users."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.end_to_end.mails import holders, outbox
from tests.end_to_end.server import ROOT, Server, by_serve, free_port
from tests.end_to_end.waiting import wait_until
from tests.eventapi.mail.mailserver import Inbox, MailServer, mail_server

PASSWORD = "correct horse battery staple"


def address(name: str) -> str:
    return f"{name}@canary-mail.example"


def ask(server: Server, method: str, path: str, body: object, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(  # noqa: S310 - of this machine
        server.url + path, json.dumps(body).encode(), headers, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        content = answer.read()
    return json.loads(content) if content else None


def register(server: Server, *names: str) -> None:
    for name in names:
        body = {"username": name, "email": address(name), "password": PASSWORD}
        ask(server, "POST", "/api/v2/auth/register", body)


def erase(server: Server, name: str) -> None:
    login = ask(server, "POST", "/api/v2/auth/login", {"username": name, "password": PASSWORD})
    ask(server, "DELETE", "/api/v2/auth/me", {"password": PASSWORD}, login["access_token"])


def mail_health(server: Server) -> dict[str, Any]:
    found: Any = server.health()
    return found["mail"] or {}


def fails_behind(server: Server, events: int) -> bool:
    """Whether mail fails, so many events behind; a worker that has just started does not know."""
    mail = mail_health(server)
    return bool(mail.get("failing_since")) and mail["lag"] >= events


def test_after_an_outage_all_mails_go_out_except_those_of_erased_users(tmp_path: Path) -> None:
    port = free_port()
    settings = {"EVENTAPI_MAIL_URL": f"smtp://127.0.0.1:{port}", "EVENTAPI_LOG_LEVEL": "info"}
    names = [f"user{number}" for number in range(12)]
    with Server(tmp_path / "data", 2, by_serve, settings) as server:
        # No request waits for mail: all of them are answered while no mail can be sent.
        register(server, *names)
        wait_until(lambda: fails_behind(server, 12))
        erase(server, "user3")
        erase(server, "user7")
        with urllib.request.urlopen(server.url + "/health/ready", timeout=30) as answer:  # noqa: S310
            assert answer.status == 200
        with mail_server(port) as inbox:
            wait_until(lambda: len(inbox.recipients) == 10 and mail_health(server).get("lag") == 0)
        metrics = urllib.request.urlopen(server.url + "/metrics", timeout=30).read().decode()  # noqa: S310
        # The other worker knows the state as of some seconds ago.
        wait_until(lambda: mail_health(server).get("failing_since", "not known") is None)
    assert inbox.recipients == [address(one) for one in names if one not in {"user3", "user7"}]
    assert 'eventapi_mails_total{outcome="sent"} 10.0' in metrics
    assert 'eventapi_mails_total{outcome="dropped"} 0.0' in metrics
    assert "canary-mail" not in server.output
    assert f"mail goes to the mail server smtp://127.0.0.1:{port}" in server.output
    assert server.output.count("mail goes to") == 1


class Hesitant(Inbox):
    """Accepts mails, but the answer to one comes late, as after a lost packet."""

    def __init__(self, late: str) -> None:
        super().__init__()
        self.late = late
        self.reached = threading.Event()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await super().handle_DATA(server, session, envelope)
        if self.late in envelope.rcpt_tos and not self.reached.is_set():
            self.reached.set()
            await asyncio.sleep(3_600)
        return answer


def test_a_killed_sender_loses_no_mail(tmp_path: Path) -> None:
    """It dies after the mail server has accepted a mail, before it stores that."""
    port = free_port()
    inbox = Hesitant(address("user1"))
    smtp = MailServer(inbox, port)
    smtp.start()
    names = [f"user{number}" for number in range(4)]
    try:
        settings = {"EVENTAPI_MAIL_URL": f"smtp://127.0.0.1:{port}"}
        with Server(tmp_path / "data", 2, by_serve, settings) as server:
            register(server, *names)
            assert inbox.reached.wait(60)
            (holder,) = holders(server)
            os.kill(holder, signal.SIGKILL)
            wait_until(lambda: len(inbox.recipients) == 5)
            wait_until(lambda: len(holders(server)) == 1)
            assert holder not in holders(server)
    finally:
        smtp.stop()
    counted = Counter(inbox.recipients)
    assert counted == {
        address("user0"): 1,
        address("user1"): 2,
        **{address(one): 1 for one in names[2:]},
    }
    first = [one["Message-ID"] for one in inbox.mails if one["To"] == address("user1")]
    assert len(set(first)) == 1


def test_of_many_workers_one_sends_and_another_one_continues(tmp_path: Path) -> None:
    with Server(tmp_path / "data", 3, by_serve) as server:
        wait_until(lambda: len(holders(server)) == 1)
        sent = []
        for number in range(3):
            register(server, f"user{number}")
            sent.append(address(f"user{number}"))
            wait_until(lambda: len(outbox(server)) == len(sent))
            assert len(holders(server)) == 1
            os.kill(holders(server)[0], signal.SIGKILL)
        wait_until(lambda: len(holders(server)) == 1)
    assert [name.partition("-")[0] for name in sorted(outbox(server))] == [
        "000000000001",
        "000000000002",
        "000000000003",
    ]


def places_of(text: str, server: Server) -> list[str]:
    """The files of the data directory that contain a text."""
    return [
        path.name
        for path in server.data.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def command(server: Server, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "eventapi", "--data", str(server.data), *arguments],
        cwd=server.data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("by", ["http", "command", "command with other settings"])
def test_an_erasure_removes_the_mails_of_the_user(tmp_path: Path, by: str) -> None:
    settings = {"EVENTAPI_LOG_LEVEL": "debug"}
    elsewhere = tmp_path / "data" / "mails"
    if by == "command with other settings":
        settings["EVENTAPI_MAIL_URL"] = str(elsewhere)
    with Server(tmp_path / "data", 2, by_serve, settings) as server:
        register(server, "canaryone", "canarytwo")
        wait_until(lambda: len(places_of("canarytwo@", server)) == 1)
        # The control: before the erasure the search finds it.
        assert len(places_of("canaryone@", server)) == 1
        if by == "http":
            erase(server, "canaryone")
        else:
            command(server, "users", "erase", "canaryone", "--yes")
        if by == "command with other settings":
            wait_until(lambda: not places_of("canaryone", server))
        assert places_of("canaryone", server) == []
        assert len(places_of("canarytwo@", server)) == 1
        assert "canary" not in server.output


@pytest.mark.parametrize("by", ["start", "command"])
def test_a_removal_that_a_crash_prevented_is_completed(tmp_path: Path, by: str) -> None:
    server = Server(tmp_path / "data", 1, by_serve)
    with server:
        register(server, "canaryone")
        wait_until(lambda: len(outbox(server)) == 1)
        mails = outbox(server)
        erase(server, "canaryone")
        assert not outbox(server)
    for name, content in mails.items():
        (server.data / "outbox" / name).write_bytes(content)
        (server.data / "outbox" / f"{name}.0a1b2c3d.tmp").write_bytes(content)
    if by == "command":
        command(server, "users", "erase", "--finish")
    else:
        with server:
            pass
    assert places_of("canaryone", server) == []
