"""Paths of tiles, and the format of bundles of lines (C2SP tlog-tiles).

A tile has 256 hashes of one level, or fewer at the right edge of the tree: then it is partial, and
its path ends with its width. The bundle of a tile has the lines of its leaves. The HTTP routes under
``/log`` and archives have the same paths and the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from events.codec import MAX_LINE_BYTES
from events.transparency.merkle import HASH_BYTES

TILE: Final = 256
"""Hashes in a complete tile."""

_LENGTH_BYTES: Final = 2

MAX_BUNDLE_BYTES: Final = TILE * (_LENGTH_BYTES + MAX_LINE_BYTES)
"""The longest bundle."""

_PLACE: Final = re.compile(r"((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


def tile_path(level: int, number: int, width: int = TILE) -> str:
    """The path of a tile of hashes, counted from 0 in its level."""
    return f"tile/{level}/{_place(number, width)}"


def entries_path(number: int, width: int = TILE) -> str:
    """The path of the bundle of lines of a tile of level 0."""
    return f"tile/entries/{_place(number, width)}"


def parse_place(place: str) -> tuple[int, int] | None:
    """Number and width of the tile at the end of a path, or None if it is none."""
    match = _PLACE.fullmatch(place)
    if match is None:
        return None
    number, width = int(re.sub(r"\D", "", match[1])), int(match[2] or TILE)
    return (number, width) if width <= TILE and place == _place(number, width) else None


def _place(number: int, width: int) -> str:
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    place = "/".join(reversed(groups))
    return place if width == TILE else f"{place}.p/{width}"


def encode_bundle(lines: Sequence[bytes]) -> bytes:
    """Join lines, each prefixed with its length (16 bits, big-endian)."""
    return b"".join(len(line).to_bytes(_LENGTH_BYTES, "big") + line for line in lines)


def decode_bundle(content: bytes) -> tuple[list[bytes], bool]:
    """The lines of a bundle, and whether it ends with the last of them."""
    lines, at = [], 0
    while at + _LENGTH_BYTES <= len(content):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(content[at:start], "big")
        if end > len(content):
            break
        lines.append(content[start:end])
        at = end
    return lines, at == len(content)


def split_tile(content: bytes) -> list[bytes]:
    """The hashes of a tile; the last one is shorter if the tile is not a whole number."""
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]
