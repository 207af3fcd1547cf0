"""The texts that a cache holds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FunctionType, ModuleType

import msgspec


def texts_in(found: object) -> Iterator[bytes]:
    """Every text to which an object refers, however deep in it."""
    seen: set[int] = set()
    rest = [found]
    while rest:
        one = rest.pop()
        if id(one) in seen or isinstance(one, type | FunctionType | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one.encode()
        elif isinstance(one, bytes | msgspec.Raw):
            yield bytes(one)
        elif isinstance(one, msgspec.Struct):  # With gc=False the collector sees no referents.
            rest += [getattr(one, name) for name in one.__struct_fields__]
        else:
            rest += gc.get_referents(one)
