"""The caches of what users wrote, all of which an erasure drops."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from eventapi.http.lists.encoded_resources import EncodedResources
from eventapi.http.lists.pages import Pages
from eventapi.http.lists.parsing import Listing, parse_listing
from eventapi.http.lists.search import CasefoldedTexts
from eventapi.http.schemas.resources import Shape

_PARSED_QUERIES: Final = 256


def _cached_parser() -> Callable[[Shape, bytes], Listing]:
    """`parse_listing` with a cache: parsing a query takes as long as a read."""
    return lru_cache(_PARSED_QUERIES)(parse_listing)


class Caches(msgspec.Struct):
    """Everything that a process caches of users' values, in bounded memory.

    A request uses a copy, which has the same caches until an erasure. So what the request read before
    the erasure never gets into the new ones.
    """

    pages: Pages = msgspec.field(default_factory=Pages)
    encoded: EncodedResources = msgspec.field(default_factory=EncodedResources)
    casefolded_texts: CasefoldedTexts = msgspec.field(default_factory=CasefoldedTexts)
    parse_listing: Callable[[Shape, bytes], Listing] = msgspec.field(default_factory=_cached_parser)

    def drop(self) -> None:
        """Begin with empty caches, because a user was erased."""
        new = Caches()
        for name in self.__struct_fields__:
            setattr(self, name, getattr(new, name))
