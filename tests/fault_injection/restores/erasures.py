"""State machine: erasures, and restores of older logs and vaults, in any order.

The invariant: once an erasure is in a vault, no start with that vault, or with one merged from it,
yields the personal data of the erased user, with any copy of the log. All other users stay
readable.
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
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.journal.journal import Journal
from eventapi.testing.given import profile
from eventapi.testing.items import ITEMS, Content, create_item
from events.codec import decode
from events.errors import DamagedLog, StorageFull, VaultUnavailable
from events.log.file.log import JsonlLog
from events.sealing import Keyring, unseal
from events.vault.sqlite import SqliteVault
from events.vault.tombstones import VaultContents, contents_of
from projections.state import State


class KnownUser(msgspec.Struct, frozen=True):
    """A user that registered once; another log may reuse the number."""

    name: str
    subject: str
    key: bytes


class Copy(msgspec.Struct, frozen=True):
    """A copy of a log or a vault; ``erased`` are the erased users recorded in a vault."""

    content: bytes
    erased: frozenset[str]


class Erasures(RuleBasedStateMachine):
    """A data directory, and all copies of its log and its vault."""

    totals: ClassVar[dict[str, int]] = {"histories": 0, "starts": 0, "erased": 0, "searched": 0}

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="erasures-"))
        self.log = self.directory / "events.jsonl"
        self.vault = self.directory / "vault.sqlite"
        self.users: dict[str, KnownUser] = {}
        self.erased: frozenset[str] = frozenset()
        """Names of the users whose erasure the vault has recorded."""
        self.logs: list[Copy] = []
        self.vaults: list[Copy] = []
        self._log_at_start = b""
        self._run_in_journal(_no_op)

    def teardown(self) -> None:
        shutil.rmtree(self.directory)
        self.totals["histories"] += 1
        self.totals["erased"] += len(self.erased)

    # Steps

    @rule()
    def register(self) -> None:
        name = f"user{len(self.users)}"

        async def work(journal: Journal) -> None:
            outcome = await journal.execute(RegisterUser(profile(name)))
            keys = await journal.vault.all()
            subject = outcome.record.subject
            self.users[name] = KnownUser(name, subject, keys[subject])

        self._run_in_journal(work)

    @precondition(lambda self: self.active_users())
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        self.create_item_of(data.draw(st.sampled_from(self.active_users())))

    def create_item_of(self, name: str) -> None:
        async def work(journal: Journal) -> None:
            user = (await journal.state()).users.find_by_username(name)
            assert user is not None
            await journal.execute(create_item(user.id, Content(f"typed by {name}")))

        self._run_in_journal(work)

    @precondition(lambda self: self.active_users())
    @rule(data=st.data(), crash=st.booleans())
    def erase(self, data: st.DataObject, crash: bool) -> None:
        self.erase_user(data.draw(st.sampled_from(self.active_users())), crash=crash)

    def erase_user(self, name: str, *, crash: bool = False) -> None:
        """Erase a user; with ``crash``, the process dies before it destroys the key."""

        async def work(journal: Journal) -> None:
            if crash:
                journal.vault = _FullDiskVault(journal.vault)
            await journal.execute(EraseUser(name, "operator/test"))

        self._run_in_journal(work)
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
        self.restore_copies(data.draw(st.sampled_from(self.logs)), copy)

    def restore_copies(self, log: Copy, keys: Copy | None) -> None:
        """Restore a copy of the log, and merge a copy of the vault."""
        before = self._file_contents()
        if keys is not None:
            copy = self.directory / "copy"
            copy.write_bytes(keys.content)
            asyncio.run(merge_copy(self.vault, copy))
        self._start_with(log, before, self.erased | (keys.erased if keys else frozenset()))

    @precondition(lambda self: self.logs and self.vaults)
    @rule(data=st.data())
    def move_to_an_empty_machine(self, data: st.DataObject) -> None:
        """There, only the copy of the vault records erasures."""
        before = self._file_contents()
        keys = data.draw(st.sampled_from(self.vaults))
        self.vault.write_bytes(keys.content)
        self._start_with(data.draw(st.sampled_from(self.logs)), before, keys.erased)

    def _file_contents(self) -> tuple[bytes, bytes]:
        return self.log.read_bytes(), self.vault.read_bytes()

    def _start_with(self, log: Copy, before: tuple[bytes, bytes], erased: frozenset[str]) -> None:
        """Start with other files; a start that refuses must change nothing, and is undone."""
        self._replace_log(log.content)
        self.erased, erased_before = erased, self.erased
        keys = self.vault.read_bytes()
        try:
            self._run_in_journal(_no_op)
        except (VaultUnavailable, DamagedLog):
            assert self._file_contents() == (log.content, keys)
            self._replace_log(before[0])
            self.vault.write_bytes(before[1])
            self.erased = erased_before

    def _replace_log(self, log: bytes) -> None:
        for file in self.directory.glob("events.jsonl*"):
            file.unlink()
        self.log.write_bytes(log)

    # Invariants

    @invariant()
    def no_copy_of_the_log_yields_an_erased_user(self) -> None:
        keyring, opened = Keyring(), set()
        for subject, key in asyncio.run(_contents(self.vault)).keys.items():
            keyring.add(subject, key)
        for copy in (*self.logs, Copy(self.log.read_bytes(), frozenset())):
            self.totals["searched"] += 1
            for text in _unsealed_texts(copy.content, keyring):
                opened |= {name for name in self.erased if name.encode() + b'"' in text}
        assert not opened, f"{opened} can be read"

    def _run_in_journal(self, work: Callable[[Journal], Awaitable[None]]) -> None:
        asyncio.run(self._run_async(work))

    async def _run_async(self, work: Callable[[Journal], Awaitable[None]]) -> None:
        before = await _contents(self.vault)
        self._log_at_start = self.log.read_bytes() if self.log.exists() else b""
        self.totals["starts"] += 1
        async with _journal(self.log, self.vault) as journal:
            state = await journal.state()
            self._check(state, before)
            self._record_erasures(state)
            await work(journal)

    def _check(self, state: State, before: VaultContents) -> None:
        """After a start: erased users have no names, and users with keys have one."""
        names = {user.username for user in state.users.by_id.values() if user.status != "erased"}
        assert "" not in names, "a user without a key is served"
        assert not names & self.erased, f"{names & self.erased} are back"
        texts = {item.title for item in state["items"].by_id.values()}
        assert texts <= {f"typed by {name}" for name in names}
        self._check_no_other_user_is_erased(state, before)

    def _check_no_other_user_is_erased(self, state: State, before: VaultContents) -> None:
        erased_here = {
            f"users/{user.id}" for user in state.users.by_id.values() if user.status == "erased"
        }
        in_log = {name for name in self.users if self._is_in_log(name)}
        for name in in_log - self.erased - self._erased_in_log():
            user = self.users[name]
            if before.keys.get(user.subject) == user.key:
                assert user.subject not in erased_here, f"{name} was erased without a request"

    def _is_in_log(self, name: str) -> bool:
        """Whether the log has the registration of this user."""
        user = self.users[name]
        keyring = Keyring()
        keyring.add(user.subject, user.key)
        return any(
            name.encode() + b'"' in text for text in _unsealed_texts(self._log_at_start, keyring)
        )

    def _erased_in_log(self) -> set[str]:
        """The users erased in the log itself before the start."""
        lines = self._log_at_start.splitlines()
        gone = {
            one.subject
            for one in decode(lines, Keyring(), ITEMS)
            if one.event.type == "user.erased"
        }
        return {name for name, user in self.users.items() if user.subject in gone}

    def _record_erasures(self, state: State) -> None:
        """Record erasures that the start completed in the vault after a crash."""
        gone = {user.subject for user in state.users.by_id.values() if user.status == "erased"}
        here = {name for name in self.users if self._is_in_log(name)}
        self.erased |= {name for name in here if self.users[name].subject in gone}

    def active_users(self) -> list[str]:
        """The names of the users in the present log that are not erased."""

        async def names() -> list[str]:
            async with _journal(self.log, self.vault) as journal:
                return sorted((await journal.state()).users.ids_by_name)

        return asyncio.run(names())


class _FullDiskVault:
    """A vault on a full disk, which cannot destroy keys."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def destroy(self, subjects: Collection[str]) -> None:
        raise StorageFull("full")


async def _no_op(_: Journal) -> None:
    pass


@asynccontextmanager
async def _journal(log: Path, vault: Path) -> Any:
    opened, keys = JsonlLog(log), SqliteVault(vault)
    journal = Journal(opened, keys, ITEMS, SYSTEM)
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


async def merge_copy(own: Path, copy: Path) -> None:
    """Merge a copy of a vault into a vault."""
    contents = await vaults.merge_vault(own, copy)
    vault = SqliteVault(own)
    try:
        await vaults.store_contents(vault, contents)
    finally:
        await vault.close()


def _unsealed_texts(log: bytes, keyring: Keyring) -> Iterator[bytes]:
    """Yield the texts of a log that the keys can unseal."""
    for record in decode(log.splitlines(), Keyring(), ITEMS):
        sealed = getattr(record.event, "personal", None)
        if sealed is not None and record.sealedfor in keyring:
            context = f"{record.source}|{record.event.type}|{record.subject}".encode()
            # The key may belong to another user with the same number.
            with suppress(ValueError):
                yield unseal(keyring[record.sealedfor], sealed, context)
