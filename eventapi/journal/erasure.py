"""Complete erasures: destroy the keys of erased users, with retries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import msgspec

from events.errors import EventapiError, MailNotRemoved, StorageFull, VaultUnavailable
from events.log.port import EventLog
from events.messages.erasures import highest_number, users_without_keys
from events.messages.mails import MAILS_NOT_REMOVED
from events.messages.server_log import KEYS_NOT_DESTROYED
from events.sealing import Keyring
from events.vault.port import Vault
from events.vault.tombstones import VaultContents
from projections.tables.users import User

logger = logging.getLogger("eventapi.journal")


class ErasuresToFinish(msgspec.Struct, frozen=True):
    """The work that a start must do to complete erasures.

    The log is older than the erasure of the users in ``erase_again``, as after a restore.
    ``destroyed`` has the subjects whose keys are destroyed, and ``highest_number`` is the highest
    user number with a tombstone in the vault.
    """

    erase_again: Sequence[User]
    destroyed: Collection[str]
    highest_number: int


def erasures_to_finish(
    vault: VaultContents, users: Iterable[User], keyring: Keyring
) -> ErasuresToFinish:
    """Compare the users of the state with the vault.

    The vault has a tombstone of each erased user. Raises `VaultUnavailable` if a user who is not erased has neither a key nor a tombstone.
    """
    alive = [user for user in users if user.status != "erased"]
    again = [user for user in alive if user.subject in vault.erased]
    keyless = [user.subject for user in alive if user.subject not in keyring]
    lost = [subject for subject in keyless if subject not in vault.tombstones]
    if lost:
        raise VaultUnavailable(users_without_keys(lost))
    destroyed = vault.tombstones.keys() - vault.keys.keys()
    return ErasuresToFinish(again, destroyed, highest_number(vault.tombstones))


Forget = Callable[[Collection[str]], Awaitable[None]]
"""Removes what is kept about erased users, by their subjects; raises an `EventapiError`."""


async def forget_nothing(_: Collection[str]) -> None:
    """Nothing is kept outside the log."""


class KeyDestruction:
    """Destroys the keys of erased users, and removes their mails.

    ``pending`` has the subjects for whom that is not done yet, and ``failure`` the reason.
    """

    def __init__(self, log: EventLog, vault: Vault, forget: Forget) -> None:
        """``forget`` removes what is kept about erased users outside the log."""
        self.pending: set[str] = set()
        self.failure: EventapiError | None = None
        self._log = log
        self._vault = vault
        self._forget = forget

    async def finish(self, users: Iterable[User], destroyed: Collection[str]) -> None:
        """Destroy the remaining keys of all erased users. Raises on failure.

        ``destroyed`` has the subjects whose keys are destroyed already.
        """
        erased = {user.subject for user in users if user.status == "erased"}
        unfinished = (erased - set(destroyed)) | self.pending
        if unfinished:
            await self._destroy_keys(unfinished)
        # Of all of them: another instance, which has no access to this outbox, may have erased one.
        await self._forget(erased)
        self.pending.clear()

    async def retry(self) -> None:
        """Destroy the pending keys; after a failure they stay pending.

        A restart calls `finish`, which raises if they still cannot be destroyed.
        """
        try:
            await self._destroy(self.pending)
        except MailNotRemoved as error:
            self.failure = error
            logger.warning(MAILS_NOT_REMOVED.fill(reason=error))
        except EventapiError as error:
            self.failure = error
            logger.warning(KEYS_NOT_DESTROYED.fill(reason=error))
        else:
            self.failure = None
            self.pending.clear()

    async def _destroy(self, subjects: Collection[str]) -> None:
        await self._destroy_keys(subjects)
        await self._forget(subjects)

    async def _destroy_keys(self, subjects: Collection[str]) -> None:
        """Destroy keys, on a full disk with the space that the log keeps in reserve."""
        try:
            await self._vault.destroy(subjects)
        except StorageFull:
            if not await self._log.release_reserve():
                raise
            await self._vault.destroy(subjects)
