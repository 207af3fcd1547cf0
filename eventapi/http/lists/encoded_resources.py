"""Encoded resources: lists send the same ones again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from eventapi.http.response import encode
from eventapi.http.schemas.resources import Shape
from eventapi.queries.selection import OwnerName
from events.vocabulary.resources import Entity

_CACHED_BYTES: Final = 16 * 1_048_576
"""Memory of all encoded resources of a process."""

_BYTES_PER_ENTRY: Final = 200
"""Memory of an entry besides its text."""

BYTES_PER_TURN: Final = 65_536
"""Bytes that are encoded before other requests run: a few milliseconds if they have times."""


LONG_BYTES: Final = 1_048_576
"""A longer list is made while no other long one is, so that not many are in memory unsent."""


class EncodedResources:
    """A cache of response bodies: to encode one takes ten times as long as a lookup.

    A version is a position of the log, so it identifies the content of one resource for ever; the
    name of its owner never changes.
    """

    def __init__(self, most_bytes: int = _CACHED_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._by_version: dict[Shape, dict[int, msgspec.Raw]] = {}
        self._long_list = asyncio.Lock()

    async def of(
        self, shape: Shape, entities: Sequence[Entity], owner_name: OwnerName
    ) -> list[msgspec.Raw]:
        """The response bodies of resources; other requests run while many are encoded."""
        known = self._by_version.setdefault(shape, {})
        found: list[Any] = [known.get(entity.version) for entity in entities]
        missing = [at for at, text in enumerate(found) if text is None]
        texts = (self._encode(known, shape, entities[at], owner_name) for at in missing)
        for at, text in zip(missing, await self.in_turns(texts), strict=True):
            found[at] = text
        return found

    async def in_turns(self, texts: Iterable[msgspec.Raw]) -> list[msgspec.Raw]:
        """Texts that are made one after another; other requests run in between."""
        found: list[msgspec.Raw] = []
        size = total = 0
        async with AsyncExitStack() as stack:
            for text in texts:
                found.append(text)
                size += len(memoryview(text))
                if size <= BYTES_PER_TURN:
                    continue
                becomes_long = total <= LONG_BYTES < total + size
                total, size = total + size, 0
                if becomes_long:
                    await stack.enter_async_context(self._long_list)
                else:
                    await asyncio.sleep(0)
        return found

    def _encode(
        self,
        known: dict[int, msgspec.Raw],
        shape: Shape,
        entity: Entity,
        owner_name: OwnerName,
    ) -> msgspec.Raw:
        text = encode(shape.view_of(entity, owner_name(entity.owner)))
        self._bytes += len(text) + _BYTES_PER_ENTRY
        if self._bytes > self._most_bytes:
            for each in self._by_version.values():
                each.clear()
            self._bytes = len(text) + _BYTES_PER_ENTRY
        found = known[entity.version] = msgspec.Raw(text)
        return found
