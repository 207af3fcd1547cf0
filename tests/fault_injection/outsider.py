"""An outsider checks a server's log with an implementation that is none of ours.

It needs Python 3.12 and nothing of this project::

    python3.12 -m venv outsider && outsider/bin/pip install 'aics-tlog>=0.1'
    outsider/bin/python tests/fault_injection/outsider.py http://127.0.0.1:8000 data/events.jsonl

Exits with 1 where anything is not as it should be.
"""

from __future__ import annotations

import base64
import random
import sys
import urllib.request
from pathlib import Path

import aics_tlog as tlog

PROOFS = 200


def read(url: str) -> str:
    """What the server answers to anybody."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the caller's own server
        text: str = answer.read().decode()
        return text


def flipped(data: bytes, dice: random.Random) -> bytes:
    """The same but for one bit."""
    bit = dice.randrange(len(data) * 8)
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def main(url: str, log: Path) -> None:
    """Check checkpoint, tiles and proofs against the lines, and that a flipped bit is refused."""
    dice = random.Random(1)
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
    for _ in range(PROOFS):
        index = dice.randrange(size)
        proof = tlog.inclusion_proof_from_tiles(reader, index, size)
        assert tlog.verify_leaf_inclusion(lines[index], index, size, proof, root)
        wrong = flipped(lines[index], dice)
        refused += not tlog.verify_leaf_inclusion(wrong, index, size, proof, root)
        old = dice.randrange(1, size)
        before = tlog.MerkleTree(lines[:old]).root() if old < 2_000 else None
        body = read(f"{url}/log/consistency/{old}").split("\n\n")[0].split("\n")[1:]
        hashes = [base64.b64decode(line) for line in body]
        before = before or tlog.tree_root_from_tiles(reader, old, size)
        assert tlog.verify_consistency(old, size, before, root, hashes)
        if hashes:
            at = dice.randrange(len(hashes))
            hashes[at] = flipped(hashes[at], dice)
            refused += not tlog.verify_consistency(old, size, before, root, hashes)
    print(f"{size} lines: checkpoint, tiles and {2 * PROOFS} proofs hold; {refused} flips refused")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
