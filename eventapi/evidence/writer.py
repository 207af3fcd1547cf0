"""Write a pack of evidence: lines of the log, and everything that proves them.

docs/evidence.md describes the files. They are written one after the other, a few lines at a time, so
a pack of any size takes the same memory, except some 40 to 250 bytes for each of its lines (the more,
the farther apart they are), and the names of the user's resources while the lines are searched.
"""

from __future__ import annotations

import asyncio
from array import array
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from string import Template
from typing import Final

from eventapi.accounts.openings import record_openings
from eventapi.accounts.service import Client
from eventapi.evidence.archive import Archive
from eventapi.evidence.manifest import manifest_of, statement_of
from eventapi.evidence.opened import opened_row, sealed_for
from eventapi.evidence.openings import query_of
from eventapi.evidence.selection import Selected, Selection, merged
from eventapi.queries.history import RECORDS_PER_READ, History
from eventapi.queries.subscriptions import subject_of
from events.codec import MAX_LINE_BYTES, parse
from events.errors import NotFound, Overloaded
from events.sealing import Keyring
from events.transparency.checkpoints import Checkpoints
from events.transparency.merkle import uncovered_ranges
from events.transparency.signed_note import Note, TreeHead, Verifier

PACK: Final = Path(__file__).with_name("pack")
"""The files that are in every pack; they share no code with this program."""

_ROWS_PER_PART: Final = 64
_TWO_GIGABYTES: Final = 2**31
_HASH: Final = slice(-66, -2)
"""The place of the hash in a line."""


class EvidenceWriter:
    """Writes one pack; ``lines_read`` is its progress, up to ``lines_to_read``."""

    def __init__(
        self,
        selection: Selection,
        selected: Selected,
        history: History,
        checkpoints: Checkpoints,
        keyring: Keyring,
    ) -> None:
        """``keyring`` has the keys of all users; only with `Selection.open` are they used."""
        self._selection = selection
        self._selected = selected
        self._positions = selected.positions
        self._schemas = selected.schemas
        self._history = history
        self._checkpoints = checkpoints
        self._keyring = keyring
        self._collections: set[str] = set()
        self.lines_read = 0
        self.lines_to_read = len(selected.positions) * (2 if selection.open else 1)

    async def record_openings(self, client: Client, actor: str) -> int:
        """Record that ``actor`` opens the values, before `parts`; see `record_openings`.

        Raises `SigningSuspended`, because then nothing is opened.
        """
        await self._checkpoints.check()
        users: Counter[str] = Counter()
        async for lines in self._read(self._positions):
            users.update(user for user in map(sealed_for, lines) if user in self._keyring)
        query = await query_of(self._selection, self._selected, self._history)
        return await record_openings(client, actor, query, users)

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The bytes of the zip; a part may be empty.

        Raises `SigningSuspended` before the first part if the key of the log may not sign.
        """
        # First, because other processes may sign and submit a newer checkpoint at any time.
        cosigned = await self._cosigned()
        note = await self._checkpoints.current()
        verifier = await self._checkpoints.verifier()
        size = TreeHead.parse(note).size
        source = parse(await self._history.line_at(self._positions[0])).source
        archive = Archive()
        self._add_fixed(archive, verifier, source, size)
        archive.add("checkpoint.txt", str(note).encode())
        if cosigned is not None and verifier.verify(cosigned):  # The log may have begun a new key.
            await self._add_cosigned(archive, cosigned, size)
        yield archive.take()
        files = {"lines.jsonl": self._lines(), "schemas.jsonl": self._schema_lines()}
        if self._selection.open:
            files["opened.jsonl"] = self._opened()
        files["proofs.txt"] = self._proofs(size)
        is_large = len(self._positions) * MAX_LINE_BYTES > _TWO_GIGABYTES
        for name, content in files.items():
            with archive.file(name, is_large=is_large) as file:
                async for part in content:
                    file.write(part)
                    yield archive.take()
        yield await self._finish(archive, verifier, source)

    def _add_fixed(self, archive: Archive, verifier: Verifier, source: str, size: int) -> None:
        """Add the files for a person, the checks and the key."""
        readme = Template((PACK / "README.txt").read_text())
        values = {
            "about": _about(self._selection),
            "events": f"{len(self._positions):,}",
            "source": source,
            "key": verifier.vkey,
            "size": f"{size:,}",
        }
        archive.add("README.txt", readme.substitute(values).encode())
        for name in ("verify.html", "verify.py"):
            archive.add(name, (PACK / name).read_bytes())
        archive.add("log-key.txt", f"{verifier.vkey}\n".encode())

    async def _cosigned(self) -> Note | None:
        """The newest cosigned checkpoint, if there is one."""
        try:
            return await self._checkpoints.newest_cosigned()
        except NotFound:
            return None

    async def _add_cosigned(self, archive: Archive, cosigned: Note, size: int) -> None:
        """Add a cosigned checkpoint of an older size, and what leads from it."""
        old = TreeHead.parse(cosigned).size
        if old == size:
            return  # The checkpoint has these signatures itself.
        hashes = await self._checkpoints.tree.consistency(old, size)
        archive.add("cosigned.txt", str(cosigned).encode())
        archive.add("consistency.txt", b"".join(b64encode(one) + b"\n" for one in hashes))

    async def _finish(self, archive: Archive, verifier: Verifier, source: str) -> bytes:
        """Add the manifest, which covers the other files; return the rest of the zip."""
        statement = statement_of(source, self._selection, len(self._positions), archive.digests)
        signature = await self._checkpoints.attest(statement)
        if signature.name != verifier.name:
            raise Overloaded("the log began a new key while the evidence was collected; try again")
        archive.add("manifest.json", manifest_of(statement, b64encode(signature.box).decode()))
        return archive.finish()

    # The lines

    async def _lines(self) -> AsyncIterator[bytes]:
        async for lines in self._read(self._positions):
            self._collections |= {subject_of(line).partition("/")[0] for line in lines}
            self.lines_read += len(lines)
            yield b"".join(line + b"\n" for line in lines)

    async def _schema_lines(self) -> AsyncIterator[bytes]:
        async for lines in self._read(self._schema_positions()):
            yield b"".join(line + b"\n" for line in lines)

    def _schema_positions(self) -> list[int]:
        """The positions of declarations that are not selected themselves."""
        declared = {at for one in self._collections for at in self._schemas.get(one, ())}
        return sorted(declared.difference(self._positions))

    async def _opened(self) -> AsyncIterator[bytes]:
        async for lines in self._read(self._positions):
            self.lines_read += len(lines)
            yield b"".join(opened_row(line, self._keyring) for line in lines)

    async def _read(self, positions: Sequence[int]) -> AsyncIterator[list[bytes]]:
        for start in range(0, len(positions), RECORDS_PER_READ):
            yield await self._history.lines(positions[start : start + RECORDS_PER_READ])

    # The proofs

    async def _proofs(self, size: int) -> AsyncIterator[bytes]:
        """The roots of the subtrees between the lines, and the hashes before the lines."""
        positions = array("Q", merged(self._positions, self._schema_positions()))
        ranges = uncovered_ranges(array("Q", (position - 1 for position in positions)), size)
        while some := list(islice(ranges, _ROWS_PER_PART)):
            roots = [(*one, await self._checkpoints.tree.subtree_root(*one)) for one in some]
            rows = (b"tree %d %d %s\n" % (a, b, b64encode(root)) for a, b, root in roots)
            yield b"".join(rows)
            await asyncio.sleep(0)
        before = array(
            "Q",
            (
                position - 1
                for previous, position in pairwise(chain([0], positions))
                if previous != position - 1
            ),
        )
        async for run in self._numbered(before):
            yield b"".join(b"before %d %s\n" % (at + 1, line[_HASH]) for at, line in run)

    async def _numbered(
        self, positions: Sequence[int]
    ) -> AsyncIterator[Iterator[tuple[int, bytes]]]:
        read = 0
        async for lines in self._read(positions):
            yield zip(positions[read : read + len(lines)], lines, strict=True)
            read += len(lines)


def _about(selection: Selection) -> str:
    about = selection.name if selection.user is None else f"the user {selection.name}"
    parts = {"from": selection.since, "up to": selection.until}
    return about + "".join(f", {word} {at}" for word, at in parts.items() if at is not None)
