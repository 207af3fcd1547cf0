"""Search in the texts of items, in slices so that other requests can run between."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterable
from typing import Final

from projections.tables.items import Item

_CHARACTERS_PER_TURN: Final = 32_768
"""Characters searched before other requests may run: about a millisecond."""

_CHARACTERS_PER_ITEM: Final = 100
"""Cost of an item in addition to its texts, as a number of characters."""

_CACHED_CHARACTERS: Final = 4 * 1_048_576
"""Casefolded text that is cached per process, at most 4 bytes per character."""

_CHEAP_CHARACTERS: Final = 128
"""Texts up to this length are not cached: folding them is cheaper than a lookup."""


def folded(text: str) -> str:
    """A text for comparison that ignores case and Unicode composition (NFC, NFD)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).casefold()


class CasefoldedTexts:
    """A cache of casefolded texts, because folding is far slower than searching."""

    def __init__(self) -> None:
        self._by_version: dict[int, str] = {}
        self._characters = 0

    def of(self, item: Item) -> str:
        """Folded title and description of an item, with a NUL that no query can match."""
        text = f"{item.title}\0{item.description or ''}"
        if len(text) <= _CHEAP_CHARACTERS or text.isascii():
            return folded(text)
        found = self._by_version.get(item.version)
        if found is None:
            found = folded(text)
            if self._characters + len(found) > _CACHED_CHARACTERS:
                self._by_version.clear()
                self._characters = 0
            self._by_version[item.version] = found
            self._characters += len(found)
        return found


async def matching(
    items: Iterable[Item], query: str, limit: int, texts: CasefoldedTexts
) -> list[Item]:
    """The first ``limit`` items whose title or description contains ``query``.

    ``items`` must not change during the search: other requests, including writes, run between two
    slices.
    """
    needle = folded(query)
    found: list[Item] = []
    searched = 0
    for item in items:
        text = texts.of(item)
        if needle in text:
            found.append(item)
            if len(found) >= limit:
                break
        searched += len(text) + _CHARACTERS_PER_ITEM
        if searched >= _CHARACTERS_PER_TURN:
            searched = 0
            await asyncio.sleep(0)
    return found
