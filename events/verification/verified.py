"""What an earlier verification found in a copy, so that only the rest is read.

It is stored beside the copy of a log. The hash of its last line covers all lines before it, and its
subtrees are those of the Merkle tree, so checkpoints of a longer log follow from the new lines alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from events.errors import DamagedLog
from events.io.files import write_durably
from events.log.file.commit_index import read_commit_point
from events.log.file.paths import commit_index_path
from events.log.port import Head
from events.record import START, Record
from events.transparency.merkle import Frontier
from events.transparency.signed_note import TreeHead
from events.verification.checks import MissingKeys, position_record
from events.verification.scan import ScanOptions, scan
from events.vocabulary.vocabulary import Vocabulary


class VerifiedPart(msgspec.Struct, frozen=True):
    """The first lines of a log file, as far as later lines are checked against them.

    The last line has ``position``, ``hash``, ``source`` and ``time``.
    ``end`` is the byte at which they end, ``subtrees`` has height and root of each subtree of their tree, and
    ``kinds`` are the kinds of resources that they declare.
    """

    position: int = 0
    hash: bytes = START.hash
    source: str = ""
    time: str = ""
    end: int = 0
    subtrees: list[tuple[int, bytes]] = []
    kinds: list[str] = []

    @property
    def head(self) -> Head:
        """The last line."""
        return Head(self.position, self.hash)

    @property
    def last(self) -> Record:
        """The last line, as a record that only marks the place."""
        return position_record(self.position, self.hash, self.source, self.time, self.end)

    def tree(self) -> Frontier:
        """The tree over the lines, to be continued."""
        tree = Frontier(self.position)
        tree.subtrees = list(self.subtrees)
        return tree


NOTHING: Final = VerifiedPart()


def load_verified(path: Path, checkpoint: TreeHead | None) -> VerifiedPart:
    """The part in a file, or `NOTHING`.

    It must be that of the checkpoint beside the copy.
    """
    try:
        part = msgspec.json.decode(path.read_bytes(), type=VerifiedPart)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING
    if checkpoint is None or (part.position, part.tree().root) != (
        checkpoint.size,
        checkpoint.root,
    ):
        return NOTHING
    return part


def store_verified(path: Path, part: VerifiedPart) -> None:
    """Store a part; raises `OSError`."""
    write_durably(path, msgspec.json.encode(part))


def verify_rest(
    path: Path,
    known: VerifiedPart,
    vocabulary: Vocabulary,
    keys: Mapping[str, bytes] | None,
    progress: Callable[[int], None],
) -> tuple[VerifiedPart, MissingKeys] | None:
    """Check the lines of a log file after the known ones, as `verify` checks all.

    Returns all lines as verified, and the users without a key in the new lines. Returns ``None``
    if the file is not intact up to its mark, or has more; `verify` explains that. Raises `OSError`.
    """
    published = None
    with suppress(FileNotFoundError, DamagedLog):
        published = read_commit_point(commit_index_path(path))
    if published is None or path.stat().st_size != published.offset:
        return None
    last, tree, kinds, missing = known.last, known.tree(), set(known.kinds), MissingKeys()
    options = ScanOptions(vocabulary, published.head.position, keys)
    cores = len(os.sched_getaffinity(0))
    for segment in scan(path, published.offset, options, cores, after=last, kinds=kinds):
        last = segment.last
        missing.merge(segment.missing_keys)
        kinds.update(event.kind for event, _ in segment.declared)
        for height, digest in segment.subtrees:
            tree.add(digest, height)
        progress(last.end)
    if (last.end, last.position, last.hash) != (published.offset, *_fields(published.head)):
        return None
    part = VerifiedPart(
        last.position,
        last.hash,
        last.source,
        last.time,
        last.end,
        tree.subtrees,
        sorted(kinds),
    )
    return part, missing


def _fields(head: Head) -> tuple[int, bytes]:
    return head.position, head.hash
