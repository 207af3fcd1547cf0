"""The journal where there is no room: what takes rights away is written, the rest is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from eventapi.commands.command import Command
from eventapi.commands.mailed_links import WithdrawPendingEmail
from eventapi.commands.second_factors import RemoveTotp, StartTotp
from eventapi.commands.sessions import (
    EndSession,
    ExpireSession,
    Lifetime,
    RefreshSession,
    StartSession,
)
from eventapi.commands.users import (
    ChangePassword,
    DisableUser,
    EnableUser,
    EraseUser,
    GrantRole,
    RegisterUser,
    RehashPassword,
    RevokeRole,
    UpdateProfile,
)
from eventapi.journal.batch import CommandResult, IdempotencyKey
from eventapi.journal.origin import NO_ORIGIN
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item, delete_item, restore_item, update_item
from events.errors import NotFound, StorageFull, Unauthenticated
from events.log.memory import MemoryLog
from events.log.port import EventLog, Head
from events.vault.memory import MemoryVault
from events.vault.port import Vault
from events.vocabulary.sessions import Device
from tests.eventapi.harness import JournalHarness, Storage, open_harness

ROOT = "operator/root"
KEY = IdempotencyKey("a" * 64, b"r" * 32)


class SmallLog(MemoryLog):
    """A log that can be full, and has a reserve."""

    is_full = False
    has_reserve = True

    async def release_reserve(self) -> bool:
        released, self.has_reserve = self.has_reserve, False
        return released

    async def append(self, lines: Sequence[bytes], head: Head, *, revokes: bool = False) -> None:
        if self.is_full and not revokes:
            raise StorageFull("no room")
        await super().append(lines, head, revokes=revokes)


class SmallVault(MemoryVault):
    """A vault on the disk of a log."""

    def __init__(self, log: SmallLog) -> None:
        super().__init__()
        self._log = log

    async def destroy(self, subjects: Collection[str]) -> None:
        if subjects and self._log.is_full and self._log.has_reserve:
            raise StorageFull("no room for the vault")
        await super().destroy(subjects)


class SmallStorage(Storage):
    """A log and a vault on a disk that can be full."""

    def __init__(self) -> None:
        self.log = SmallLog()
        self.vault = SmallVault(self.log)

    def open(self) -> tuple[EventLog, Vault]:
        return self.log, self.vault


LONG = Lifetime(9_000, 9_000)


def start(user: int, session: str, lifetime: Lifetime = LONG) -> Command:
    name = ("", "ann", "bob")[user]
    return StartSession(user, f"hash of {name}", session, f"of {session}", lifetime, Device())


BEFORE: list[Command] = [
    RegisterUser(profile("ann")),
    RegisterUser(profile("bob")),
    *(start(1, f"a{number}") for number in range(3)),
    start(1, "a3", Lifetime(0, 0)),
    start(2, "b1"),
    GrantRole("ann", "auditor", ROOT),
    create_item(1, Content("an item")),
    RefreshSession("a2", 0, "next", LONG),
    RefreshSession("a2", 1, "after", LONG),
    StartTotp(1, "SECRET"),
    UpdateProfile(1, email="pending@example.org"),
]

REVOKING: dict[str, Command] = {
    "logout": EndSession(1, "a1", "logout"),
    "end a session": EndSession(1, "a1", "revoked"),
    "end all sessions": EndSession(1, "a1", "revoked", everywhere=True),
    "expire a session": ExpireSession("a3"),
    "a spent refresh token": RefreshSession("a2", 0, "x", LONG),
    "change the password": ChangePassword(1, "hash of ann", "another", "a1"),
    "disable": DisableUser("ann", ROOT),
    "revoke a role": RevokeRole("ann", "auditor", ROOT),
    "remove the second factor": RemoveTotp("ann", ROOT),
    "withdraw a pending address": WithdrawPendingEmail(1),
    "erase": EraseUser("ann", ROOT),
}
OTHERS: dict[str, Command] = {
    "register": RegisterUser(profile("eve")),
    "log in": start(1, "a9"),
    "refresh": RefreshSession("a1", 0, "next", LONG),
    "update the profile": UpdateProfile(1, full_name="Ann"),
    "rehash the password": RehashPassword(1, "hash of ann", "another"),
    "enable": EnableUser("ann", ROOT),
    "grant a role": GrantRole("ann", "operator", ROOT),
    "create an item": create_item(1, Content("a title")),
    "update an item": update_item(1, 1, "a title"),
    "restore an item": restore_item(1, 1, 1, Content("a title")),
    "delete an item": delete_item(1, 1),
}


@asynccontextmanager
async def full() -> AsyncIterator[JournalHarness]:
    """A journal over a full disk."""
    storage = SmallStorage()
    async with open_harness(storage) as harness:
        await harness.journal.execute_all(BEFORE[:2])
        for command in BEFORE[2:]:
            await harness.journal.execute(command)
        storage.log.is_full = True
        yield harness
    async with open_harness(storage) as again:
        assert await again.sums() == await harness.sums()


@pytest.mark.parametrize("name", REVOKING)
async def test_full_disk_accepts_commands_that_take_rights_away(name: str) -> None:
    async with full() as harness:
        outcome = await harness.journal.execute(REVOKING[name])
        assert outcome.record.position == len(BEFORE) + 1


@pytest.mark.parametrize("name", OTHERS)
async def test_full_disk_refuses_other_commands(name: str) -> None:
    async with full() as harness:
        with pytest.raises(StorageFull):
            await harness.journal.execute(OTHERS[name])
        assert (await harness.state()).position == len(BEFORE)


async def test_full_disk_writes_only_commands_of_a_batch_that_take_rights_away() -> None:
    """And of commands that stand or fall together all or none."""
    async with full() as harness:
        wishes: list[list[Command]] = [
            [OTHERS["create an item"]],
            [REVOKING["logout"]],
            [REVOKING["disable"], OTHERS["register"]],
            [delete_item(1, 99)],
            [DisableUser("bob", ROOT), EndSession(1, "a3", "revoked")],
        ]
        found = await asyncio.gather(
            *map(harness.journal.execute_all, wishes), return_exceptions=True
        )
        kinds = [type(answer) for answer in found]
        assert kinds == [StorageFull, list, StorageFull, NotFound, list]
        state = await harness.state()
        assert state.position == len(BEFORE) + 3
        assert state.users.by_id[1].status == "enabled"
        assert state.users.by_id[2].status == "disabled"


async def test_refusal_based_on_an_unwritten_command_is_not_reported() -> None:
    """The refresh was not written, so its token is not spent and the session does not end."""
    async with full() as harness:
        refresh = OTHERS["refresh"]
        again = RefreshSession("a1", 1, "after", LONG)
        late = RefreshSession("a1", 0, "next", LONG)
        found = await asyncio.gather(
            harness.journal.execute(refresh),
            harness.journal.execute(again),
            harness.journal.execute(late),
            harness.journal.execute(REVOKING["disable"]),
            return_exceptions=True,
        )
        kinds = [StorageFull, Unauthenticated, StorageFull, CommandResult]
        assert [type(answer) for answer in found] == kinds


async def test_repeated_request_gets_its_answer_on_a_full_disk() -> None:
    async with full() as harness:
        harness.storage.log.is_full = False  # type: ignore[attr-defined]  # a SmallStorage
        create = OTHERS["create an item"]
        first = await harness.journal.execute(create, NO_ORIGIN, KEY)
        harness.storage.log.is_full = True  # type: ignore[attr-defined]  # as above
        again = await harness.journal.execute(create, NO_ORIGIN, KEY)
        assert again.record.position == first.record.position


async def test_key_of_erased_user_is_destroyed_with_the_reserved_space() -> None:
    async with full() as harness:
        await harness.journal.execute(REVOKING["erase"])
        assert set(await harness.vault.all()) == {"users/2"}


async def test_start_on_a_full_disk_finishes_an_interrupted_erasure() -> None:
    async with full() as harness:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(harness.vault, "destroy", nothing)  # It died before.
            await harness.journal.execute(REVOKING["erase"])
        assert len(await harness.vault.all()) == 2
        async with open_harness(harness.storage):
            assert set(await harness.vault.all()) == {"users/2"}


async def nothing(_: Collection[str]) -> None:
    """What is left out."""


async def test_control_journal_without_the_reserve_fails_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eventapi.commands.command.Decision.revokes", False)

    async def run() -> None:
        async with full() as harness:
            with pytest.raises(StorageFull):
                await harness.journal.execute(REVOKING["logout"])

    await run()
