"""Passwords: argon2id (RFC 9106), hashed by a bounded number of threads."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from eventapi.security.fair_queue import Caller, FairQueue
from eventapi.values.rules import nfc
from events.vocabulary.password_hashes import HashKind, check_hash

T = TypeVar("T")

BCRYPT_BYTES = 72
"""bcrypt ignores the rest of a password; imported hashes were made that way."""

MAX_KINDS: Final = 8
"""Maximum number of hash kinds that a refused login is checked against, the costliest first."""

THREAD_NICENESS = 10
"""Niceness of the hashing threads, so that reads do not wait for a core."""

OWASP_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's recommendation for argon2id: 19 MiB, two passes, one lane."""

OPERATOR: Final = Caller("registration", "operator")
"""The command line, which has the queue to itself."""


class Passwords:
    """Hashes and checks passwords in Unicode's NFC; refuses when too many wait."""

    def __init__(
        self,
        hasher: PasswordHasher = OWASP_HASHER,
        workers: int = os.cpu_count() or 1,
        queue: int = 64,
    ) -> None:
        """``workers`` threads hash at a time, and ``queue`` more jobs may wait."""
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(workers, "password", _lower_priority)
        self._queue = FairQueue(workers, queue)
        self._dummy = hasher.hash("no user has this password")
        self._kind = check_hash(self._dummy)

    @property
    def waiting(self) -> int:
        """The number of passwords that are hashed or checked, or wait for it."""
        return len(self._queue)

    async def hash(self, password: str, caller: Caller = OPERATOR) -> str:
        """The argon2id hash of the password's NFC form; raises `Overloaded`."""
        return await self._run(lambda: self._hasher.hash(nfc(password)), caller)

    async def verify(
        self,
        stored: str | None,
        password: str,
        caller: Caller = OPERATOR,
        kinds: Collection[HashKind] = (),
    ) -> str | None:
        """The form of the password that matches the stored hash; raises `Overloaded`.

        It is NFC, or the password as typed, because older hashes were made without NFC. A refusal checks
        one hash of each of ``kinds`` and of today's kind, for each form, with or without a stored
        hash, so that its time does not reveal whether the user exists.
        """
        return await self._run(lambda: self._matching_form(stored or "", password, kinds), caller)

    def needs_rehash(self, stored: str, password: str) -> bool:
        """Whether a new hash of the matching password should replace the stored one.

        bcrypt checked 72 bytes at most, so a longer password may differ from the user's own. Such a hash
        stays until the password is changed.
        """
        if check_hash(stored).is_bcrypt:
            return len(password.encode()) < BCRYPT_BYTES
        return password != nfc(password) or self._hasher.check_needs_rehash(stored)

    def _matching_form(self, stored: str, password: str, kinds: Collection[HashKind]) -> str | None:
        try:
            kind = check_hash(stored)
        except ValueError:
            kind = None
        plan = self._kinds_to_check(kind, kinds)
        for form in dict.fromkeys((nfc(password), password)):
            for planned in plan:
                if planned == kind:
                    if self._matches(stored, form, planned):
                        return form
                else:
                    self._matches(self._decoy(planned), form, planned)
        return None

    def _kinds_to_check(
        self, kind: HashKind | None, kinds: Collection[HashKind]
    ) -> Sequence[HashKind]:
        """The kinds to check one hash of each, the cheapest first, ``kind`` among them."""
        plan = sorted({self._kind, *kinds}, key=lambda one: (one.work, one.prefix))[-MAX_KINDS:]
        if kind is not None and kind not in plan:
            plan[0] = kind
        return plan

    def _decoy(self, kind: HashKind) -> str:
        return self._dummy if kind == self._kind else kind.decoy

    def _matches(self, stored: str, password: str, kind: HashKind) -> bool:
        secret = password.encode()[:BCRYPT_BYTES]
        try:
            if kind.is_bcrypt:
                return b"\0" not in secret and bcrypt.checkpw(secret, stored.encode())
            return self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError, ValueError):
            return False

    async def _run(self, work: Callable[[], T], caller: Caller) -> T:
        await self._queue.acquire(caller)
        loop = asyncio.get_running_loop()

        def release(_: Future[T]) -> None:
            with suppress(RuntimeError):  # The loop is closed, so no job waits.
                loop.call_soon_threadsafe(self._queue.release, caller)

        try:
            job = self._threads.submit(work)
        except BaseException:
            self._queue.release(caller)
            raise
        # Release when the thread is done, because it continues after its caller was cancelled.
        job.add_done_callback(release)
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        """Stop the threads after their current jobs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lower_priority() -> None:
    """Lower the priority of this thread below that of the event loop."""
    with suppress(OSError):  # Only Linux has priorities of threads.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), THREAD_NICENESS)
