"""The signing store in memory: the reference adapter, for logs of other adapters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.port import SigningState


class MemorySigning:
    """A key and its record, which live as long as this object."""

    def __init__(self) -> None:
        self._state = SigningState("new")
        self._lock = asyncio.Lock()

    async def read(self) -> SigningState:
        return self._state

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[MemorySigning]:
        async with self._lock:
            yield self

    async def begin(self, signer: Signer) -> None:
        self._state = SigningState("confirmed", signer, signed_by=signer.verifier.name)

    async def record(self, note: Note) -> None:
        self._state = replace(self._state, head=TreeHead.parse(note), note=note)

    async def confirm(self, note: Note) -> None:
        self._state = replace(self._state, status="confirmed", head=TreeHead.parse(note), note=note)

    async def record_cosigned(self, note: Note) -> None:
        self._state = replace(self._state, cosigned=note)
