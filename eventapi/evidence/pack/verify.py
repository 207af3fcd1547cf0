"""Check a pack of evidence of an event log.

    python3 verify.py [--key VKEY] [--witness VKEY]... [FOLDER or ZIP]

Without a place it checks the folder that it is in. It needs Python 3.6 or later and nothing else:
no network, no package, no server. It prints a line for every fault, which names the file and the
line in it. Exit code: 0 without a fault, 1 with faults, 2 if it was called wrongly.

VKEY is the verifier key of the log, or of a witness. Without --key the pack is checked with the
key in it, which proves nothing to a reader who did not get the same key in another way. The keys of
witnesses are never in a pack. Each witness that is given must have signed a checkpoint in it.

The formats are C2SP signed-note and tlog-checkpoint, RFC 6962 (Merkle tree) and RFC 8032
(Ed25519). This program shares no code with the server that made the pack.
"""

import base64
import hashlib
import json
import os
import re
import struct
import sys
import time
import zipfile
import zlib
from bisect import bisect_left
from itertools import zip_longest
from pathlib import Path

FORMAT = "eventapi-evidence-1"
MANIFEST, KEY, CHECKPOINT = "manifest.json", "log-key.txt", "checkpoint.txt"
LINES, SCHEMAS, PROOFS = "lines.jsonl", "schemas.jsonl", "proofs.txt"
COSIGNED, CONSISTENCY, OPENED = "cosigned.txt", "consistency.txt", "opened.jsonl"
NEEDED = ("README.txt", "verify.html", "verify.py", KEY, CHECKPOINT, LINES, SCHEMAS, PROOFS)
FIRST_ENTRY = 7
"""The line of the manifest with the first of the files."""
YEAR_10000 = 253402300800
"""The first second that has no RFC 3339 time."""
MAX_ZIP_END = 22 + 65535
"""The bytes of the end of a zip with the longest comment."""
ZIP_CHECK = 16
"""The hex digits of each check in the comment of a zip."""

MANIFEST_END = re.compile(rb'(.*\n)"signature":"([A-Za-z0-9+/]{91}=)"\n\}\n', re.DOTALL)
SIGNATURE_LINE = re.compile(rb'"signature":"[A-Za-z0-9+/]{91}="')
VKEY = re.compile(r"([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})\n?")
SIGNATURE = re.compile("\u2014 (\\S+) ([A-Za-z0-9+/]+={0,2})")
SIZE = re.compile(r"0|[1-9]\d{0,14}", re.ASCII)
TREE_ROW = re.compile(rb"tree (0|[1-9]\d{0,14}) ([1-9]\d{0,14}) ([A-Za-z0-9+/]{43}=)")
BEFORE_ROW = re.compile(rb"before ([1-9]\d{0,14}) ([0-9a-f]{64})")
OPENED_ROW = re.compile(
    rb'\{"position":([1-9]\d{0,14}),"(clear|shown|unreadable)":(.*)\}', re.DOTALL
)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def decode64(text):
    """Decode canonical base64 with padding; raise ValueError."""
    found = base64.b64decode(text, validate=True)
    if base64.b64encode(found) != (text.encode() if isinstance(text, str) else text):
        raise ValueError("this is not canonical base64")
    return found


def parse_json(data):
    """Parse JSON (RFC 8259), which has no NaN; raise ValueError."""

    def refuse(text):
        raise ValueError("%s is not JSON" % text)

    return json.loads(data.decode(), parse_constant=refuse)


def check_of(line):
    """The check of one line in the manifest: 8 hex digits."""
    return sha256(line).hex()[:8]


def split_checks(checks):
    """The checks of several lines."""
    return [checks[at : at + 8] for at in range(0, len(checks), 8)]


# Ed25519 (RFC 8032, section 5.1): points are (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(factor, point):
    found = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            found = add(found, point)
        point = add(point, point)
        factor >>= 1
    return found


def decompress(data):
    """Return the point of 32 bytes; None if there is none (RFC 8032, section 5.1.3)."""
    number = int.from_bytes(data, "little")
    y, sign = number & (1 << 255) - 1, number >> 255
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    """Whether a signature of 64 bytes is valid (RFC 8032, section 5.1.7)."""
    a, r = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    challenge = hashlib.sha512(signature[:32] + public + message).digest()
    k = int.from_bytes(challenge, "little") % ORDER
    left, right = multiply(s, BASE), add(r, multiply(k, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


class Key:
    """A verifier key; raises ValueError if the text is none."""

    def __init__(self, text, algorithm=1):
        match = VKEY.fullmatch(text)
        if match is None:
            raise ValueError("it is no verifier key")
        self.name, key = match.group(1), decode64(match.group(3))
        self.id, self.public = sha256(self.name.encode(), b"\n", key)[:4], key[1:]
        if key[0] != algorithm or self.id.hex() != match.group(2):
            raise ValueError("its id is not that of the key")
        self.text = match.group(0).strip()

    def has_signed(self, message, box):
        return box[:4] == self.id and len(box) == 68 and is_signed(self.public, message, box[4:])


def read_note(data):
    """Return text, signatures (name, box), size and root; raise ValueError."""
    text, _, rest = data.decode().partition("\n\n")
    matches = [SIGNATURE.fullmatch(line) for line in rest.split("\n")[:-1]]
    if not matches or None in matches or not rest.endswith("\n"):
        raise ValueError("it is no signed note")
    origin, size, root = text.split("\n")
    signatures = [(match.group(1), decode64(match.group(2))) for match in matches]
    if origin != signatures[0][0] or not SIZE.fullmatch(size) or len(decode64(root)) != 32:
        raise ValueError("it is no checkpoint")
    return (text + "\n").encode(), signatures, int(size), decode64(root)


# The tree (RFC 6962, section 2.1)


def node(left, right):
    return sha256(b"\1", left, right)


def root_of(start, end, leaves, indexes, rows):
    """The root over a range, from known leaves and rows of other subtrees."""
    first = bisect_left(indexes, start)
    if first == len(indexes) or indexes[first] >= end:
        number, row = next(rows, (0, None))
        if row is None or row[:2] != (start, end):
            raise ValueError(number, "the subtree of leaves %d to %d is missing" % (start, end - 1))
        return row[2]
    if end - start == 1:
        return leaves[start]
    middle = start + (1 << (end - start - 1).bit_length() - 1)
    left = root_of(start, middle, leaves, indexes, rows)
    return node(left, root_of(middle, end, leaves, indexes, rows))


def consistent_roots(old, size, old_root, proof):
    """The roots that a proof of consistency leads to (RFC 9162, section 2.1.4.2)."""
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    fn, sn = old - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        raise ValueError("it is too short")
    fr = sr = path[0]
    for one in path[1:]:
        if sn == 0:
            raise ValueError("it is too long")
        if fn & 1 or fn == sn:
            fr, sr = node(one, fr), node(one, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, one)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ValueError("it is too short")
    return fr, sr


class Check:
    """The check of one pack; `faults` has file, line and text of each fault.

    Files whose bytes are not those in the manifest are `altered`. A fault that involves one of
    them has its explanation already, and is not reported again.
    """

    def __init__(self, files, key=None, witnesses=(), problems=None):
        self.files, self.given_key, self.witnesses = files, key, witnesses
        self.faults, self.notes, self.altered = [], [], set()
        self.problems = problems or {}
        self.lines, self.signers = {}, set()
        self.remarks, self.proven_values = {}, 0

    def run(self):
        for name in [MANIFEST, *NEEDED, *self.problems]:
            if name not in self.files:
                self.fault(name, 0, self.problems.get(name, "it is missing"))
                self.altered.add(name)
        key = self.read_key()
        manifest = self.check_manifest(key)
        size, root = self.check_checkpoint(key)
        self.read_lines(LINES)
        self.read_lines(SCHEMAS)
        trees, before = self.read_proofs()
        self.check_chain(before)
        self.check_tree(size, root, trees)
        if COSIGNED in self.files or CONSISTENCY in self.files:
            self.check_cosigned(key, size, root)
        for witness in self.witnesses:
            if witness.text not in self.signers:
                self.fault(
                    CHECKPOINT, 0, "the witness %s has not signed it" % witness.name, COSIGNED
                )
        if OPENED in self.files or (manifest and manifest["selection"]["open"]):
            self.check_opened()
        for name, text in self.problems.items():
            self.fault(name, 0, text)
        return self

    def fault(self, name, line, text, *others):
        if not self.altered & {name, *others}:
            self.faults.append((name, line, text))

    # The files

    def read_key(self):
        try:
            key = Key(self.files[KEY].decode())
            if not self.files[KEY].endswith(b"\n"):
                raise ValueError("it does not end with a newline")
            if key.name != "eventapi/" + sha256(key.public).hex()[:16]:
                raise ValueError("its name is not that of the key")
        except (KeyError, ValueError) as error:
            key = None
            self.fault(KEY, 1, "the key cannot be used: %s" % error)
        if key and self.given_key and self.given_key.text != key.text:
            self.fault(KEY, 1, "it is not the key that you gave")
        return self.given_key or key

    def check_manifest(self, key):
        raw = self.files.get(MANIFEST, b"")
        wrong_line = 0 if is_manifest_signed(raw, key) else altered_line(raw)
        if wrong_line:
            self.fault(MANIFEST, wrong_line, "the log's key did not sign it like this")
            self.altered.add(MANIFEST)
        try:
            manifest = parse_json(raw)
            entries = list(manifest["files"].items())
            if manifest["format"] != FORMAT:
                self.fault(MANIFEST, 2, "its format is unknown")
            for number, (name, entry) in enumerate(entries, FIRST_ENTRY):
                if number != wrong_line:
                    self.check_file(name, entry["sha256"], split_checks(entry["lines"]))
            manifest["selection"]["open"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.fault(MANIFEST, wrong_line or 1, "it cannot be read")
            return None
        for name in NEEDED:
            if name not in manifest["files"]:
                self.fault(name, 0, "it is not in the manifest", MANIFEST)
        for name in sorted(set(self.files) - {MANIFEST} - set(manifest["files"])):
            self.notes.append("%s is not part of the pack" % name)
        return manifest

    def check_file(self, name, digest, checks):
        content = self.files.get(name)
        if content is None:
            self.fault(name, 0, "it is missing")
            self.altered.add(name)
        elif sha256(content).hex() != digest:
            pairs = list(zip_longest(map(check_of, content.split(b"\n")), checks))
            wrong = [line for line, (found, check) in enumerate(pairs, 1) if found != check]
            if len(content.split(b"\n")) != len(checks):
                wrong = wrong[:1]  # The lines after a lost or added newline have other numbers.
            for line in wrong[:10] or [0]:
                self.fault(name, line, "it is not as the manifest has it")
            self.altered.add(name)

    # The log

    def check_checkpoint(self, key):
        try:
            text, signatures, size, root = read_note(self.files[CHECKPOINT])
        except (KeyError, ValueError) as error:
            self.fault(CHECKPOINT, 1, "it cannot be read: %s" % error)
            return 0, None
        if key and not key.has_signed(text, signatures[0][1]):
            self.fault(CHECKPOINT, 5, "the log's key did not sign it", KEY)
        self.check_witnesses(CHECKPOINT, text, signatures, size)
        return size, root

    def check_witnesses(self, name, text, signatures, size):
        """Check signatures of given witnesses (C2SP tlog-cosignature); note others."""
        others = set()
        for who, box in signatures[1:]:
            given = [one for one in self.witnesses if (one.name, one.id) == (who, box[:4])]
            if not given:
                others.add(who)
                continue
            self.signers.add(given[0].text)
            seconds = int.from_bytes(box[4:12], "big")
            message = b"cosignature/v1\ntime %d\n" % seconds + text
            is_valid = len(box) == 76 and seconds < YEAR_10000
            if not is_valid or not is_signed(given[0].public, message, box[12:]):
                self.fault(name, 5, "the witness %s did not sign it" % who)
            else:
                when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
                note = "the witness %s signed %s, of %d events, at %s"
                self.notes.append(note % (who, name, size, when))
        for who in sorted(others):
            self.notes.append(
                "the signature of %s under %s needs its key to be checked" % (who, name)
            )

    def read_lines(self, name):
        content, last = self.files.get(name, b""), 0
        rows = content.split(b"\n")
        if rows.pop():
            self.fault(name, len(rows) + 1, "it does not end with a newline")
        for number, line in enumerate(rows, 1):
            try:
                members = parse_json(line)
                if not all(isinstance(members[one], str) for one in ("id", "source", "type")):
                    raise ValueError("a member is no text")
                position = int(members["id"]) if SIZE.fullmatch(members["id"]) else 0
                if not isinstance(members["data"], dict):
                    raise TypeError("its data is no object")
                if position <= last or position in self.lines:
                    raise ValueError("its position is not above that of the line before")
                if not re.fullmatch(rb',"hash":"[0-9a-f]{64}"\}', line[-75:]):
                    raise ValueError("it does not end with its hash")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                self.fault(name, number, "it is no line of the log: %s" % error)
                continue
            last = position
            self.lines[position] = (name, number, line, members)

    def read_proofs(self):
        trees, before = [], {}
        rows = self.files.get(PROOFS, b"").split(b"\n")
        if rows.pop():
            self.fault(PROOFS, len(rows) + 1, "it does not end with a newline")
        for number, row in enumerate(rows, 1):
            tree, link = TREE_ROW.fullmatch(row), BEFORE_ROW.fullmatch(row)
            try:
                if tree:
                    digest = decode64(tree.group(3))
                    trees.append((number, (int(tree.group(1)), int(tree.group(2)), digest)))
                elif link:
                    before[int(link.group(1))] = bytes.fromhex(link.group(2).decode())
                else:
                    raise ValueError
            except ValueError:
                self.fault(PROOFS, number, "it is no row of a proof")
        return trees, before

    def check_chain(self, before):
        """Check each line's hash, over that of the line before and its own bytes."""
        sources = {members["source"] for _, _, _, members in self.lines.values()}
        if len(sources) > 1:
            self.fault(LINES, 1, "the lines are of several logs", SCHEMAS)
        for position, (name, number, line, _) in sorted(self.lines.items()):
            if position == 1:
                previous = bytes(32)
            elif position - 1 in self.lines:
                previous = bytes.fromhex(self.lines[position - 1][2][-66:-2].decode())
            elif position in before:
                previous = before[position]
            else:
                self.fault(PROOFS, 0, "the hash before position %d is missing" % position)
                continue
            if sha256(previous, line[:-75]).hex() != line[-66:-2].decode():
                reason = "the hash of position %d is wrong" % position
                self.fault(name, number, reason, PROOFS, LINES, SCHEMAS)

    def check_tree(self, size, root, trees):
        """Check that all lines are in the one tree of the checkpoint."""
        involved = (LINES, SCHEMAS, PROOFS, CHECKPOINT)
        leaves = {at - 1: sha256(b"\0", line) for at, (_, _, line, _) in self.lines.items()}
        rows = iter(trees)
        try:
            if not leaves or root is None:
                raise ValueError(0, "there is nothing to prove")
            if max(leaves) >= size:
                raise ValueError(0, "a line is after the end of the checkpoint")
            found = root_of(0, size, leaves, sorted(leaves), rows)
            for number, _ in rows:
                raise ValueError(number, "this subtree is not part of the proof")
        except ValueError as error:
            self.fault(PROOFS, error.args[0], error.args[1], *involved)
            return
        if found != root and not self.faults:
            text = "the lines and the proofs do not lead to the root of the checkpoint"
            self.fault(PROOFS, 0, text, *involved)

    def check_cosigned(self, key, size, root):
        involved = (COSIGNED, CONSISTENCY, CHECKPOINT, KEY)
        try:
            text, signatures, old, old_root = read_note(self.files[COSIGNED])
        except (KeyError, ValueError) as error:
            self.fault(COSIGNED, 1, "it cannot be read: %s" % error)
            return
        if key and not key.has_signed(text, signatures[0][1]):
            self.fault(COSIGNED, 5, "the log's key did not sign it", KEY)
        self.check_witnesses(COSIGNED, text, signatures, old)
        try:
            rows = self.files[CONSISTENCY].split(b"\n")
            proof = [decode64(row) for row in rows[:-1]]
            if not 0 < old < size or rows[-1]:
                raise ValueError("it is of other sizes")
            if consistent_roots(old, size, old_root, proof) != (old_root, root):
                raise ValueError("it leads to other roots")
        except (KeyError, ValueError) as error:
            reason = "it does not prove that the log only grew: %s" % error
            self.fault(CONSISTENCY, 0, reason, *involved)

    # The opened values

    def check_opened(self):
        rows = self.files.get(OPENED, b"").split(b"\n")
        if rows.pop():
            self.fault(OPENED, len(rows) + 1, "it does not end with a newline")
        opened, last = set(), 0
        for number, row in enumerate(rows, 1):
            match = OPENED_ROW.fullmatch(row)
            position = int(match.group(1)) if match else 0
            if position <= last or position not in self.lines:
                self.fault(OPENED, number, "it is no value of a line of this pack", LINES, SCHEMAS)
                continue
            opened.add(position)
            last = position
            if "sealed" not in self.lines[position][3]["data"]:
                reason = "nothing is sealed at position %d" % position
                self.fault(OPENED, number, reason, LINES, SCHEMAS)
                continue
            self.check_value(number, position, match.group(2), match.group(3))
        for position, (_, _, _, members) in sorted(self.lines.items()):
            if "sealed" in members["data"] and position not in opened:
                self.fault(OPENED, 0, "position %d is missing" % position, LINES, SCHEMAS)

    def check_value(self, number, position, kind, value):
        members = self.lines[position][3]
        commitment = members.get("commitment")
        if kind == b"unreadable":
            self.remarks.setdefault("unreadable, because no key opens them", []).append(number)
        elif kind == b"shown" and not members["type"].startswith("user."):
            self.fault(OPENED, number, "values of this type have no secrets to withhold", LINES)
        elif kind == b"shown" or commitment is None:
            why = "secrets are withheld" if kind == b"shown" else "their line has no commitment"
            remark = "NOT PROVABLE without the key, because %s" % why
            self.remarks.setdefault(remark, []).append(number)
        elif base64.urlsafe_b64encode(sha256(value)).rstrip(b"=").decode() != commitment:
            reason = "these values are not those that were sealed at position %d" % position
            self.fault(OPENED, number, reason, LINES)
        else:
            self.proven_values += 1


def is_manifest_signed(raw, key):
    """Whether the key signed a manifest; without a key only its form counts."""
    match = MANIFEST_END.fullmatch(raw)
    try:
        return bool(match) and (
            key is None or key.has_signed(match.group(1), decode64(match.group(2)))
        )
    except ValueError:
        return False


def altered_line(raw):
    """The line of a manifest that does not match its check, or its signature."""
    pieces = raw.split(b"\n")
    found = re.search(rb'^"checks":"([0-9a-f]+)",', raw, re.MULTILINE)
    if not found:
        return max(len(pieces) - 3, 1)
    line_of_checks = raw.count(b"\n", 0, found.start()) + 1
    checks = found.group(1).decode()
    if check_of(checks[:-8].encode()) != checks[-8:] or raw[found.end() :][:1] != b"\n":
        return line_of_checks
    pairs = zip_longest(map(check_of, pieces[: line_of_checks - 1]), split_checks(checks[:-8]))
    wrong = [line for line, (piece, check) in enumerate(pairs, 1) if piece != check]
    if wrong:
        return wrong[0]
    is_whole = SIGNATURE_LINE.fullmatch(pieces[line_of_checks])
    return line_of_checks + (2 if is_whole and pieces[line_of_checks + 1 :] != [b"}", b""] else 1)


# The command


def spans(numbers):
    """Ascending numbers as text, such as 1-3, 7."""
    found = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in found)


def read_files(place):
    """The files of a folder or a zip by name, and the problems of a zip by name."""
    if place.is_dir():
        files = {one.name: one.read_bytes() for one in sorted(place.iterdir()) if one.is_file()}
        return files, {}
    if not place.exists():
        raise ValueError("there is no file %s" % place)
    files, problems = {}, {}
    try:
        with zipfile.ZipFile(str(place)) as pack:
            entries = pack.infolist()
    except Exception as error:  # A damaged zip raises many kinds of errors.
        return {}, {place.name: "it cannot be unpacked: %s" % error}
    with place.open("rb") as file:
        for info in entries:
            name = info.filename
            if name in files:
                problems[name] = "it is in the zip twice"
            try:
                title, files[name] = unpack(file, info)
            except (ValueError, OSError, OverflowError, struct.error, zlib.error) as error:
                problems[name] = "it cannot be unpacked: %s" % error
            else:
                # These do not stop the check, because the manifest names the line as well.
                if zlib.crc32(files[name]) != info.CRC or title != name.encode():
                    problems.setdefault(name, "its checksum or name in the zip is wrong")
    return files, problems


def unpack(file, info):
    """The name and the content of a file as they are in a zip."""
    file.seek(info.header_offset)
    if info.compress_size > os.fstat(file.fileno()).st_size:  # Do not reserve memory for it.
        raise ValueError("its compressed size is wrong")
    begin, _, name, extra = struct.unpack("<4s22sHH", file.read(30))
    title = file.read(name)
    file.seek(extra, 1)
    packed = file.read(info.compress_size)
    if begin != b"PK\3\4" or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("its header is damaged")
    if info.compress_type == zipfile.ZIP_STORED:
        return title, packed
    stream = zlib.decompressobj(-15)
    content = stream.decompress(packed)
    if not stream.eof or stream.unused_data:
        raise ValueError("its compressed size is wrong")
    return title, content


def check_zip(check, place):
    """Check the bytes around the files of a zip, by the checks in its comment.

    Each check covers the bytes from the header of a file to that of the next one, and the last check
    covers the rest up to itself.
    """
    with zipfile.ZipFile(str(place)) as pack:
        entries = sorted(pack.infolist(), key=lambda info: info.header_offset)
    with place.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - MAX_ZIP_END, 0))
        end = file.read().rpartition(b"PK\5\6")[2]
        if end[16:18] == b"\0\0":  # The zip has no comment.
            text = "the zip was packed again, or by an earlier version: only its files are checked"
            check.notes.append(text)
            return
        file.seek(size - ZIP_CHECK * len(entries))
        expected = file.read().decode("latin-1")
        file.seek(0)
        ends = [info.header_offset for info in entries[1:]] + [size - ZIP_CHECK]
        found = [digest_up_to(file, end)[:ZIP_CHECK] for end in ends]
    wrong = [
        info.filename
        for at, info in enumerate(entries)
        if found[at] != expected[at * ZIP_CHECK : (at + 1) * ZIP_CHECK]
    ]
    if entries[-1].filename in wrong:  # The other checks are in this section.
        check.fault(place.name, 0, "its end, from %s on, is not as it was written" % wrong[-1])
        return
    for name in wrong:
        check.fault(name, 0, "the bytes around it in the zip are not as they were written")


def digest_up_to(file, end):
    """The SHA-256 in hex of a file from where it is read up to an end."""
    digest = hashlib.sha256()
    for part in iter(lambda: file.read(min(end - file.tell(), 1 << 20)), b""):
        digest.update(part)
    return digest.hexdigest()


def parse(arguments):
    """Return the place, the key and the keys of witnesses."""
    key, witnesses, places = None, [], []
    rest = iter(arguments)
    for one in rest:
        if one == "--key":
            key = Key(next(rest, ""))
        elif one == "--witness":
            witnesses.append(Key(next(rest, ""), algorithm=4))
        elif one.startswith("-"):
            raise ValueError("there is no option %s" % one)
        else:
            places.append(Path(one))
    if len(places) > 1:
        raise ValueError("give one folder or zip")
    return (places or [Path(__file__).resolve().parent])[0], key, witnesses


def main(arguments):
    try:
        place, key, witnesses = parse(arguments)
        files, problems = read_files(place)
    except (ValueError, OSError) as error:
        print("%s\n\n%s" % (error, __doc__.strip()), file=sys.stderr)
        return 2
    check = Check(files, key, witnesses, problems)
    if files:
        check.run()
        if place.is_file() and not check.faults:
            check_zip(check, place)
    else:
        problems = problems or {place.resolve().name: "there are no files in it"}
        check.faults = [(name, 0, text) for name, text in problems.items()]
    own = files.get("verify.py", b"")
    if sha256(own).hex().encode() not in files.get(MANIFEST, b"") and not check.faults:
        check.fault("verify.py", 0, "it is not as the manifest has it")
    remarks = ["%s, lines %s: %s" % (OPENED, spans(at), text) for text, at in check.remarks.items()]
    lines = ["NOTE  " + note for note in check.notes + remarks]
    for name, line, text in check.faults:
        where = "%s, line %d" % (name, line) if line else name
        lines.append("WRONG %s: %s" % (where, text))
    if check.faults:
        lines.append("The pack is not genuine or not whole: %d faults." % len(check.faults))
    else:
        signer = key or Key(files[KEY].decode())
        text = "OK    %d lines are in the log that %s signed."
        lines.append(text % (len(check.lines), signer.name))
        if OPENED in files:
            text = "OK    %d opened values are those that were sealed."
            lines.append(text % check.proven_values)
        if key is None:
            lines.append("      Compare this key with one that did not come with the pack:")
            lines.append("      " + signer.text)
    show(lines)
    return 1 if check.faults else 0


def show(lines):
    """Print the result; a closed pipe or a full disk does not change the exit code."""
    try:
        print("\n".join(ascii(line)[1:-1] for line in lines), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
