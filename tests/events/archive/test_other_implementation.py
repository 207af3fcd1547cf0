"""An independent implementation, aics-tlog, reads archives."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.archive.directory import DirectoryObjects
from events.archive.objects import CHECKPOINT
from tests.events.archive.stored import SIGNER, archive, small_lines

pytestmark = pytest.mark.long


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1_000, 65_537])
@pytest.mark.anyio
async def test_every_tile_and_bundle_is_the_one_that_it_computes(tmp_path: Path, size: int) -> None:
    import aics_tlog as tlog  # noqa: PLC0415 - only in the group other-witness

    lines, objects = small_lines(size), DirectoryObjects(tmp_path)
    for part in sorted({max(size // 3, 1), size}):
        await archive(lines[:part], objects)
    note = tlog.parse_note((tmp_path / CHECKPOINT).read_text())
    assert tlog.verify_checkpoint(note, tlog.parse_vkey(SIGNER.verifier.vkey)).ok
    head = tlog.parse_checkpoint(note.text)
    assert head.size == size
    reader = tlog.FileSystemTileReader(tmp_path)
    tlog.audit_tiles(reader, size, head.root)
    verified = tlog.VerifiedTileReader(reader, size, head.root)
    for index in {0, size // 2, size - 1}:
        proof = tlog.inclusion_proof_from_tiles(verified, index, size)
        assert tlog.verify_leaf_inclusion(lines[index], index, size, proof, head.root)
    for name in ("tile/entries", "tile/0"):
        file = next(file for file in sorted((tmp_path / name).rglob("*")) if file.is_file())
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises((tlog.TileVerificationError, tlog.TileMissingError)):
            tlog.audit_tiles(reader, size, head.root)
        file.write_bytes(content)
