"""Check a server's transparency log with an independent implementation, aics-tlog.

The script needs Python 3.12 and imports nothing from this project::

    python3.12 -m venv outsider && outsider/bin/pip install 'aics-tlog>=0.1'
    outsider/bin/python tests/fault_injection/outsider.py http://127.0.0.1:8000 data/events.jsonl

The exit code is 1 if a check fails.
"""

from __future__ import annotations

import base64
import random
import sys
import urllib.request
from pathlib import Path

import aics_tlog as tlog

PROOFS_CHECKED = 200


def read(url: str) -> str:
    """GET a URL without authentication."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the caller's own server
        text: str = answer.read().decode()
        return text


def flip_random_bit(data: bytes, random_source: random.Random) -> bytes:
    """Return a copy with one bit flipped."""
    bit = random_source.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def main(url: str, log: Path) -> None:
    """Verify checkpoint, tiles and proofs; flipped bits must be rejected."""
    random_source = random.Random(1)
    vkey = tlog.parse_vkey(read(f"{url}/log/key").strip())
    text = read(f"{url}/log/checkpoint")
    note = tlog.parse_note(text)
    head = tlog.parse_checkpoint(note.text)
    assert tlog.verify_checkpoint(note, vkey).ok
    wrong_note = tlog.parse_note(text.replace(f"\n{head.size}\n", f"\n{head.size + 1}\n"))
    assert not tlog.verify_checkpoint(wrong_note, vkey).ok
    size, root = head.size, head.root
    lines = log.read_bytes().split(b"\n")[:size]
    reader = tlog.VerifiedTileReader(tlog.HttpTileReader(f"{url}/log"), size, root)
    assert tlog.tree_root_from_tiles(reader, size) == root
    assert tlog.MerkleTree(lines).root() == root
    refused = 0
    for _ in range(PROOFS_CHECKED):
        index = random_source.randrange(size)
        proof = tlog.inclusion_proof_from_tiles(reader, index, size)
        assert tlog.verify_leaf_inclusion(lines[index], index, size, proof, root)
        wrong = flip_random_bit(lines[index], random_source)
        refused += not tlog.verify_leaf_inclusion(wrong, index, size, proof, root)
        old = random_source.randrange(1, size)
        before = tlog.MerkleTree(lines[:old]).root() if old < 2_000 else None
        body = read(f"{url}/log/consistency/{old}").split("\n\n")[0].split("\n")[1:]
        hashes = [base64.b64decode(line) for line in body]
        before = before or tlog.tree_root_from_tiles(reader, old, size)
        assert tlog.verify_consistency(old, size, before, root, hashes)
        if hashes:
            at = random_source.randrange(len(hashes))
            hashes[at] = flip_random_bit(hashes[at], random_source)
            refused += not tlog.verify_consistency(old, size, before, root, hashes)
    proofs = 2 * PROOFS_CHECKED
    print(f"{size} lines: checkpoint, tiles and {proofs} proofs hold; {refused} flips rejected")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
