"""Search in the texts of resources, in slices between which other requests run."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from events.vocabulary.resources import Entity

_CHARACTERS_PER_TURN: Final = 32_768
"""Characters searched before other requests may run: about a millisecond."""

_CHARACTERS_PER_ENTITY: Final = 100
"""Cost of a resource in addition to its texts, as a number of characters."""

_CACHED_CHARACTERS: Final = 4 * 1_048_576
"""Casefolded text that is cached per process, at most 4 bytes per character."""

_CHEAP_CHARACTERS: Final = 128
"""Texts up to this length are not cached: folding them is cheaper than a lookup."""


def casefold_text(text: str) -> str:
    """A text for comparison that ignores case and Unicode composition (NFC, NFD)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).casefold()


class CasefoldedTexts:
    """A cache of casefolded texts, because folding is far slower than searching."""

    def __init__(self) -> None:
        self._by_version: dict[int, str] = {}
        self._characters = 0

    def of(self, entity: Entity, names: Sequence[str]) -> str:
        """The folded texts of a resource, with NULs between them that no query can match."""
        text = "\0".join([getattr(entity, name) or "" for name in names])
        if len(text) <= _CHEAP_CHARACTERS or text.isascii():
            return casefold_text(text)
        found = self._by_version.get(entity.version)
        if found is None:
            found = casefold_text(text)
            if self._characters + len(found) > _CACHED_CHARACTERS:
                self._by_version.clear()
                self._characters = 0
            self._by_version[entity.version] = found
            self._characters += len(found)
        return found


async def matching(
    entities: Iterable[Entity],
    names: Sequence[str],
    query: str,
    limit: int,
    texts: CasefoldedTexts,
) -> list[Entity]:
    """The first ``limit`` resources with ``query`` in one of the fields ``names``.

    ``entities`` must not change during the search: other requests, including writes, run between two
    slices.
    """
    needle = casefold_text(query)
    found: list[Entity] = []
    searched = 0
    for entity in entities:
        text = texts.of(entity, names)
        if needle in text:
            found.append(entity)
            if len(found) >= limit:
                break
        searched += len(text) + _CHARACTERS_PER_ENTITY
        if searched >= _CHARACTERS_PER_TURN:
            searched = 0
            await asyncio.sleep(0)
    return found
