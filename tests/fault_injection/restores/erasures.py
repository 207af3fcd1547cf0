"""The laws of erasure, over restores of older logs, older vaults and both, in any order.

Once an erasure is in a vault, no start over that vault, or over one that took it in, yields what
the erased user typed, whatever log lies beside it; and every other user stays readable.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eventapi.bootstrap.storage import SYSTEM
from eventapi.cli import vaults
from eventapi.commands.items import CreateItem
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.journal.journal import Journal
from eventapi.testing.given import profile
from events.codec import decode
from events.errors import DamagedLog, StorageFull, VaultUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring, unseal
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents, contents_of
from events.vocabulary.items import Content
from projections.state import State


class Person(msgspec.Struct, frozen=True):
    """Somebody who registered once; the number may be that of another one in another log."""

    name: str
    subject: str
    key: bytes


class Copy(msgspec.Struct, frozen=True):
    """A copy of a log or of a vault, and who is erased as far as it knows."""

    content: bytes
    erased: frozenset[str]


class Erasures(RuleBasedStateMachine):
    """One data directory, and every copy that was ever made of its log and its vault."""

    totals: ClassVar[dict[str, int]] = {"histories": 0, "starts": 0, "erased": 0, "searched": 0}

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="erasures-"))
        self.log = self.directory / "events.jsonl"
        self.vault = self.directory / "vault.sqlite"
        self.people: dict[str, Person] = {}
        self.erased: frozenset[str] = frozenset()
        """Names of those whose erasure the vault knows."""
        self.logs: list[Copy] = []
        self.vaults: list[Copy] = []
        self._log_at_start = b""
        self._do(_nothing)

    def teardown(self) -> None:
        shutil.rmtree(self.directory)
        self.totals["histories"] += 1
        self.totals["erased"] += len(self.erased)

    # What can happen

    @rule()
    def register(self) -> None:
        name = f"person{len(self.people)}"

        async def work(journal: Journal) -> None:
            outcome = await journal.execute(RegisterUser(profile(name)))
            keys = await journal.vault.all()
            subject = outcome.record.subject
            self.people[name] = Person(name, subject, keys[subject])

        self._do(work)

    @precondition(lambda self: self.alive())
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.write_of(data.draw(st.sampled_from(self.alive())))

    def write_of(self, name: str) -> None:
        async def work(journal: Journal) -> None:
            user = (await journal.state()).users.find_by_username(name)
            assert user is not None
            await journal.execute(CreateItem(user.id, Content(f"typed by {name}")))

        self._do(work)

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), crash=st.booleans())
    def erase(self, data: st.DataObject, crash: bool) -> None:
        self.erase_of(data.draw(st.sampled_from(self.alive())), crash=crash)

    def erase_of(self, name: str, *, crash: bool = False) -> None:
        """Erase a user; with ``crash`` the process dies before the key is destroyed."""

        async def work(journal: Journal) -> None:
            if crash:
                journal.vault = _Full(journal.vault)
            await journal.execute(EraseUser(name, "operator/test"))

        self._do(work)
        if not crash:
            self.erased |= {name}

    @rule()
    def copy_log(self) -> None:
        self.logs.append(Copy(self.log.read_bytes(), frozenset()))

    @rule()
    def copy_vault(self) -> None:
        self.vaults.append(Copy(self.vault.read_bytes(), self.erased))

    @precondition(lambda self: self.logs)
    @rule(data=st.data(), keys=st.booleans())
    def restore(self, data: st.DataObject, keys: bool) -> None:
        copy = data.draw(st.sampled_from(self.vaults)) if keys and self.vaults else None
        self.restore_of(data.draw(st.sampled_from(self.logs)), copy)

    def restore_of(self, log: Copy, keys: Copy | None) -> None:
        """Put a copy of the log in place, and take in a copy of the keys."""
        before = self._kept()
        if keys is not None:
            copy = self.directory / "copy"
            copy.write_bytes(keys.content)
            asyncio.run(merge(self.vault, copy))
        self._start_over(log, before, self.erased | (keys.erased if keys else frozenset()))

    @precondition(lambda self: self.logs and self.vaults)
    @rule(data=st.data())
    def move_to_an_empty_machine(self, data: st.DataObject) -> None:
        """All that is known there of erasures is what the copy of the keys knows."""
        before = self._kept()
        keys = data.draw(st.sampled_from(self.vaults))
        self.vault.write_bytes(keys.content)
        self._start_over(data.draw(st.sampled_from(self.logs)), before, keys.erased)

    def _kept(self) -> tuple[bytes, bytes]:
        return self.log.read_bytes(), self.vault.read_bytes()

    def _start_over(self, log: Copy, before: tuple[bytes, bytes], erased: frozenset[str]) -> None:
        """Start over other files; a start that refuses changes nothing, and is given up."""
        self._lay(log.content)
        self.erased, known = erased, self.erased
        keys = self.vault.read_bytes()
        try:
            self._do(_nothing)
        except (VaultUnavailable, DamagedLog):
            assert self._kept() == (log.content, keys)
            self._lay(before[0])
            self.vault.write_bytes(before[1])
            self.erased = known

    def _lay(self, log: bytes) -> None:
        for file in self.directory.glob("events.jsonl*"):
            file.unlink()
        self.log.write_bytes(log)

    # What must hold

    @invariant()
    def no_copy_of_the_log_yields_an_erased_user(self) -> None:
        keyring, opened = Keyring(), set()
        for subject, key in asyncio.run(_contents(self.vault)).keys.items():
            keyring.add(subject, key)
        for copy in (*self.logs, Copy(self.log.read_bytes(), frozenset())):
            self.totals["searched"] += 1
            for text in _opened(copy.content, keyring):
                opened |= {name for name in self.erased if name.encode() + b'"' in text}
        assert not opened, f"{opened} can be read"

    def _do(self, work: Callable[[Journal], Awaitable[None]]) -> None:
        asyncio.run(self._run(work))

    async def _run(self, work: Callable[[Journal], Awaitable[None]]) -> None:
        before = await _contents(self.vault)
        self._log_at_start = self.log.read_bytes() if self.log.exists() else b""
        self.totals["starts"] += 1
        async with _journal(self.log, self.vault) as journal:
            state = await journal.state()
            self._check(state, before)
            self._note_erasures(state)
            await work(journal)

    def _check(self, state: State, before: VaultContents) -> None:
        """After a start: who is erased has no name, and whose key was there has one."""
        names = {user.username for user in state.users.by_id.values() if user.status != "erased"}
        assert "" not in names, "a user without a key is served"
        assert not names & self.erased, f"{names & self.erased} are back"
        texts = {item.title for item in state.items.by_id.values()}
        assert texts <= {f"typed by {name}" for name in names}
        self._check_nobody_else_is_erased(state, before)

    def _check_nobody_else_is_erased(self, state: State, before: VaultContents) -> None:
        erased_here = {
            f"users/{user.id}" for user in state.users.by_id.values() if user.status == "erased"
        }
        in_log = {name for name in self.people if self._registered_here(name)}
        for name in in_log - self.erased - self._erased_in_log():
            person = self.people[name]
            if before.keys.get(person.subject) == person.key:
                assert person.subject not in erased_here, f"{name} was erased by nobody"

    def _registered_here(self, name: str) -> bool:
        """Whether the log has the registration of this very person."""
        person = self.people[name]
        keyring = Keyring()
        keyring.add(person.subject, person.key)
        return any(name.encode() + b'"' in text for text in _opened(self._log_at_start, keyring))

    def _erased_in_log(self) -> set[str]:
        """Who was erased in the log itself, before the start."""
        lines = self._log_at_start.splitlines()
        gone = {one.subject for one in decode(lines, Keyring()) if one.event.type == "user.erased"}
        return {name for name, person in self.people.items() if person.subject in gone}

    def _note_erasures(self, state: State) -> None:
        """A start finishes what a crash cut short: then the vault knows of it."""
        gone = {user.subject for user in state.users.by_id.values() if user.status == "erased"}
        here = {name for name in self.people if self._registered_here(name)}
        self.erased |= {name for name in here if self.people[name].subject in gone}

    def alive(self) -> list[str]:
        """Who can write or be erased in the log at hand."""

        async def names() -> list[str]:
            async with _journal(self.log, self.vault) as journal:
                return sorted((await journal.state()).users.ids_by_name)

        return asyncio.run(names())


class _Full:
    """A vault on a full disk: it destroys nothing."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def destroy(self, subjects: Collection[str]) -> None:
        raise StorageFull("full")


async def _nothing(_: Journal) -> None:
    pass


@asynccontextmanager
async def _journal(log: Path, vault: Path) -> Any:
    opened, keys = JsonlLog(log), SqliteVault(vault)
    journal = Journal(opened, keys, SYSTEM)
    try:
        await journal.start()
        yield journal
    finally:
        await journal.close()
        await opened.close()
        await keys.close()


async def _contents(path: Path) -> VaultContents:
    vault = SqliteVault(path)
    try:
        return await contents_of(vault)
    finally:
        await vault.close()


async def merge(own: Path, copy: Path) -> None:
    """Take a copy of the keys into a vault."""
    contents = await vaults.merge_vault(own, copy)
    vault = SqliteVault(own)
    try:
        await vaults.store_contents(vault, contents)
    finally:
        await vault.close()


def _opened(log: bytes, keyring: Keyring) -> Iterator[bytes]:
    """All that the seals of a log hold, as far as the keys open them."""
    for record in decode(log.splitlines(), Keyring()):
        sealed = getattr(record.event, "personal", None)
        if sealed is not None and record.sealedfor in keyring:
            context = f"{record.source}|{record.event.type}|{record.subject}".encode()
            # Not where it is the key of another user who had the same number.
            with suppress(ValueError):
                yield unseal(keyring[record.sealedfor], sealed, context)
