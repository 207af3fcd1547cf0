"""Count failed logins in memory, and store the counts a moment later.

A request only adds to a dictionary, the same for known and unknown names, and never waits for the
store. A background task stores what was counted. While the store is unavailable the counts stay in
memory, up to a maximum.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, Literal

import msgspec

from eventapi.commands.security import window_of
from eventapi.failed_logins.hashes import address_hash, address_hash_of_user, name_hash
from eventapi.failed_logins.port import FailedLogins, FailedLoginStore
from eventapi.journal.journal import Journal
from eventapi.tasks.restart import restart_on_error
from events.errors import EventapiError
from events.messages.server_log import FAILED_LOGINS_NOT_STORED
from events.sealing import NONCE_BYTES, seal
from events.vocabulary.sessions import Device
from projections.state import State
from projections.tables.users import casefold_key

logger = logging.getLogger("eventapi.failed_logins")

MAX_WAITING: Final = 10_000
"""Names and addresses whose counts wait in memory; further failed logins are not counted."""

STORE_SECONDS: Final = 1.0
"""The pause between two stores: a killed process loses at most the counts of that time."""

Outcome = Literal["stored", "delayed", "dropped"]
Count = Callable[[Outcome, int], None]

_Key = tuple[str, str, str]


class _Waiting(msgspec.Struct):
    """Failed logins that are not stored yet, and the device of the last one."""

    device: Device
    count: int = 0


class FailedLoginCounter:
    """The failed logins of one process."""

    def __init__(
        self,
        journal: Journal,
        store: FailedLoginStore,
        secret: str,
        random_bytes: Callable[[int], bytes],
        count: Count = lambda *_: None,
    ) -> None:
        """``count`` is called with an outcome and the number of failed logins that had it."""
        self._journal = journal
        self._store = store
        self._secret = secret.encode()
        self._random_bytes = random_bytes
        self._count = count
        self._waiting: dict[_Key, _Waiting] = {}
        self._wake = asyncio.Event()
        self._storing = asyncio.Lock()
        self._failed = False

    def add(self, username: str, address: str, device: Device) -> None:
        """Count a failed login with a name that may be unknown, from an address."""
        window = window_of(self._journal.clock.now())
        self._add((window, casefold_key(username), address), device, 1)
        self._wake.set()

    def _add(self, key: _Key, device: Device, count: int) -> None:
        waiting = self._waiting.get(key)
        if waiting is None:
            if len(self._waiting) >= MAX_WAITING:
                self._count("dropped", count)
                return
            waiting = self._waiting[key] = _Waiting(device)
        waiting.device = device
        waiting.count += count

    async def store(self) -> None:
        """Store what was counted; raises `EventapiError`, and then it is still counted."""
        async with self._storing:
            waiting, self._waiting = self._waiting, {}
            if not waiting:
                return
            try:
                state = await self._journal.state()
                counts = [self._counts_of(state, key, one) for key, one in waiting.items()]
                await self._store.add([one for one in counts if one is not None])
            except EventapiError:
                newer, self._waiting = self._waiting, waiting
                for key, one in newer.items():
                    self._add(key, one.device, one.count)
                self._count("delayed", sum(one.count for one in waiting.values()))
                raise
            self._count("stored", sum(one.count for one in waiting.values()))

    def _counts_of(self, state: State, key: _Key, waiting: _Waiting) -> FailedLogins | None:
        """The counts to store; ``None`` for a user whose key was just destroyed."""
        window, name, address = key
        source = state.last.source
        user = state.users.find_by_username(name)
        if user is None:
            hashed = address_hash(self._secret, source, address)
            subject = f"security/{name_hash(self._secret, source, name)}"
            return FailedLogins(window, subject, hashed, waiting.count)
        cipher = self._journal.keyring.get(user.subject)
        if cipher is None:
            return None
        sealed = seal(
            cipher,
            self._random_bytes(NONCE_BYTES),
            msgspec.json.encode(waiting.device),
            seal_context(source, user.subject, window),
        )
        hashed = address_hash_of_user(cipher, address)
        return FailedLogins(window, user.subject, hashed, waiting.count, sealed)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Store counts in the background, and those that are left at the end."""
        async with restart_on_error(self._run, "failed logins"):
            yield
        with suppress(EventapiError):
            await self.store()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                # A store that has begun ends, so that nothing is counted twice.
                await asyncio.shield(self.store())
                self._failed = False
            except EventapiError as error:
                if not self._failed:
                    logger.warning(FAILED_LOGINS_NOT_STORED.fill(reason=error))
                self._failed = True
                self._wake.set()
            await asyncio.sleep(STORE_SECONDS)


def seal_context(source: str, subject: str, window: str) -> bytes:
    """The associated data of a device that is sealed in the store."""
    return f"{source}|failed logins|{subject}|{window}".encode()
