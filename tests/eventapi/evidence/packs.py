"""Make packs of evidence in this process, and check them as an outsider does."""

from __future__ import annotations

import asyncio
import importlib.util
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec
import pytest

from eventapi.evidence import writer as writing
from eventapi.evidence.selection import Selection, select
from eventapi.evidence.writer import PACK, EvidenceWriter
from eventapi.queries.history import History
from eventapi.queries.subscriptions import LogWatcher
from eventapi.testing.given import Happened, created, folded_records, registered, started
from eventapi.testing.sample_log import Written, erased_users, key_of, write
from events.sealing import Keyring
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note, Signer
from events.transparency.signing.memory import MemorySigning
from events.transparency.tree import Tree
from events.vault.memory import MemoryVault
from tests.eventapi.http.resources.kinds import KINDS

Files = Mapping[str, bytes]
WITNESS = Signer.from_seed(bytes(range(32)), "witness/")


class Found(msgspec.Struct, frozen=True):
    """A fault that a check reports; line 0 is the whole file."""

    file: str
    line: int
    text: str


def load_checker(path: Path = PACK / "verify.py") -> ModuleType:
    """The program that is in every pack."""
    spec = importlib.util.spec_from_file_location("verify_pack", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECKER: Any = load_checker()


class World:
    """A log with its state, and the means to collect evidence from it."""

    def __init__(self, written: Written) -> None:
        self.written = written
        log = written.log
        self.state = folded_records(written.records, *(one.type for one in KINDS.resources))
        self.keyring = Keyring()
        for subject in written.keys.keys() - erased_users(self.state):
            self.keyring.add(subject, key_of(subject))
        vocabulary = self.state.vocabulary
        self.history = History(log, self.keyring, MemoryVault(), None, lambda: vocabulary)
        self.watcher = LogWatcher(log)
        self.signing = MemorySigning()
        self.checkpoints = Checkpoints(Tree(log), self.signing)

    async def positions(self, selection: Selection) -> Sequence[int]:
        """The positions that a selection selects."""
        return (await select(selection, self.state, self.history, self.watcher)).positions

    async def pack(self, selection: Selection) -> bytes:
        """The zip of a selection."""
        selected = await select(selection, self.state, self.history, self.watcher)
        writer = EvidenceWriter(selection, selected, self.history, self.checkpoints, self.keyring)
        content = b"".join([part async for part in writer.parts()])
        assert writer.lines_read == writer.lines_to_read
        return content


def small_history() -> list[Happened]:
    """Two users with items and a session."""
    items = [created(number, 1 + number % 2, f"title {number}") for number in range(1, 40)]
    return [registered(1, "ann"), registered(2, "ben"), started("s1", 1), *items]


async def with_witness(world: World, cosigned: int, selection: Selection) -> dict[str, bytes]:
    """The files of a pack, made after a witness signed at a size and the log grew from there."""
    written = world.written
    old = World(Written(written.lines[:cosigned], written.records[:cosigned], written.keys))
    old.checkpoints = Checkpoints(Tree(old.written.log), world.signing)
    note = await old.checkpoints.current()
    signatures = [*note.signatures, *WITNESS.sign(note.text).signatures]
    await old.checkpoints.cosign(str(Note(note.text, signatures)))
    return files_in(await world.pack(selection))


def make_tiny_pack() -> bytes:
    """The zip of a pack of one line, without the long programs, so that it has few bits."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("README.txt", "verify.html", "verify.py"):
            (Path(folder) / name).write_text(f"{name} is short here\n")
        patch.setattr(writing, "PACK", Path(folder))
        return asyncio.run(World(write(small_history())).pack(Selection(subject="items/1")))


tiny_pack = cache(make_tiny_pack)


def files_in(content: bytes) -> dict[str, bytes]:
    """The files of a zip by name."""
    with ZipFile(io.BytesIO(content)) as pack:
        return {name: pack.read(name) for name in pack.namelist()}


def zipped(files: Files, compression: int = ZIP_DEFLATED) -> bytes:
    """A zip that another program could have made."""
    content = io.BytesIO()
    with ZipFile(content, "w", compression) as pack:
        for name, part in files.items():
            pack.writestr(name, part)
    return content.getvalue()


def checked(files: Files, key: str | None = None) -> Any:
    """The check of a pack, which has ``faults``, ``notes``, ``remarks`` and ``proven_values``."""
    return CHECKER.Check(dict(files), None if key is None else CHECKER.Key(key)).run()


def faults_in(files: Files, key: str | None = None) -> list[Found]:
    """The faults of a pack."""
    return [Found(*one) for one in checked(files, key).faults]


def rows_of(content: bytes) -> list[bytes]:
    """The lines of a file that ends with a newline, or is empty."""
    *rows, rest = content.split(b"\n")
    assert rest == b""
    return rows


class Flip(msgspec.Struct, frozen=True):
    """One bit of one file of a pack."""

    file: str
    bit: int

    def line_in(self, files: Files) -> int:
        """The line of the bit; the newline at its end is a part of a line."""
        return files[self.file].count(b"\n", 0, self.bit // 8) + 1

    def apply(self, files: Files) -> dict[str, bytes]:
        """The pack with that bit flipped."""
        changed = bytearray(files[self.file])
        changed[self.bit // 8] ^= 1 << self.bit % 8
        return {**files, self.file: bytes(changed)}


def random_flips(files: Files, count: int, seed: int) -> list[Flip]:
    """Random bits of the files of a pack, as many of a small file as of a large one."""
    random = Random(seed)
    names = sorted(name for name, content in files.items() if content)
    chosen = (random.choice(names) for _ in range(count))
    return [Flip(name, random.randrange(8 * len(files[name]))) for name in chosen]
