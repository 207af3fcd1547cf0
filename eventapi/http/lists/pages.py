"""The cached pages of lists: clients fetch the same ones again and again."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from eventapi.http.schemas.resources import Shape
from eventapi.queries.validated_cache import ValidatedCache

_CACHED_BYTES: Final = 16 * 1_048_576
"""Memory of all cached pages of a process."""

_BYTES_PER_PAGE: Final = 1_000
"""Memory of a page besides its texts."""


class PageKey(msgspec.Struct, frozen=True):
    """A query for the resources of one ``owner``; with 0 for those of all owners."""

    shape: Shape
    owner: int
    query: bytes


class Page(msgspec.Struct, frozen=True):
    """The rows of a page as a JSON array.

    ``cursor`` is that of the next page, if any; ``count`` is the number of rows on all pages.
    """

    rows: Raw
    cursor: str | None = None
    count: int | UnsetType = UNSET


class Pages(ValidatedCache[PageKey, Page]):
    """The pages that were sent last, in bounded memory."""

    def __init__(self, max_bytes: int = _CACHED_BYTES) -> None:
        super().__init__(max_bytes)

    def keep(self, key: PageKey, validator: object, page: Page) -> None:
        """Add a page to the cache."""
        texts = (memoryview(page.rows), key.query, page.cursor or "")
        self.add(key, validator, page, sum(map(len, texts)) + _BYTES_PER_PAGE)
