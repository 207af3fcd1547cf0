"""Archives in memory for tests, of lines that are small and mean nothing."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from random import Random

from events.archive.check import ArchiveExport
from events.archive.edge import read_checkpoint, read_edge
from events.archive.objects import Objects
from events.archive.reader import ArchivedLog
from events.archive.writer import Written, write_archive
from events.errors import LogUnreachable
from events.log.memory import MemoryLog
from events.log.port import Head
from events.transparency.merkle import leaf_hash, root_of
from events.transparency.signed_note import Note, Signer, TreeHead

SIGNER = Signer.from_seed(bytes(range(32)), "eventapi/")


class CrashError(Exception):
    """The process ended."""


class MemoryObjects:
    """Objects in memory; an operation can be the last one, and a crash loses what was not flushed."""

    name = "memory"

    def __init__(self, content: Mapping[str, bytes] | None = None) -> None:
        self.content = dict(content or {})
        self.durable = dict(self.content)
        self.gets: list[str] = []
        self.running = 0
        self.most_running = 0
        self.operations_left: int | None = None
        self.is_unreachable = False

    async def get(self, name: str, limit: int) -> bytes | None:
        if self.is_unreachable:
            raise LogUnreachable("the storage does not answer")
        self.gets.append(name)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0)
        self.running -= 1
        found = self.content.get(name)
        return None if found is None else found[: limit + 1]

    async def put(self, name: str, content: bytes) -> None:
        await self._operate()
        self.content[name] = content

    async def flush(self) -> None:
        await self._operate()
        self.durable = dict(self.content)

    async def names(self, folder: str) -> Sequence[str]:
        await self._operate()
        return [name for name in self.content if name.rpartition("/")[0] == folder]

    async def delete(self, names: Collection[str]) -> None:
        for name in names:
            await self._operate()
            self.content.pop(name, None)

    async def _operate(self) -> None:
        await asyncio.sleep(0)
        if self.operations_left is not None:
            if self.operations_left == 0:
                raise CrashError
            self.operations_left -= 1

    def after_crash(self, chance: Random) -> MemoryObjects:
        """What is there after a power cut: of what was not flushed, any part may be lost."""
        names = self.content.keys() | self.durable.keys()
        found = {}
        for name in names:
            state = self.content if chance.random() < 0.5 else self.durable
            if name in state:
                found[name] = state[name]
        return MemoryObjects(found)


def small_lines(count: int, seed: int = 0) -> list[bytes]:
    """Different lines of a few bytes, some of them empty or with newlines."""
    chance = Random(seed)
    return [b"%d:" % number + chance.randbytes(number % 5) for number in range(count)]


def log_of(lines: Sequence[bytes]) -> MemoryLog:
    return MemoryLog([*lines], Head(len(lines), bytes(32)))


def note_of(lines: Sequence[bytes]) -> Note:
    """The checkpoint of these lines."""
    root = root_of([leaf_hash(line) for line in lines])
    return SIGNER.sign(str(TreeHead(SIGNER.verifier.name, len(lines), root)))


async def _root_at(lines: Sequence[bytes], size: int) -> bytes:
    return root_of([leaf_hash(line) for line in lines[:size]])


async def archive(
    lines: Sequence[bytes], objects: Objects, note: Note | None = None, *, rewrite: bool = False
) -> Written:
    """Archive lines as the command does that has checked them."""
    before = await read_checkpoint(objects)
    edge = None if before is None or rewrite else await read_edge(objects, before)
    return await write_archive(
        log_of(lines),
        objects,
        note or note_of(lines),
        archived=0 if before is None else TreeHead.parse(before).size,
        edge=edge,
        root_at=partial(_root_at, lines),
        progress=lambda _: None,
    )


async def lines_in(objects: Objects, after: int = 0, upto: int | None = None) -> list[bytes]:
    """Open an archive and read lines."""
    log = await ArchivedLog.open(objects)
    return [line async for run in log.read(after, upto) for line in run]


async def findings_of(objects: Objects) -> list[str]:
    """What is wrong with the objects, for an archive with a readable checkpoint."""
    note = await read_checkpoint(objects)
    assert note is not None
    export = ArchiveExport(objects, TreeHead.parse(note))
    await export.write(io.BytesIO(), lambda _: None)
    return [f"{one.kind} {one.position} {one.detail}" for one in export.findings]
