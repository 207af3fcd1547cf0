"""The follower of mail: which mails go out, are dropped, or are withdrawn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from eventapi.commands.users import DisableUser, EraseUser, UpdateProfile
from eventapi.followers.memory import MemoryFollowers
from eventapi.followers.port import FollowerStore
from eventapi.followers.runner import Runner
from eventapi.mail.follower import MailFollower, Outcome
from eventapi.mail.outbox import Outbox
from eventapi.mail.texts import Templates
from eventapi.mail.transport import (
    Confirm,
    Mail,
    MailInterrupted,
    MailRefused,
    MemoryTransport,
    RecipientUnavailable,
    Transport,
)
from eventapi.queries.subscriptions import LogWatcher
from eventapi.security.signed_texts import SignedTexts
from eventapi.testing.given import at
from eventapi.values.times import seconds_of
from events.errors import NotDelivered
from events.io.tasks import cancel_and_wait
from tests.eventapi.followers.following import QUICK, until
from tests.eventapi.harness import JournalHarness
from tests.eventapi.mail.writing import composer, confirmed


class Clock:
    """The log's time in seconds, which a test sets."""

    def __init__(self) -> None:
        self.now = seconds_of(at(60))

    def __call__(self) -> float:
        return self.now


class Faulty(MemoryTransport):
    """A transport that raises an error for each mail until a test removes it.

    ``delayed`` are the users whose mail server delays every mail, and at the mails of those in
    ``interrupted`` the mail server stalls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.delayed: set[int] = set()
        self.interrupted: set[int] = set()
        self.attempts = 0
        self.tried: list[int] = []

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        self.attempts += 1
        self.tried.append(mail.position)
        if self.error is not None:
            raise self.error
        if mail.user in self.delayed:
            raise RecipientUnavailable("the mail server answered 450 to the recipient")
        if mail.user in self.interrupted:
            raise MailInterrupted("the mail server did not answer in time")
        await super().send(mail, confirm)

    @property
    def users(self) -> list[int]:
        return [mail.user for mail in self.mails]


class Mailing:
    """A running follower of mail."""

    def __init__(
        self,
        harness: JournalHarness,
        transport: Transport,
        clock: Clock,
        store: FollowerStore | None = None,
        templates: Templates | None = None,
    ) -> None:
        self.counted: list[Outcome] = []
        self.watcher = LogWatcher(harness.log)
        self.follower = MailFollower(
            composer(templates=templates),
            transport,
            SignedTexts(["a secret key for tests: 0123456789abcdef"]),
            harness.journal.history,
            state=harness.journal.state,
            now=clock,
            count=self.counted.append,
        )
        runner = Runner(
            self.follower,
            store or MemoryFollowers(),
            harness.journal,
            self.watcher,
            backoff=QUICK,
            parked_backoff=QUICK,
        )
        self._task = asyncio.create_task(runner.run())

    async def stop(self) -> None:
        self.watcher.close()
        await asyncio.wait([self._task], timeout=30)
        await cancel_and_wait(self._task)


@asynccontextmanager
async def mailing(
    harness: JournalHarness,
    transport: Transport,
    clock: Clock | None = None,
    store: FollowerStore | None = None,
    templates: Templates | None = None,
) -> AsyncIterator[Mailing]:
    running = Mailing(harness, transport, clock or Clock(), store, templates)
    try:
        yield running
    finally:
        await running.stop()
        if store is not None:
            await store.close()


async def test_every_new_user_gets_a_mail_in_order(harness: JournalHarness) -> None:
    transport = Faulty()
    await harness.register("ann")
    async with mailing(harness, transport) as running:
        await harness.register("bob")
        await harness.create(1)
        await until(lambda: transport.users == [1, 2])
        await until(lambda: running.counted == ["sent", "sent"])
    assert [mail.position for mail in transport.mails] == [1, 2]


async def test_a_new_follower_sends_the_mails_of_the_last_24_hours(
    harness: JournalHarness,
) -> None:
    transport, clock = Faulty(), Clock()
    for name in ("ann", "bob", "cat"):
        await harness.register(name)  # At seconds 1, 2 and 3.
    clock.now = seconds_of(at(2)) + 24 * 3_600
    async with mailing(harness, transport, clock):
        await harness.register("dan")
        await until(lambda: transport.users == [3, 4])


async def test_after_an_outage_all_mails_go_out_but_those_of_erased_and_disabled_users(
    harness: JournalHarness,
) -> None:
    transport = Faulty()
    transport.error = NotDelivered("it does not answer")
    async with mailing(harness, transport):
        for name in ("ann", "bob", "cat", "dan", "eve"):
            await harness.register(name)
        await until(lambda: transport.attempts > 1)
        await harness.journal.execute(EraseUser("bob", "users/2"))
        await harness.journal.execute(DisableUser("dan", "operator/test"))
        transport.error = None
        await until(lambda: transport.users == [1, 3, 5])


async def test_a_refused_mail_is_dropped_and_the_next_one_sent(
    harness: JournalHarness, caplog: pytest.LogCaptureFixture
) -> None:
    transport = Faulty()
    transport.error = MailRefused("the mail server answered 550 to the recipient")
    async with mailing(harness, transport) as running:
        await harness.register("ann")
        await until(lambda: running.counted == ["dropped"])
        transport.error = None
        await harness.register("bob")
        await until(lambda: transport.users == [2])
    (line,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "users/1" in line.getMessage()
    assert "550" in line.getMessage()
    assert "ann" not in line.getMessage()


class Slow(MemoryTransport):
    """A transport that takes until a test opens its gate; then it confirms a mail, or does not."""

    def __init__(self, *, confirms: bool = True) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.begun: list[str] = []
        self._confirms = confirms

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        self.begun.append(mail.kind)
        await self.gate.wait()
        await super().send(mail, confirm if self._confirms else confirmed)

    async def withdraw(self, mail: Mail) -> None:
        """A mail server cannot recall a mail."""


@pytest.mark.parametrize("command", [EraseUser, DisableUser])
async def test_a_slow_mail_does_not_go_out_after_the_erasure_and_none_begins(
    harness: JournalHarness, command: type[EraseUser | DisableUser]
) -> None:
    """A change of the address has two mails, and the erasure comes during the first one."""
    transport = Slow()
    transport.gate.set()
    async with mailing(harness, transport) as running:
        await harness.register("ann")
        await until(lambda: len(transport.mails) == 1)
        transport.gate.clear()
        await harness.journal.execute(UpdateProfile(1, email="new@example.org"))
        await until(lambda: transport.begun == ["verification", "verification"])
        await harness.journal.execute(command("ann", "operator/test"))
        transport.gate.set()
        await harness.register("bob")
        await until(lambda: transport.mails[-1].user == 2)
    assert transport.begun == ["verification", "verification", "verification"]
    assert [mail.user for mail in transport.mails] == [1, 2]
    assert running.counted == ["sent", "sent"]


async def test_control_a_transport_that_does_not_confirm_sends_the_first_of_them(
    harness: JournalHarness,
) -> None:
    transport = Slow(confirms=False)
    async with mailing(harness, transport):
        await harness.register("ann")
        await until(lambda: transport.begun == ["verification"])
        await harness.journal.execute(EraseUser("ann", "users/1"))
        transport.gate.set()
        await until(lambda: [mail.user for mail in transport.mails] == [1])


class ErasedMeanwhile(Outbox):
    """An outbox in which the user is erased while a mail is written.

    The erasure finds no file yet, because its search is over before the file is there.
    """

    def __init__(self, directory: Path, harness: JournalHarness) -> None:
        super().__init__(directory)
        self._harness = harness
        self.is_written = False

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        await confirm()
        await self._harness.journal.execute(EraseUser("ann", "users/1"))
        await super().send(mail, confirmed)
        self.is_written = True


async def test_a_mail_written_during_the_erasure_is_removed(
    harness: JournalHarness, tmp_path: Path
) -> None:
    transport = ErasedMeanwhile(tmp_path / "outbox", harness)
    async with mailing(harness, transport):
        await harness.register("ann")
        await until(lambda: transport.is_written)
        await until(lambda: not list((tmp_path / "outbox").iterdir()))


async def test_control_without_the_second_check_that_mail_stays(
    harness: JournalHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def careless(_: MailFollower, __: Mail) -> None:
        pass

    monkeypatch.setattr(MailFollower, "_withdraw_if_erased", careless)
    transport = ErasedMeanwhile(tmp_path / "outbox", harness)
    async with mailing(harness, transport) as running:
        await harness.register("ann")
        await until(lambda: running.counted == ["sent"])
    assert len(list((tmp_path / "outbox").iterdir())) == 1


async def test_a_second_mail_that_fails_does_not_repeat_the_first(
    harness: JournalHarness,
) -> None:
    """A change of address has two mails."""
    transport = Faulty()
    async with mailing(harness, transport) as running:
        await harness.register("ann")
        await until(lambda: transport.users == [1])
        assert running.follower._sent == set()
