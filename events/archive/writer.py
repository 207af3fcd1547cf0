"""Write a log into an archive, or what is new in it.

The order is what makes a crash harmless: first every bundle and tile, then the checkpoint, then
the removal of partial tiles that a complete one has replaced. Objects are functions of the log, and
their names contain their widths. So a run that is repeated, or two at the same time, write the same
bytes, and what an interrupted run wrote beyond the checkpoint does not count. Before the checkpoint
is stored, it is compared with the one that is there then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from events.archive.edge import RightEdge, edge_tiles, read_checkpoint, tree_of
from events.archive.objects import CHECKPOINT, Objects
from events.errors import DamagedLog, DivergedLog, LogUnreachable
from events.log.port import EventLog
from events.messages.archives import ARCHIVE_OVERTAKEN, LOG_CHANGED
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note, TreeHead
from events.transparency.tiles import TILE, encode_bundle, entries_path, tile_path

_PUTS_AT_ONCE: Final = 8

RootAt = Callable[[int], Awaitable[bytes]]


class Written(msgspec.Struct):
    """What a run wrote: how many objects, and their bytes."""

    objects: int = 0
    bytes: int = 0


async def write_archive(
    log: EventLog,
    objects: Objects,
    note: Note,
    *,
    archived: int,
    edge: RightEdge | None,
    root_at: RootAt,
    progress: Callable[[int], None],
) -> Written:
    """Write the lines up to the checkpoint ``note`` of the log, and then that.

    The archive has ``archived`` lines and the right edge ``edge``, which the log must continue;
    without an edge every object is written. Raises `DivergedLog` if the lines are not those of the
    checkpoint, and the errors of `store_checkpoint` and the ports; then the checkpoint is as it was.
    """
    head = TreeHead.parse(note)
    uploads = _Uploads(objects)
    tiles = _Tiles(edge)
    async for lines in _by_tile(log, tiles.size, head.size):
        for name, content in tiles.add(lines):
            await uploads.put(name, content)
        progress(tiles.size)
    for name, content in tiles.partial():
        await uploads.put(name, content)
    await uploads.finish()
    if tree_of(tiles.levels).root != head.root:
        raise DivergedLog(LOG_CHANGED)
    await objects.flush()
    stored = await store_checkpoint(objects, note, root_at)
    await _remove_replaced(objects, archived, head.size)
    written = uploads.written
    return Written(written.objects + stored.objects, written.bytes + stored.bytes)


async def store_checkpoint(objects: Objects, note: Note, root_at: RootAt) -> Written:
    """Store a checkpoint, unless the archive has one of the same lines.

    The archive may have another one than when the run began, because of another run. ``root_at``
    returns the root of the first lines of the log. Raises `DivergedLog` if the checkpoint in the
    archive is not of some of these lines.
    """
    head, shown = TreeHead.parse(note), None
    with suppress(DamagedLog):  # Only --rewrite begins with a damaged one, to replace it.
        shown = await read_checkpoint(objects)
    if shown is not None:
        found = TreeHead.parse(shown)
        if found.size > head.size or await root_at(found.size) != found.root:
            raise DivergedLog(ARCHIVE_OVERTAKEN.fill(place=objects.name, archived=found.size))
        if found.size == head.size and not _may_replace(shown, note):
            return Written()
    content = str(note).encode()
    await objects.put(CHECKPOINT, content)
    await objects.flush()
    return Written(1, len(content))


def _may_replace(shown: Note, note: Note) -> bool:
    """Whether a note differs only in its signatures, of which it has no fewer."""
    is_like = note.text == shown.text and len(note.signatures) >= len(shown.signatures)
    return is_like and note != shown


async def _by_tile(log: EventLog, after: int, upto: int) -> AsyncIterator[list[bytes]]:
    """Yield the lines of one tile at a time."""
    rest: list[bytes] = []
    async for lines in log.read(after, upto):
        rest += lines
        for start in range(0, len(rest) - TILE + 1, TILE):
            yield rest[start : start + TILE]
        del rest[: len(rest) // TILE * TILE]
    if rest:
        yield rest


class _Tiles:
    """Makes bundles and tiles from the lines after the last complete tile of an edge."""

    def __init__(self, edge: RightEdge | None) -> None:
        size = 0 if edge is None else edge.head.size
        self.size = size - size % TILE
        self.levels: list[list[bytes]] = [[]]
        """The hashes of each level after its last complete tile."""
        if edge is not None:
            self.levels += [[*hashes] for hashes in edge.levels[1:]]

    def add(self, lines: list[bytes]) -> Iterator[tuple[str, bytes]]:
        """Add the lines of a tile, fewer only at the end; yield names and contents."""
        number, width = self.size // TILE, len(lines)
        self.size += width
        yield entries_path(number, width), encode_bundle(lines)
        hashes = [leaf_hash(line) for line in lines]
        yield tile_path(0, number, width), b"".join(hashes)
        if width < TILE:
            self.levels[0] = hashes
            return
        level = 0
        while len(hashes) == TILE:
            level, digest = level + 1, root_of(hashes)
            if level == len(self.levels):
                self.levels.append([])
            hashes = self.levels[level]
            hashes.append(digest)
            if len(hashes) == TILE:
                self.levels[level] = []
                yield tile_path(level, number >> 8 * level), b"".join(hashes)

    def partial(self) -> Iterator[tuple[str, bytes]]:
        """Yield the partial tiles of the levels above the lowest."""
        for level, number, width in edge_tiles(self.size):
            if level:
                yield tile_path(level, number, width), b"".join(self.levels[level])


async def _remove_replaced(objects: Objects, archived: int, size: int) -> None:
    """Remove partial tiles that are complete now; only the last ones can have any.

    One that cannot be removed, because that is not permitted, is harmless.
    """
    for level, number, _ in edge_tiles(archived):
        if number < size >> 8 * (level + 1):
            folders = [tile_path(level, number)] + [entries_path(number)] * (level == 0)
            for folder in folders:
                with suppress(LogUnreachable):
                    await objects.delete(await objects.names(f"{folder}.p"))
    await objects.flush()


class _Uploads:
    """Puts a few objects at a time."""

    def __init__(self, objects: Objects) -> None:
        self.written = Written()
        self._objects = objects
        self._running = set[asyncio.Task[None]]()

    async def put(self, name: str, content: bytes) -> None:
        """Begin to put an object; raises the error of an earlier one."""
        while len(self._running) >= _PUTS_AT_ONCE:
            await self._wait(asyncio.FIRST_COMPLETED)
        self._running.add(asyncio.create_task(self._objects.put(name, content)))
        self.written.objects += 1
        self.written.bytes += len(content)

    async def finish(self) -> None:
        """Wait for all."""
        if self._running:
            await self._wait(asyncio.ALL_COMPLETED)

    async def _wait(self, until: str) -> None:
        done, self._running = await asyncio.wait(self._running, return_when=until)
        errors = [error for task in done if (error := task.exception())]
        if errors:
            await asyncio.gather(*self._running, return_exceptions=True)
            self._running = set()
            raise errors[0]
