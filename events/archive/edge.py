"""The checkpoint of an archive, and the right edge of its tree.

The right edge are the hashes of each level after the last complete tile: all of them together give
the root. So they are proven by the checkpoint alone, and prove every other tile.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from events.archive.damage import damaged
from events.archive.objects import CHECKPOINT, MAX_CHECKPOINT_BYTES, Objects
from events.transparency.merkle import HASH_BYTES, Frontier
from events.transparency.signed_note import Note, TreeHead
from events.transparency.tiles import (
    MAX_BUNDLE_BYTES,
    TILE,
    decode_bundle,
    encode_bundle,
    entries_path,
    split_tile,
    tile_path,
)

TILE_BYTES = TILE * HASH_BYTES


def widths_at(size: int) -> list[int]:
    """The widths of the partial tiles of a tree, by level; 0 where there is none."""
    return [size >> shift & (TILE - 1) for shift in range(0, max(size.bit_length(), 1), 8)]


class RightEdge(msgspec.Struct, frozen=True):
    """An archive's checkpoint, and the hashes at the right edge of its tree."""

    note: Note
    head: TreeHead
    levels: list[list[bytes]]

    def tree(self) -> Frontier:
        """The tree over all lines, to be continued."""
        return tree_of(self.levels)


def tree_of(levels: list[list[bytes]]) -> Frontier:
    """The tree with these hashes of each level after the last complete tile."""
    tree = Frontier()
    for level in reversed(range(len(levels))):
        for digest in levels[level]:
            tree.add(digest, 8 * level)
    return tree


async def read_checkpoint(objects: Objects) -> Note | None:
    """The checkpoint of an archive, or None if there is none; raises `DamagedLog`."""
    content = await objects.get(CHECKPOINT, MAX_CHECKPOINT_BYTES)
    if content is None:
        return None
    try:
        note = Note.parse(content.decode())
        TreeHead.parse(note)
    except UnicodeDecodeError:
        raise damaged(objects.name, f"{CHECKPOINT} is not text in UTF-8", 1) from None
    except ValueError as error:
        raise damaged(objects.name, f"{CHECKPOINT}: {error}", 1) from None
    return note


async def has_lines(objects: Objects) -> bool:
    """Whether there is a bundle of lines, which an interrupted first run leaves, too."""
    first = entries_path(0)
    names = await objects.names(first.rpartition("/")[0]) or await objects.names(f"{first}.p")
    return bool(names)


async def read_edge(objects: Objects, note: Note) -> RightEdge:
    """Read the right edge; raises `DamagedLog` unless it gives the checkpoint's root."""
    head = TreeHead.parse(note)
    paths, levels = [CHECKPOINT], list[list[bytes]]()
    for level, number, width in edge_tiles(head.size):
        path = tile_path(level, number, width)
        content = await get_tile(objects, level, number, width)
        if content is None or len(content) != width * HASH_BYTES:
            wrong = "is missing" if content is None else f"is not {width} hashes long"
            position = (number * TILE << 8 * level) + 1
            raise damaged(objects.name, f"{path} {wrong}", position)
        levels += [[] for _ in range(level - len(levels))] + [split_tile(content)]
        paths.append(path)
    if tree_of(levels).root != head.root:
        reason = f"one of these is not what was written: {', '.join(paths)}"
        raise damaged(objects.name, reason, max(head.size, 1))
    return RightEdge(note, head, levels)


def edge_tiles(size: int) -> Iterator[tuple[int, int, int]]:
    """Level, number and width of the partial tiles of a tree."""
    for level, width in enumerate(widths_at(size)):
        if width:
            yield level, size >> 8 * (level + 1), width


async def get_tile(objects: Objects, level: int, number: int, width: int = TILE) -> bytes | None:
    """The bytes of a tile; a partial one may have been replaced by the complete one."""
    content = await objects.get(tile_path(level, number, width), width * HASH_BYTES)
    if content is None and width < TILE:
        content = await objects.get(tile_path(level, number), TILE_BYTES)
        if content is not None and len(content) == TILE_BYTES:
            content = content[: width * HASH_BYTES]
    return content


async def get_bundle(objects: Objects, number: int, width: int) -> bytes | None:
    """The bytes of a bundle; a partial one may have been replaced by the complete one."""
    content = await objects.get(entries_path(number, width), MAX_BUNDLE_BYTES)
    if content is None and width < TILE:
        content = await objects.get(entries_path(number), MAX_BUNDLE_BYTES)
        lines, is_whole = decode_bundle(content or b"")
        if is_whole and len(lines) == TILE:
            content = encode_bundle(lines[:width])
    return content
