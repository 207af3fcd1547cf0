"""API keys: make them, and record their use."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import Final

import msgspec

from eventapi.accounts.service import Accounts, Client
from eventapi.commands.keys import CreateKey, RecordKeyUse, is_use_due
from eventapi.journal.batch import CommandResult
from eventapi.journal.journal import Journal
from eventapi.journal.origin import Origin
from eventapi.security.api_keys import ID_BYTES, SECRET_BYTES, api_key, secret_hash
from events.errors import EventapiError
from events.vocabulary.keys import Scope
from events.vocabulary.sessions import Device
from projections.tables.keys import ApiKey
from projections.tables.users import User

_KEYS_REMEMBERED: Final = 10_000


class NewKey(msgspec.Struct, frozen=True):
    """A new API key; ``text`` is shown only once."""

    result: CommandResult
    text: str


async def create(  # noqa: PLR0917 - all of a key
    accounts: Accounts,
    client: Client,
    user: User,
    name: str,
    scopes: tuple[Scope, ...],
    expires_at: str | None,
) -> NewKey:
    """Make an API key; raises `Invalid` and `QuotaExceeded`."""
    number = accounts.runtime.random_bytes(ID_BYTES).hex()
    secret = accounts.runtime.random_bytes(SECRET_BYTES)
    command = CreateKey(user.id, number, name, scopes, secret_hash(secret), expires_at)
    return NewKey(await client.execute(command), api_key(number, secret))


class KeyUses:
    """Records uses of API keys in the background, one an hour for each key."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._last: OrderedDict[str, str] = OrderedDict()
        self._recording: dict[str, asyncio.Task[None]] = {}

    def note(self, key: ApiKey, device: Device, requestid: str) -> None:
        """Note that a request uses a key now."""
        now = self._journal.clock.now()
        self._last[key.id] = now
        self._last.move_to_end(key.id)
        if len(self._last) > _KEYS_REMEMBERED:
            self._last.popitem(last=False)
        if key.id not in self._recording and is_use_due(key, now):
            task = asyncio.create_task(self._record(key, device, requestid))
            self._recording[key.id] = task
            task.add_done_callback(lambda _: self._recording.pop(key.id, None))

    def last_used_at(self, key: ApiKey) -> str | None:
        """The time of the last use that this process knows of."""
        return max(filter(None, (key.last_used_at, self._last.get(key.id))), default=None)

    async def _record(self, key: ApiKey, device: Device, requestid: str) -> None:
        origin = Origin(requestid, key.subject)
        # A use that cannot be recorded, for example on a full disk, must not fail the request.
        with suppress(EventapiError):
            await self._journal.execute(RecordKeyUse(key.id, device), origin)
