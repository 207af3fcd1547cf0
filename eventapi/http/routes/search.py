"""Searching the texts of items, in slices, so that a long search delays no other request."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Iterable
from typing import Final

from projections.tables.items import Item

_CHARACTERS_PER_TURN: Final = 32_768
"""How much text is searched before other requests have their turn; about a millisecond."""

_CHARACTERS_PER_ITEM: Final = 100
"""What an item costs beside its texts."""

_CACHED_CHARACTERS: Final = 4 * 1_048_576
"""How much folded text is kept per process, of at most 4 bytes a character."""

_CHEAP_CHARACTERS: Final = 128
"""Texts up to this length are folded anew: that is cheaper than a look into the cache."""


def folded(text: str) -> str:
    """A text for comparison without regard to case or to composition (NFC, NFD)."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", text).casefold()


class CasefoldedTexts:
    """The folded texts of items, of which some are kept: folding costs far more than searching."""

    def __init__(self) -> None:
        self._by_version: dict[int, str] = {}
        self._characters = 0

    def of(self, item: Item) -> str:
        """Title and description of an item, folded; no query finds the NUL between them."""
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
    """The first items with a part of a text in title or description, ``limit`` at most.

    ``items`` must not change meanwhile: other requests, writes too, run between two slices.
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
