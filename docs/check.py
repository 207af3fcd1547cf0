"""Check a server against its log; written from docs/log-format.md alone.

    python docs/check.py http://SERVER VKEY events.jsonl [TOKEN [AUDITOR_TOKEN]]
    python docs/check.py export VKEY FILE
    python docs/check.py cosigned VKEY FILE WITNESS_VKEY...

It reads the log and its mark, the newest checkpoint, proofs that the log continues its earlier
states, and the hash tiles. With a user's token it also reads a proof of every line that this user
may read, with an auditor's token the lines too. It prints what it checked, and exits with 1 on the
first fault. The second form checks the proofs of an export, the third a checkpoint with cosignatures
of all these witnesses; they need no server. VKEY must not come from the server itself. Needs the package `cryptography`.
"""

import base64
import hashlib
import json
import struct
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def need(condition, complaint):
    if not condition:
        sys.exit(f"WRONG: {complaint}")


def get(url, token=None):
    """Return the body, or None for 404."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


# The published end, and the lines before it


def published_end(mark):
    """Return byte offset, position and hash of the published end."""
    while True:
        page = mark.read_bytes()
        need(len(page) == 4096 and page[24:40] == b"eventapi-mark-1\n", "this is no mark")
        (position,) = struct.unpack_from("=Q", page, 0)
        ends = [(0, 0, bytes(32))]
        for at in (64, 192):
            offset, number, digest, crc = struct.unpack_from("<QQ32sI", page, at)
            if crc == zlib.crc32(page[at : at + 48]):
                ends.append((offset, number, digest))
        end = max(ends, key=lambda end: end[1])
        if end[1] >= position:
            return end


def lines_of(log, end):
    """Check the chain of the published lines; return them, each without its newline."""
    offset, position, last = end
    content = log.read_bytes()[:offset]
    need(not content or content.endswith(b"\n"), "the published end is not the end of a line")
    lines = content.split(b"\n")[:-1]
    need(len(lines) == position, f"{position} lines are published, {len(lines)} are there")
    before = bytes(32)
    for number, line in enumerate(lines, 1):
        body, members = line[:-75], json.loads(line)
        before = sha256(before, body)
        need(
            line[-75:] == b',"hash":"' + before.hex().encode() + b'"}', f"the hash of line {number}"
        )
        need(members["id"] == str(number), f"the id of line {number}")
    need(before == last, "the hash in the mark is not that of the last published line")
    return lines


# The tree


def node(left, right):
    return sha256(b"\1", left, right)


def root_of(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return node(root_of(leaves[:middle]), root_of(leaves[middle:]))


def included_root(index, size, leaf, proof):
    """Return the root that a proof leads to (RFC 9162, section 2.1.3.2)."""
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        need(sn != 0, "a proof of inclusion is too long")
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "a proof of inclusion is too short")
    return r


def consistent_roots(old, size, old_root, proof):
    """Return the old and the new root that a proof leads to (RFC 9162, section 2.1.4.2)."""
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    need(path, "a proof of consistency is too short")
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        need(sn != 0, "a proof of consistency is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "a proof of consistency is too short")
    return fr, sr


# Checkpoints


class Key:
    """A verifier key."""

    def __init__(self, vkey):
        self.name, number, key = vkey.strip().split("+", 2)
        key = base64.b64decode(key, validate=True)
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        need(key[0] == 1 and len(key) == 33 and self.id.hex() == number, "this is no verifier key")
        need(
            self.name == f"eventapi/{sha256(key[1:]).hex()[:16]}", "the name is not that of the key"
        )
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])

    def head_of(self, checkpoint):
        """Check signature and origin of a checkpoint; return its size and root."""
        text, signatures = checkpoint.decode().split("\n\n")
        origin, size, root = text.split("\n")
        dash, name, box = signatures.split("\n")[0].split(" ")
        box = base64.b64decode(box, validate=True)
        need(origin == name == self.name, f"the origin is {origin}, signed by {name}")
        need(
            dash == "\u2014" and len(box) == 68 and box[:4] == self.id, "a signature of another key"
        )
        try:
            self.public.verify(box[4:], f"{text}\n".encode())
        except InvalidSignature:
            need(False, "the signature of a checkpoint")
        return int(size), base64.b64decode(root, validate=True)


def proof_of(body, first):
    """Return the hashes of a proof, and its checkpoint; `first` has the lines before the hashes."""
    head, _, checkpoint = body.partition(b"\n\n")
    lines = head.decode().split("\n")
    need(lines[: len(first)] == first, f"a proof begins with {lines[:2]}")
    hashes = [base64.b64decode(line, validate=True) for line in lines[len(first) :]]
    need(all(len(one) == 32 for one in hashes), "a hash has not 32 bytes")
    return hashes, checkpoint


# The checks


def check(server, key, log, token, auditor):
    end = published_end(log.with_name(f"{log.name}.mark"))
    lines = lines_of(log, end)
    leaves = [sha256(b"\0", line) for line in lines]
    size, root = key.head_of(get(f"{server}/log/checkpoint"))
    need(size <= len(lines), "the checkpoint is of more lines than are published")
    need(root == root_of(leaves[:size]), "the root of the checkpoint")
    print(f"{len(lines)} lines are chained and published; a checkpoint of {size} holds")

    for old in sorted({0, 1, 2, 3, size // 3, size // 2, size - 1, size}):
        body = get(f"{server}/log/consistency/{old}")
        hashes, checkpoint = proof_of(body, [f"old {old}"])
        newest, new_root = key.head_of(checkpoint)
        before = root_of(leaves[:old])
        if old in (0, newest):
            need(not hashes, f"a proof from {old} to {newest} has hashes")
        else:
            roots = consistent_roots(old, newest, before, hashes)
            need(roots == (before, new_root), f"the log does not continue its first {old} lines")
    need(get(f"{server}/log/consistency/{size + 1_000_000}") is None, "a proof of lines to come")
    print("it continues its earlier states")

    whole, rest = divmod(size, 256)
    tiles = [(f"{tile:03}", 256 * tile, 256) for tile in range(min(whole, 1000))]
    tiles += [(f"{whole:03}.p/{rest}", 256 * whole, rest)] if rest and whole < 1000 else []
    for place, start, width in tiles:
        tile = get(f"{server}/log/tile/0/{place}")
        need(tile == b"".join(leaves[start : start + width]), f"the tile {place}")
        if auditor:
            entries = get(f"{server}/log/tile/entries/{place}", auditor)
            expected = b"".join(
                struct.pack(">H", len(one)) + one for one in lines[start : start + width]
            )
            need(entries == expected, f"the entries {place}")
    print(f"{len(tiles)} tiles hold" + (", and their lines" if auditor else ""))

    proven = 0
    for index, leaf in enumerate(leaves[:size] if token else []):
        body = get(f"{server}/log/proof/{index + 1}", token)
        if body is None:
            continue
        hashes, checkpoint = proof_of(body, ["c2sp.org/tlog-proof@v1", f"index {index}"])
        newest, new_root = key.head_of(checkpoint)
        need(
            included_root(index, newest, leaf, hashes) == new_root, f"the proof of line {index + 1}"
        )
        proven += 1
    print(f"{proven} lines are proven")


def check_export(key, file):
    """Check that each line of an export is in the log of one checkpoint."""
    heads, last, proven, unproven = set(), 0, 0, 0
    for line in file.read_bytes().split(b"\n")[:-1]:
        text, start = line.decode(), '{"record":'
        need(text.startswith(start), "a line does not begin with a record")
        members, end = json.JSONDecoder().raw_decode(text, len(start))
        record, proof = text[len(start) : end].encode(), json.loads(text)["proof"]
        position = int(members["id"])
        need(position > last, f"line {position} of the log is after line {last}")
        last = position
        if proof is None:
            unproven += 1
            continue
        first = ["c2sp.org/tlog-proof@v1", f"index {position - 1}"]
        hashes, checkpoint = proof_of(proof.encode(), first)
        size, root = key.head_of(checkpoint)
        found = included_root(position - 1, size, sha256(b"\0", record), hashes)
        need(found == root, f"the proof of line {position}")
        heads.add((size, root))
        proven += 1
    need(len(heads) < 2, "the proofs are in several checkpoints")
    print(f"{proven} lines are proven, {unproven} have no proof")


def cosigned_at(checkpoint, vkey):
    """Check the newest cosignature of a witness (C2SP tlog-cosignature); return its time."""
    name, number, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    need(key[0] == 4 and len(key) == 33, f"the key of {name} is not for Ed25519 cosignatures")
    key_id = sha256(name.encode(), b"\n", key)[:4]
    need(key_id.hex() == number, f"the key of {name} has another id")
    text, signatures = checkpoint.decode().split("\n\n")
    found = []
    for line in signatures.split("\n")[:-1]:
        _, signer, box = line.split(" ")
        box = base64.b64decode(box, validate=True)
        if signer == name and box[:4] == key_id and len(box) == 76:
            (time,) = struct.unpack(">Q", box[4:12])
            message = f"cosignature/v1\ntime {time}\n{text}\n".encode()
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(box[12:], message)
            except InvalidSignature:
                need(False, f"the cosignature of {name}")
            found.append(time)
    need(found, f"{name} has not cosigned this checkpoint")
    return max(found)


def check_cosigned(key, file, witnesses):
    """Check that each witness cosigned a checkpoint."""
    checkpoint = file.read_bytes()
    size, _ = key.head_of(checkpoint)
    for vkey in witnesses:
        time = cosigned_at(checkpoint, vkey)
        print(f"{vkey.partition('+')[0]} cosigned {size} lines at {time} seconds since 1970")


if __name__ == "__main__" and sys.argv[1] == "export":
    check_export(Key(sys.argv[2]), Path(sys.argv[3]))
elif __name__ == "__main__" and sys.argv[1] == "cosigned":
    check_cosigned(Key(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
elif __name__ == "__main__":
    check(sys.argv[1], Key(sys.argv[2]), Path(sys.argv[3]), *[*sys.argv[4:], None, None][:2])
