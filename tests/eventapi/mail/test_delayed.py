"""Mails that only their recipient's server delays: greylisting, a full mailbox."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from eventapi.commands.mailed_links import (
    RequestEmailVerification,
    RequestPasswordReset,
    ResetPassword,
)
from eventapi.commands.users import DisableUser, EraseUser, UpdateProfile
from eventapi.followers.file import FileFollowers
from eventapi.followers.memory import MemoryFollowers
from eventapi.mail.follower import PATIENCE_SECONDS, MailFollower
from eventapi.mail.letters import Letter
from eventapi.mail.smtp import MailServer as Address
from eventapi.mail.smtp import SmtpTransport
from events.errors import NotDelivered
from events.record import Record
from tests.end_to_end.server import free_port
from tests.eventapi.followers.following import until
from tests.eventapi.harness import JournalHarness
from tests.eventapi.mail.mailserver import Inbox, MailServer
from tests.eventapi.mail.test_follower import Clock, Faulty, mailing

pytestmark = pytest.mark.usefixtures("often_due")


def parked(store: MemoryFollowers) -> list[tuple[int, str]]:
    return sorted(store._parked.get("mail", {}))


async def test_a_delayed_recipient_holds_up_no_other_mail(harness: JournalHarness) -> None:
    transport, store = Faulty(), MemoryFollowers()
    transport.delayed = {1}
    async with mailing(harness, transport, store=store) as running:
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        await until(lambda: transport.users == [2, 3] and transport.tried.count(1) > 2)
        assert parked(store) == [(1, "verification")]
        assert set(running.counted) == {"sent", "failed"}
        transport.delayed = set()
        await until(lambda: transport.users == [2, 3, 1] and not parked(store))


async def test_control_without_parking_a_delayed_recipient_holds_up_all_mail(
    harness: JournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = MailFollower._send

    async def wait(follower: MailFollower, letter: Letter, record: Record) -> str:
        reason = await send(follower, letter, record)
        if reason:
            raise NotDelivered(reason)
        return reason

    monkeypatch.setattr(MailFollower, "_send", wait)
    transport = Faulty()
    transport.delayed = {1}
    async with mailing(harness, transport):
        await harness.register("ann")
        await harness.register("bob")
        await until(lambda: transport.tried.count(1) > 5)
    assert transport.mails == []


async def test_while_the_whole_mail_server_is_down_mails_wait_in_order(
    harness: JournalHarness,
) -> None:
    transport, store = Faulty(), MemoryFollowers()
    transport.error = NotDelivered("it does not answer")
    async with mailing(harness, transport, store=store):
        for name in ("ann", "bob", "cat"):
            await harness.register(name)
        await until(lambda: transport.attempts > 3)
        assert set(transport.tried) == {1}
        assert not parked(store)
        transport.error = None
        await until(lambda: transport.users == [1, 2, 3])


async def test_a_delayed_mail_survives_that_the_whole_mail_server_is_down(
    harness: JournalHarness,
) -> None:
    transport, store, clock = Faulty(), MemoryFollowers(), Clock()
    transport.delayed = {1}
    async with mailing(harness, transport, clock, store):
        await harness.register("ann")
        await until(lambda: parked(store) == [(1, "verification")])
        transport.error = NotDelivered("it does not answer")
        before = transport.attempts
        await until(lambda: transport.attempts > before + 2)
        clock.now += 86_400
        transport.error, transport.delayed = None, set()
        await until(lambda: transport.users == [1] and not parked(store))


async def test_a_delayed_mail_survives_a_restart_and_nothing_personal_is_stored(
    harness: JournalHarness, tmp_path: Path
) -> None:
    transport, path = Faulty(), tmp_path / "followers.sqlite"
    transport.delayed = {1}
    await harness.register("ann")
    async with mailing(harness, transport, store=FileFollowers(path)):
        await until(lambda: transport.attempts > 1)
    with closing(connect(path)) as database:
        ((name, position, part, _, _, _),) = database.execute("SELECT * FROM parked").fetchall()
    assert (name, position, part) == ("mail", 1, "verification")
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("followers*"))
    for value in (b"ann", b"example.org", b"token"):
        assert value not in stored
    transport.delayed = set()
    store = FileFollowers(path)
    async with mailing(harness, transport, store=store):
        await until(lambda: transport.users == [1])


async def test_a_delayed_mail_is_given_up_after_some_days(harness: JournalHarness) -> None:
    transport, store, clock = Faulty(), MemoryFollowers(), Clock()
    transport.delayed = {1}
    await harness.register("ann")
    await harness.journal.execute(UpdateProfile(1, email="new@example.org"))
    async with mailing(harness, transport, clock, store) as running:
        # The notice to the old address is never void.
        await until(lambda: (2, "email-changed") in parked(store))
        clock.now += PATIENCE_SECONDS - 3_600
        before = transport.tried.count(2)
        await until(lambda: transport.tried.count(2) > before + 2)
        assert "dropped" not in running.counted
        clock.now += 7_200
        await until(lambda: not parked(store))
        assert running.counted.count("dropped") == 3
    assert transport.mails == []


@pytest.mark.parametrize("command", [EraseUser, DisableUser])
async def test_the_delayed_mails_of_erased_and_disabled_users_are_withdrawn(
    harness: JournalHarness, command: type[EraseUser | DisableUser]
) -> None:
    transport, store = Faulty(), MemoryFollowers()
    transport.delayed = {1}
    async with mailing(harness, transport, store=store) as running:
        await harness.register("ann")
        await until(lambda: parked(store) == [(1, "verification")])
        await harness.journal.execute(command("ann", "operator/test"))
        await until(lambda: not parked(store))
        before = transport.attempts
        transport.delayed = set()
        await harness.register("bob")
        await until(lambda: transport.users == [2])
        assert transport.attempts == before + 1
        assert "dropped" not in running.counted


async def test_a_link_that_expired_meanwhile_is_not_sent(harness: JournalHarness) -> None:
    transport, store, clock = Faulty(), MemoryFollowers(), Clock()
    await harness.register("ann")
    async with mailing(harness, transport, clock, store):
        await delay_a_reset(harness, transport, store)
        clock.now += 3_700
        await until(lambda: not parked(store))
    assert [mail.position for mail in transport.mails] == [1]


@pytest.mark.parametrize("kind", ["password-reset", "verification"])
async def test_an_older_link_does_not_follow_a_newer_one(
    harness: JournalHarness, kind: str
) -> None:
    """The mail that comes last would have the link that expires first."""
    transport, store = Faulty(), MemoryFollowers()
    request = RequestPasswordReset if kind == "password-reset" else RequestEmailVerification
    await harness.register("ann")
    async with mailing(harness, transport, store=store):
        await until(lambda: transport.users == [1])
        transport.delayed = {1}
        await harness.journal.execute(request(1))
        await until(lambda: parked(store) == [(2, kind)])
        await harness.journal.execute(request(1))
        await until(lambda: parked(store) == [(3, kind)])
        transport.delayed = set()
        await until(lambda: not parked(store))
    assert [mail.position for mail in transport.mails] == [1, 3]


async def delay_a_reset(harness: JournalHarness, transport: Faulty, store: MemoryFollowers) -> None:
    """Park the mail of user 1 about a new password, after the one of the registration went out."""
    await until(lambda: transport.users == [1])
    transport.delayed = {1}
    await harness.journal.execute(RequestPasswordReset(1))
    await until(lambda: parked(store) == [(2, "password-reset")])


async def test_control_without_the_rule_the_older_link_comes_last(
    harness: JournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> bool:
        return False

    monkeypatch.setattr(MailFollower, "_is_superseded", never)
    transport, store = Faulty(), MemoryFollowers()
    await harness.register("ann")
    async with mailing(harness, transport, store=store):
        await delay_a_reset(harness, transport, store)
        await harness.journal.execute(RequestPasswordReset(1))
        await until(lambda: len(parked(store)) == 2)
        transport.delayed = set()
        await until(lambda: not parked(store))
    assert sorted(mail.position for mail in transport.mails) == [1, 2, 3]


async def test_a_link_that_goes_to_another_address_supersedes_none(
    harness: JournalHarness,
) -> None:
    """The old address still counts, and both can be verified."""
    transport, store = Faulty(), MemoryFollowers()
    transport.delayed = {1}
    await harness.register("ann")
    await harness.journal.execute(UpdateProfile(1, email="new@example.org"))
    waiting = [(1, "verification"), (2, "email-changed"), (2, "verification")]
    async with mailing(harness, transport, store=store):
        await until(lambda: parked(store) == waiting)
        await until(lambda: transport.tried.count(1) > 2)
        assert parked(store) == waiting
        transport.delayed = set()
        await until(lambda: not parked(store))
    assert sorted((mail.position, mail.kind) for mail in transport.mails) == waiting


async def test_a_delayed_link_is_void_after_a_newer_one_was_used(harness: JournalHarness) -> None:
    transport, store = Faulty(), MemoryFollowers()
    await harness.register("ann")
    async with mailing(harness, transport, store=store):
        await delay_a_reset(harness, transport, store)
        await harness.journal.execute(RequestPasswordReset(1, delivery="link"))
        await harness.journal.execute(ResetPassword(1, 3, None, "a hash"))
        transport.delayed = set()
        await until(lambda: not parked(store))
    assert [mail.position for mail in transport.mails] == [1]


class Greylist(Inbox):
    """A mail server that delays the first attempts to each recipient."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self._attempts = attempts

    async def handle_RCPT(  # noqa: N802 - named by aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("ann") and self.tried.count(address) < self._attempts:
            self.tried.append(address)
            return f"450 4.2.0 <{address}> greylisted"
        return await super().handle_RCPT(server, session, envelope, address, options)


async def test_a_real_mail_server_that_greylists_gets_every_mail(harness: JournalHarness) -> None:
    inbox, port = Greylist(3), free_port()
    server = MailServer(inbox, port)
    await asyncio.to_thread(server.start)
    try:
        transport = SmtpTransport(Address.parse(f"smtp://127.0.0.1:{port}"))
        async with mailing(harness, transport):
            for name in ("ann", "bob", "cat"):
                await harness.register(name)
            await until(lambda: len(inbox.recipients) == 3)
    finally:
        await asyncio.to_thread(server.stop)
    assert inbox.recipients == [f"{name}@example.org" for name in ("bob", "cat", "ann")]
