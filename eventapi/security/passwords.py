"""Passwords: argon2id (RFC 9106), hashed outside the event loop by a bounded number of threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from events.errors import Overloaded
from events.users import is_bcrypt

T = TypeVar("T")

BCRYPT_BYTES = 72
"""All that bcrypt ever sees of a password; hashes imported from elsewhere were made that way."""

NICENESS = 10
"""Of the threads that hash: a read that comes meanwhile does not wait for a core."""

OWASP_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's recommendation for argon2id: 19 MiB, two passes, one lane."""


class Passwords:
    """Hashes and checks passwords; refuses when too many wait."""

    def __init__(
        self,
        hasher: PasswordHasher = OWASP_HASHER,
        workers: int = os.cpu_count() or 1,
        queue: int = 64,
    ) -> None:
        """``workers`` threads hash at a time, and ``queue`` more callers may wait."""
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(workers, "password", _give_way)
        self._room = self._most = workers + queue
        self._dummy = hasher.hash("no user has this password")

    @property
    def waiting(self) -> int:
        """How many callers wait for their password to be hashed or checked."""
        return self._most - self._room

    async def hash(self, password: str) -> str:
        """The argon2id hash; raises `Overloaded`."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str, decoy: str | None = None) -> bool:
        """Whether the password is that of the stored hash; raises `Overloaded`.

        Without a stored hash as much work is done, so that time does not tell who exists. Where
        some are of bcrypt, which takes another time, ``decoy`` is one of those: then a wrong
        password is given the work of both kinds.
        """
        return await self._run(lambda: self._matches(stored, password, decoy))

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made in a way that is not today's."""
        return is_bcrypt(stored) or self._hasher.check_needs_rehash(stored)

    def _matches(self, stored: str | None, password: str, decoy: str | None) -> bool:
        fits = self._fits(stored or self._dummy, password) and bool(stored)
        if not fits and decoy is not None:
            self._fits(self._dummy if is_bcrypt(stored or "") else decoy, password)
        return fits

    def _fits(self, stored: str, password: str) -> bool:
        if is_bcrypt(stored):
            secret = password.encode()[:BCRYPT_BYTES]
            try:
                return b"\0" not in secret and bcrypt.checkpw(secret, stored.encode())
            except ValueError:  # not a hash, for all its beginning
                return False
        try:
            self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False
        return True

    async def _run(self, work: Callable[[], T]) -> T:
        if self._room <= 0:
            raise Overloaded("too many passwords are being checked")
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._room += 1

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    """Let whoever answers requests go before this thread, which hashes for a long time."""
    with suppress(OSError):  # Only Linux knows a thread by itself.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
