"""The bytes of a simulated log, found without the code under test.

A log is its closed segments and its open file, whose first line states where the file begins.
"""

from __future__ import annotations

import re
from functools import lru_cache

import zstandard

from tests.fault_injection.simulation.disk import File, Folder, Node

DATA = "data"
LOG = (DATA, "events.jsonl")
SEGMENTS = (DATA, "events.jsonl.segments")

_FIRST = re.compile(rb'\{"specversion":"1\.0","id":"([0-9]+)"')
_NAME = re.compile(r"([0-9]{16})-([0-9]{16})\.jsonl\.zst")


def whole_log(root: Folder, *, is_durable: bool = False) -> bytes | None:
    """The log that processes see, or the one after a power cut that keeps only what was synced.

    ``None`` if there is no log, or if its closed segments do not lead to its open file.
    """
    file = _lookup(root, LOG, is_durable)
    if not isinstance(file, File):
        return None
    content = _content(file, is_durable)
    stated = _FIRST.match(content)
    first = int(stated[1]) if stated else 1
    parts, due = [], 1
    for one, last, segment in _segments(root, is_durable):
        if last >= first:
            break
        lines = _decompressed(_content(segment, is_durable))
        if one != due or lines is None:
            return None
        parts.append(lines)
        due = last + 1
    return b"".join((*parts, content)) if due == first else None


def log_files(root: Folder) -> list[File]:
    """The files that a log consists of."""
    file = _lookup(root, LOG, is_durable=False)
    segments = [segment for _, __, segment in _segments(root, is_durable=False)]
    return [*segments, *([file] if isinstance(file, File) else [])]


def _segments(root: Folder, is_durable: bool) -> list[tuple[int, int, File]]:
    folder = _lookup(root, SEGMENTS, is_durable)
    if not isinstance(folder, Folder):
        return []
    entries = folder.durable if is_durable else folder.entries
    named = ((_NAME.fullmatch(name), node) for name, node in sorted(entries.items()))
    return [
        (int(name[1]), int(name[2]), node) for name, node in named if name if isinstance(node, File)
    ]


def _lookup(root: Folder, parts: tuple[str, ...], is_durable: bool) -> Node | None:
    node: Node | None = root
    for part in parts:
        if not isinstance(node, Folder):
            return None
        node = (node.durable if is_durable else node.entries).get(part)
    return node


def _content(file: File, is_durable: bool) -> bytes:
    return bytes(file.platter if is_durable else file.cache)


@lru_cache(maxsize=256)
def _decompressed(segment: bytes) -> bytes | None:
    try:
        stream = zstandard.ZstdDecompressor().stream_reader(segment, read_across_frames=True)
        return stream.read()
    except zstandard.ZstdError:
        return None
