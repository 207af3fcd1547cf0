"""The checkpoints of the log: signed heads of its tree, of which no two contradict each other.

What was signed last is kept beside the log and outlives it: a log that was put back to an older
copy, or changed, does not continue it, and nothing is signed for it. Whoever signs holds a lock on
the key, so all processes on a log sign one after another.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import ConfigurationError, DivergedLog, Fault, Invalid, LogUnavailable
from events.files import make_directory, make_private, write_durably
from events.notes import Consistency, Inclusion, Note, Signer, TreeHead, Verifier
from projections.tree import Tree

_NAME = "eventapi/"
"""How the names of keys begin that are made here."""


class Checkpoints:
    """Signs for the tree of one log.

    ``key`` is the file of the private key, made with mode 0600 where there is none; the last
    checkpoint lies beside it, as does what witnesses said of it. Without a file both are kept in
    memory.
    """

    def __init__(self, tree: Tree, key: Path | None) -> None:
        self.tree = tree
        self._key = key
        self._signer = Signer.from_seed(secrets.token_bytes(32), _NAME) if key is None else None
        self._last: Note | None = None
        self._signing = asyncio.Lock()

    @property
    def verifier(self) -> Verifier:
        """Who checks the signatures; raises `ConfigurationError` where the key cannot be used."""
        return self._signed_by().verifier

    async def current(self) -> Note:
        """The checkpoint of all that is published by now.

        Raises `DivergedLog` where the log does not continue what was signed before.
        """
        signer = self._signed_by()
        async with self._signing:
            while True:
                last = await asyncio.to_thread(self._read)
                head = TreeHead.of(last) if last is not None else None
                size = await self.tree.grow()
                if head is not None:
                    await self._check(head, size)
                    if last is not None and (head.origin, head.size) == (
                        signer.verifier.name,
                        size,
                    ):
                        return last
                root = await self.tree.root(size)
                note = signer.sign(str(TreeHead(signer.verifier.name, size, root)))
                if await asyncio.to_thread(self._replace, last, note):
                    return note

    async def _check(self, head: TreeHead, size: int) -> None:
        if head.size > size:
            raise DivergedLog(
                f"a checkpoint of {head.size} events was signed, but the log has {size}: "
                "nothing is signed for it any more"
            )
        if await self.tree.root(head.size) != head.root:
            raise DivergedLog(
                f"the log is not the one whose first {head.size} events were signed: "
                "nothing is signed for it any more"
            )

    async def inclusion(self, position: int) -> Inclusion:
        """The proof that the record at a position, which there is, stands in the log."""
        note = await self.current()
        hashes = await self.tree.inclusion(position - 1, TreeHead.of(note).size)
        return Inclusion(position - 1, hashes, note)

    async def consistency(self, old: int) -> Consistency:
        """The proof that the log continues what its first ``old`` records were.

        Raises `Invalid` where there are not that many.
        """
        note = await self.current()
        size = TreeHead.of(note).size
        if old > size:
            raise Invalid(Fault("", f"the checkpoint is of {size} events"))
        return Consistency(old, await self.tree.consistency(old, size), note)

    async def cosign(self, content: str) -> Note:
        """Keep the signatures of witnesses under the current checkpoint, as they come.

        ``content`` is that checkpoint with their lines. Raises `Invalid` where it is another one.
        """
        try:
            given = Note.of(content)
        except ValueError as error:
            raise Invalid(Fault("", str(error))) from None
        async with self._signing:
            last = await asyncio.to_thread(self._read)
            if last is None or given.text != last.text:
                raise Invalid(Fault("", "this is not the checkpoint that was signed last"))
            more = [one for one in given.signatures if one not in last.signatures]
            note = Note(last.text, [*last.signatures, *more])
            if not await asyncio.to_thread(self._replace, last, note):
                raise Invalid(Fault("", "another checkpoint was signed meanwhile"))
        return note

    # What is kept

    @property
    def _file(self) -> Path:
        assert self._key is not None  # noqa: S101 - for the type checker
        return self._key.with_name(self._key.name.removesuffix(".key") + ".checkpoint")

    def _signed_by(self) -> Signer:
        if self._signer is None and self._key is not None:
            self._signer = _kept(self._key)
        assert self._signer is not None  # noqa: S101 - for the type checker
        return self._signer

    def _read(self) -> Note | None:
        if self._key is None:
            return self._last
        try:
            note = Note.of(self._file.read_text(encoding="utf-8"))
            TreeHead.of(note)  # Else it is a note, and no checkpoint.
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise DivergedLog(f"the checkpoint {self._file} cannot be read: {error}") from None
        return note

    def _replace(self, last: Note | None, note: Note) -> bool:
        """Keep ``note``, unless something else was kept meanwhile than ``last``."""
        if self._key is None:
            self._last = note
            return True
        try:
            with _locked(self._key):
                if self._read() != last:
                    return False
                write_durably(self._file, str(note).encode())
                return True
        except OSError as error:
            raise LogUnavailable(f"the checkpoint cannot be kept: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _kept(path: Path) -> Signer:
    """The signer in a file, made where there is none; any number of processes get the same."""
    try:
        make_directory(path.parent)
        if not path.exists():
            signer = Signer.from_seed(secrets.token_bytes(32), _NAME)
            make_private(path, signer.skey.encode())
        return Signer.of(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the log's key {path} cannot be read or made: {error}") from error
