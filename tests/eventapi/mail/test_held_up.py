"""A single mail that fails, for any reason of its own, holds up the others only briefly."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from eventapi.followers.memory import MemoryFollowers
from eventapi.mail import follower
from eventapi.mail.follower import (
    INTERRUPTIONS,
    INTERRUPTIONS_IN_A_ROW,
    PATIENCE_SECONDS,
)
from eventapi.mail.texts import Templates
from eventapi.mail.transport import Confirm, Mail, MemoryTransport
from tests.eventapi.followers.following import until
from tests.eventapi.harness import JournalHarness
from tests.eventapi.mail.test_delayed import parked
from tests.eventapi.mail.test_follower import Clock, Faulty, mailing

FAILS_FOR_SHORT_NAMES = """Subject: hello

{{ link }}
{{ username.split(".")[1] if username != "<name>" }}
"""

pytestmark = pytest.mark.usefixtures("often_due")


class InterruptedOnce(Faulty):
    """A mail server that was restarted during the first mail."""

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        self.interrupted = set() if self.attempts else {1}
        await super().send(mail, confirm)


@pytest.fixture
def faulty_templates(tmp_path: Path) -> Templates:
    """Templates of an operator that fail for a name without a dot."""
    (tmp_path / "verification.txt").write_text(FAILS_FOR_SHORT_NAMES)
    return Templates(tmp_path)


async def test_a_mail_that_the_server_interrupts_is_parked_after_some_attempts(
    harness: JournalHarness,
) -> None:
    transport, store = Faulty(), MemoryFollowers()
    transport.interrupted = {1}
    for name in ("ann", "bob", "cat"):
        await harness.register(name)
    async with mailing(harness, transport, store=store):
        await until(lambda: transport.users == [2, 3])
        assert parked(store) == [(1, "verification")]
        assert transport.tried[: INTERRUPTIONS + 1] == [1] * INTERRUPTIONS + [2]
        transport.interrupted = set()
        await until(lambda: transport.users == [2, 3, 1] and not parked(store))


async def test_a_server_that_interrupts_every_mail_parks_the_second_one_much_later(
    harness: JournalHarness,
) -> None:
    transport, store = Faulty(), MemoryFollowers()
    transport.interrupted = {1, 2}
    for name in ("ann", "bob"):
        await harness.register(name)
    async with mailing(harness, transport, store=store):
        await until(lambda: len(parked(store)) == 2)
        seconds = [2] * INTERRUPTIONS_IN_A_ROW
        assert transport.tried[: INTERRUPTIONS + len(seconds)] == [1] * INTERRUPTIONS + seconds
        transport.interrupted = {4}
        for name in ("cat", "don", "eve"):
            await harness.register(name)
        await until(lambda: 5 in transport.users)
        assert 3 in transport.users
        # A mail got through just before the fourth one.
        assert transport.tried[: transport.tried.index(5)].count(4) < INTERRUPTIONS_IN_A_ROW


async def test_control_with_endless_patience_it_holds_up_all_mail(
    harness: JournalHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "INTERRUPTIONS", 1_000_000)
    transport = Faulty()
    transport.interrupted = {1}
    async with mailing(harness, transport):
        await harness.register("ann")
        await harness.register("bob")
        await until(lambda: len(transport.tried) > 3 * INTERRUPTIONS)
    assert set(transport.tried) == {1}


async def test_an_interruption_that_passes_delays_no_mail_and_keeps_the_order(
    harness: JournalHarness,
) -> None:
    transport, store = InterruptedOnce(), MemoryFollowers()
    await harness.register("ann")
    await harness.register("bob")
    async with mailing(harness, transport, store=store):
        await until(lambda: transport.users == [1, 2])
        assert not parked(store)


async def test_a_parked_mail_that_is_always_interrupted_is_given_up_and_holds_up_no_parked_one(
    harness: JournalHarness,
) -> None:
    transport, store, clock = Faulty(), MemoryFollowers(), Clock()
    transport.interrupted, transport.delayed = {1}, {2}
    await harness.register("ann")
    await harness.register("bob")
    async with mailing(harness, transport, clock, store) as running:
        await until(lambda: len(parked(store)) == 2)
        transport.delayed = set()
        await until(lambda: transport.users == [2])
        clock.now += PATIENCE_SECONDS + 3_600
        await until(lambda: not parked(store))
        assert "dropped" in running.counted
    assert transport.users == [2]


async def test_a_template_that_fails_for_one_user_parks_the_mail_of_that_user(
    harness: JournalHarness, faulty_templates: Templates, caplog: pytest.LogCaptureFixture
) -> None:
    transport, store = MemoryTransport(), MemoryFollowers()
    async with mailing(harness, transport, store=store, templates=faulty_templates) as running:
        await harness.register("ann")
        await harness.register("bob.jones")
        await until(lambda: [mail.user for mail in transport.mails] == [2])
        assert parked(store) == [(1, "verification")]
        assert "failed" in running.counted
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert "users/1" in errors[0]
    assert "UndefinedError in verification.txt, line 4" in errors[0]
    assert not any(record.exc_info for record in caplog.records)
    assert "ann" not in caplog.text.replace("cannot", "")
    async with mailing(harness, transport, store=store):  # After the template was corrected.
        await until(lambda: [mail.user for mail in transport.mails] == [2, 1])
