"""The account service over a log in files, as one process has it, for many guesses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import cast

import pytest

from eventapi.accounts.service import Accounts, Operator
from eventapi.commands.sessions import Lifetime
from eventapi.failed_logins.counter import FailedLoginCounter
from eventapi.failed_logins.file import FileFailedLogins
from eventapi.failed_logins.recorder import record_due
from eventapi.followers.file import FileFollowers
from eventapi.security.passwords import Passwords
from eventapi.security.signed_texts import SignedTexts
from eventapi.security.tokens import Tokens
from events.errors import InvalidCredentials
from events.vocabulary.sessions import Device
from tests.eventapi.harness import JournalHarness, Storage, open_harness
from tests.eventapi.http.client import SECRET


class Guesser(Operator):
    """A client of the account service at an address, whose guesses nothing limits."""

    def __init__(self, harness: JournalHarness, address: str) -> None:
        super().__init__(harness.journal)
        self.address = address

    def queue(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def check_guesses(self, subject: str, *, whole_account: bool = False) -> None:
        """Allow every guess."""

    async def count_guess(self, subject: str, *, whole_account: bool = False) -> None:
        """Count nothing."""

    async def clear_guesses(self, subject: str) -> None:
        """Do nothing."""


class WrongPasswords:
    """Refuses every password at once, because argon2 would take most of an hour."""

    async def verify(self, *_: object) -> None:
        return None


class Target:
    """The account service over a log in files, and its failed logins."""

    def __init__(self, harness: JournalHarness, directory: Path) -> None:
        self.harness = harness
        self.file = FileFollowers(directory / "followers.sqlite")
        self.store = FileFailedLogins(self.file)
        runtime = harness.journal._runtime
        self.counter = FailedLoginCounter(harness.journal, self.store, SECRET, runtime.random_bytes)
        self.accounts = Accounts(
            harness.journal,
            cast("Passwords", WrongPasswords()),
            Tokens([SECRET], 60),
            runtime,
            Lifetime(60, 60),
            SignedTexts([SECRET]),
            self.counter,
        )

    async def guess(self, address: str, name: str) -> None:
        device = Device(address, "a browser")
        with pytest.raises(InvalidCredentials):
            await self.accounts.log_in(Guesser(self.harness, address), name, "wrong", device)

    async def record(self) -> None:
        await self.counter.store()
        while await record_due(self.harness.journal, self.store):
            pass


@asynccontextmanager
async def open_target(directory: Path, clock: list[str]) -> AsyncIterator[Target]:
    storage = Storage("jsonl", directory)
    async with open_harness(storage, now=lambda: clock[0]) as harness:
        target = Target(harness, directory)
        async with target.counter.run():
            yield target
        await target.file.close()
