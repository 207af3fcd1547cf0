"""The signing store in memory: the reference adapter, for logs that are plugged in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.port import SigningState


class MemorySigning:
    """A key and its record; they exist for as long as the object does."""

    def __init__(self) -> None:
        self._held = SigningState("new")
        self._lock = asyncio.Lock()

    async def read(self) -> SigningState:
        return self._held

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[MemorySigning]:
        async with self._lock:
            yield self

    async def begin(self, signer: Signer) -> None:
        self._held = SigningState("confirmed", signer, signed_by=signer.verifier.name)

    async def record(self, note: Note) -> None:
        self._held = replace(self._held, head=TreeHead.parse(note), note=note)

    async def confirm(self, note: Note) -> None:
        self._held = replace(self._held, status="confirmed", head=TreeHead.parse(note), note=note)

    async def record_cosigned(self, note: Note) -> None:
        self._held = replace(self._held, cosigned=note)
