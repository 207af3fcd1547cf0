"""The program in a pack: it stands alone, and checks witnesses whose keys a reader has."""

from __future__ import annotations

import ast
import asyncio
import sys
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from eventapi.evidence.selection import Selection
from eventapi.evidence.writer import PACK
from eventapi.testing.sample_log import Written, write
from events.transparency.checkpoints import Checkpoints
from events.transparency.signed_note import Note, Signature
from events.transparency.tree import Tree
from tests.eventapi.evidence.packs import CHECKER, World, files_in, small_history

ROOT = Path(__file__).parents[3]
TIME = 1_790_000_000


class Witness:
    """A witness of C2SP tlog-cosignature."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.generate()
        public = b"\x04" + self._key.public_key().public_bytes_raw()
        self._id = sha256(name.encode() + b"\n" + public).digest()[:4]
        self.vkey = f"{name}+{self._id.hex()}+{b64encode(public).decode()}"

    def sign(self, note: Note) -> Note:
        """The note with a signature of this witness."""
        message = f"cosignature/v1\ntime {TIME}\n{note.text}".encode()
        box = self._id + TIME.to_bytes(8, "big") + self._key.sign(message)
        return Note(note.text, [*note.signatures, Signature(self.name, box)])


async def cosigned_pack(witness: Witness, size: int | None = None) -> dict[str, bytes]:
    """A pack of a log that a witness cosigned, at an earlier size if one is given."""
    world = World(write(small_history()))
    written = world.written
    seen = Written(written.lines[:size], written.records[:size], written.keys)
    checkpoints = Checkpoints(Tree(seen.log), world.signing)
    note = await checkpoints.current()
    await checkpoints.cosign(str(witness.sign(note)))
    return files_in(await world.pack(Selection(user="ann")))


def check_with(witness: Witness, files: dict[str, bytes]) -> Any:
    return CHECKER.Check(files, None, [CHECKER.Key(witness.vkey, algorithm=4)]).run()


def test_a_signature_of_a_witness_is_checked_with_its_key() -> None:
    witness, other = Witness("witness/one"), Witness("witness/two")
    files = asyncio.run(cosigned_pack(witness))

    check = check_with(witness, files)
    assert check.faults == []
    signed = "the witness witness/one signed checkpoint.txt, of 42 events, at 2026-09-21T14:13:20Z"
    assert check.notes == [signed]
    check = CHECKER.Check(files).run()
    assert check.faults == []
    unchecked = "the signature of witness/one under checkpoint.txt needs its key to be checked"
    assert check.notes == [unchecked]
    check = check_with(other, files)
    assert check.faults == [("checkpoint.txt", 0, "the witness witness/two has not signed it")]
    assert check.notes == [unchecked]


def test_a_signature_of_a_witness_under_an_older_checkpoint_is_enough() -> None:
    witness = Witness("witness/one")
    check = check_with(witness, asyncio.run(cosigned_pack(witness, 7)))

    assert check.faults == []
    signed = "the witness witness/one signed cosigned.txt, of 7 events, at 2026-09-21T14:13:20Z"
    assert check.notes == [signed]


def test_a_forged_signature_of_a_witness_is_named() -> None:
    witness = Witness("witness/one")
    files = asyncio.run(cosigned_pack(witness))
    note = Note.parse(files["checkpoint.txt"].decode())
    own, theirs = note.signatures
    box = theirs.box[:-1] + bytes([theirs.box[-1] ^ 1])
    forged = Note(note.text, [own, Signature(theirs.name, box)])
    check = CHECKER.Check(
        {**files, "checkpoint.txt": str(forged).encode()},
        None,
        [CHECKER.Key(witness.vkey, algorithm=4)],
    )
    check.check_manifest = lambda _: None

    assert check.run().faults == [("checkpoint.txt", 5, "the witness witness/one did not sign it")]


def test_it_needs_the_standard_library_of_python_3_6_alone() -> None:
    tree = ast.parse((PACK / "verify.py").read_text(), feature_version=(3, 6))
    imports = [one for one in ast.walk(tree) if isinstance(one, ast.Import | ast.ImportFrom)]
    modules = {
        name.name if isinstance(one, ast.Import) else str(one.module)
        for one in imports
        for name in one.names
    }
    assert modules
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_nothing_imports_it_and_it_is_part_of_the_package() -> None:
    assert not (PACK / "__init__.py").exists()
    sources = [*ROOT.glob("eventapi/**/*.py"), *ROOT.glob("events/**/*.py")]
    assert [file for file in sources if "evidence.pack" in file.read_text()] == []
    assert '"eventapi.evidence" = ["pack/*"]' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("word", ["http:", "https:", "fetch(", "XMLHttpRequest", "<link", " src="])
def test_the_page_loads_nothing(word: str) -> None:
    page = (PACK / "verify.html").read_text()

    assert word not in page
    assert "default-src 'none'" in page
