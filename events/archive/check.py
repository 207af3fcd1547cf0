"""Find all damage of an archive's objects, and export its lines to a file.

Every tile is compared with the objects below it, from the lines up to the checkpoint: a damaged
tile differs from those, and from the tile above it. The lines themselves are judged by
`events.verification`, so the export has all that can be read, and a gap where nothing can.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import BinaryIO

import msgspec

from events.archive.ahead import fetch_ahead
from events.archive.edge import edge_tiles, get_bundle, get_tile, tree_of
from events.archive.objects import CHECKPOINT, Objects
from events.transparency.merkle import HASH_BYTES, leaf_hash, root_of
from events.transparency.signed_note import TreeHead
from events.transparency.tiles import (
    TILE,
    decode_bundle,
    entries_path,
    split_tile,
    tile_path,
)
from events.verification.report import MAX_FINDINGS, Finding, Kind, Report

_Fetched = tuple[bytes | None, bytes | None]
"""The contents of a bundle and of the tile over its lines."""


class _Child(msgspec.Struct, frozen=True):
    """The tile that a hash is the root of: its name, and the place of its first line."""

    digest: bytes
    name: str
    position: int
    offset: int


class ArchiveExport:
    """Exports an archive, and collects the findings about its objects."""

    def __init__(self, objects: Objects, head: TreeHead) -> None:
        self.findings: list[Finding] = []
        self._objects = objects
        self._size = head.size
        self._head = head
        self._offset = 0
        self._levels: list[list[_Child]] = [[]]
        """Of each level above the lowest what the next tile should have."""
        self._edge: list[list[bytes]] = [[]]
        """The hashes of the partial tiles."""

    async def write(self, out: BinaryIO, progress: Callable[[int], None]) -> None:
        """Write the lines, each with a newline; raises `LogUnreachable`."""
        absent = number = 0
        numbers = range(-(-self._size // TILE))
        async with aclosing(fetch_ahead(self._fetch, numbers)) as fetched:
            async for bundle, tile in fetched:
                lines = self._lines_of(number, bundle)
                out.write(b"".join(line + b"\n" for line in lines))
                await self._check_lowest(number, lines, tile)
                self._offset += sum(map(len, lines)) + len(lines)
                number += 1
                progress(min(number * TILE, self._size))
                absent = absent + 1 if bundle is None and tile is None else 0
                if absent > MAX_FINDINGS:
                    return  # It is the size that is wrong: nothing is there.
        await self._check_edge()

    def _width(self, number: int) -> int:
        return min(TILE, self._size - number * TILE)

    async def _fetch(self, number: int) -> _Fetched:
        width = self._width(number)
        bundle = await get_bundle(self._objects, number, width)
        return bundle, await get_tile(self._objects, 0, number, width)

    def _lines_of(self, number: int, bundle: bytes | None) -> list[bytes]:
        """The lines of a bundle that can be read, at most those that it should have."""
        width = self._width(number)
        path, first = entries_path(number, width), number * TILE + 1
        if bundle is None:
            self._report("missing", first, self._offset, f"{path} is missing")
            return []
        lines, is_whole = decode_bundle(bundle)
        if not is_whole or len(lines) != width:
            at = first + min(len(lines), width - 1)
            ends = "" if is_whole else ", and further bytes"
            detail = f"{path} has {len(lines)} whole lines{ends}, instead of {width}"
            self._report("damaged", at, self._offset, detail)
        return lines[:width]

    async def _check_lowest(self, number: int, lines: list[bytes], tile: bytes | None) -> None:
        """Compare a tile of the lowest level with the lines below it."""
        width, first = self._width(number), number * TILE + 1
        leaves = [leaf_hash(line) for line in lines]
        path = tile_path(0, number, width)
        hashes = self._hashes_of(path, tile, width, first)
        if hashes is not None and len(leaves) == width:
            differing = [index for index in range(width) if hashes[index] != leaves[index]]
            if differing:
                at = differing[0]
                offset = self._offset + sum(len(line) + 1 for line in lines[:at])
                more = f", and {len(differing) - 1} more" if differing[1:] else ""
                detail = (
                    f"{path} has another hash than the line in {entries_path(number, width)}{more}"
                )
                self._report("tile", first + at, offset, detail)
        found = leaves if hashes is None else hashes
        if width < TILE:
            self._edge[0] = found
            return
        await self._add(1, _Child(root_of(found), path, first, self._offset))

    def _hashes_of(
        self, path: str, content: bytes | None, width: int, position: int
    ) -> list[bytes] | None:
        if content is None:
            self._report("tile", position, self._offset, f"{path} is missing")
        elif len(content) != width * HASH_BYTES:
            self._report("tile", position, self._offset, f"{path} is not {width} hashes long")
        else:
            return split_tile(content)
        return None

    async def _add(self, level: int, child: _Child) -> None:
        """Add a complete tile of the level below, and check the tile that it completes."""
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(child)
        if len(self._levels[level]) == TILE:
            children, self._levels[level] = self._levels[level], []
            number = children[0].position - 1 >> 8 * (level + 1)
            found = await self._compare(level, number, children)
            first = children[0]
            path = tile_path(level, number)
            await self._add(level + 1, _Child(root_of(found), path, first.position, first.offset))

    async def _compare(self, level: int, number: int, children: list[_Child]) -> list[bytes]:
        """The hashes of a tile, compared with the tiles below it."""
        width = len(children)
        path = tile_path(level, number, width)
        content = await get_tile(self._objects, level, number, width)
        hashes = self._hashes_of(path, content, width, children[0].position)
        for child, digest in zip(children, hashes or (), strict=False):
            if child.digest != digest:
                detail = f"{path} has another hash than {child.name} gives"
                self._report("tile", child.position, child.offset, detail)
        return [child.digest for child in children] if hashes is None else hashes

    async def _check_edge(self) -> None:
        for level, number, _ in edge_tiles(self._size):
            if level:
                self._edge += [[] for _ in range(level - len(self._edge) + 1)]
                children = self._levels[level]
                self._edge[level] = await self._compare(level, number, children)
        if tree_of(self._edge).root != self._head.root:
            detail = f"the last tiles do not give the root in {CHECKPOINT}"
            self._report("tile", max(self._size, 1), self._offset, detail)

    def _report(self, kind: Kind, position: int, offset: int, detail: str) -> None:
        self.findings.append(Finding(kind, position, offset, detail))


def with_objects(report: Report, export: ArchiveExport, size: int) -> Report:
    """Merge the findings about objects into the report on the lines.

    The first finding of each kind is always listed, because the verdict depends on the kinds.
    """
    named = [_with_name(finding, size) for finding in report.findings]
    found = sorted([*export.findings, *named], key=lambda one: one.position)
    first = {one.kind: one for one in reversed(found)}
    rest = [one for one in found if one is not first[one.kind]]
    listed = [*first.values(), *rest][:MAX_FINDINGS]
    return msgspec.structs.replace(
        report,
        findings=sorted(listed, key=lambda one: one.position),
        left_off=report.left_off + len(found) - len(listed),
    )


def _with_name(finding: Finding, size: int) -> Finding:
    if finding.kind not in {"damaged", "gap", "unknown-event"}:
        return finding
    number = min(max(finding.position, 1), max(size, 1)) - 1 >> 8
    path = entries_path(number, min(TILE, size - number * TILE))
    return msgspec.structs.replace(finding, detail=f"{path}: {finding.detail}")
