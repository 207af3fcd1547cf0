"""A witness, written from the texts of C2SP alone: it imports nothing of this project.

It follows tlog-witness, tlog-cosignature, tlog-checkpoint, signed-note and RFC 9162, section 2.1.4.2.
Per log it keeps size and root in a file, which is synced before a cosignature leaves. `faults` make it
misbehave.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DASH = "\u2014"


class Refused(Exception):
    """The request is refused with a status, and a size for 409."""

    def __init__(self, status: int, size: int | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.size = size


def b64(text: str) -> bytes:
    """Decode standard base64; raises `ValueError`."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 that is not canonical")
    return data


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def number(text: str) -> int:
    """A decimal without leading zeroes; raises `ValueError`."""
    if not re.fullmatch("0|[1-9][0-9]*", text, re.ASCII):
        raise ValueError("not a decimal number")
    return int(text)


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_consistent(
    first: int, second: int, first_hash: bytes, second_hash: bytes, path: list[bytes]
) -> bool:
    """Verify a consistency proof (RFC 9162, section 2.1.4.2); the first tree is not empty."""
    if first == second:
        return not path and first_hash == second_hash
    if first & (first - 1) == 0:
        path = [first_hash, *path]
    if not path:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for one in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(one, fr), node(one, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, one)
        fn, sn = fn >> 1, sn >> 1
    return fr == first_hash and sr == second_hash and sn == 0


class LogKey:
    """The key of a log that the witness trusts; its name is the origin."""

    def __init__(self, vkey: str) -> None:
        self.name, digits, data = vkey.strip().split("+", 2)
        raw = b64(data)
        self.id = key_id(self.name, raw[0], raw[1:])
        assert raw[0] == 1
        assert self.id.hex() == digits
        self._public = Ed25519PublicKey.from_public_bytes(raw[1:])

    def has_signed(self, text: str, signatures: list[tuple[str, bytes]]) -> bool:
        for name, box in signatures:
            if name == self.name and box[:4] == self.id:
                try:
                    self._public.verify(box[4:], text.encode())
                except InvalidSignature:
                    continue
                return True
        return False


class Witness:
    """The state of one witness, and its decision about a request."""

    def __init__(self, directory: Path, name: str, seed: bytes) -> None:
        self.name = name
        self.directory = directory
        self.logs: dict[str, LogKey] = {}
        self.faults: list[str] = []
        """What is done wrong in the next answers, one after another; the last is repeated."""
        self.requests: list[bytes] = []
        self.statuses: list[int] = []
        self.now: Callable[[], float] = time.time
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._use(seed)

    def _use(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()

    @property
    def vkey(self) -> str:
        data = base64.b64encode(b"\x04" + self._public).decode()
        return f"{self.name}+{key_id(self.name, 4, self._public).hex()}+{data}"

    def trust(self, vkey: str) -> None:
        key = LogKey(vkey)
        self.logs[key.name] = key

    # The state, one file a log

    def _file(self, origin: str) -> Path:
        return self.directory / f"{hashlib.sha256(origin.encode()).hexdigest()}.json"

    def latest(self, origin: str) -> tuple[int, bytes]:
        """Size and root of the latest checkpoint that was cosigned."""
        try:
            found = json.loads(self._file(origin).read_text())
        except FileNotFoundError:
            return 0, hashlib.sha256().digest()
        return found["size"], bytes.fromhex(found["root"])

    def store(self, origin: str, size: int, root: bytes) -> None:
        """Store a checkpoint durably."""
        file = self._file(origin)
        new = file.with_suffix(".new")
        with new.open("w") as opened:
            json.dump({"size": size, "root": root.hex()}, opened)
            opened.flush()
            os.fsync(opened.fileno())
        new.replace(file)
        descriptor = os.open(self.directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    # add-checkpoint

    def add_checkpoint(self, body: bytes) -> str:  # noqa: C901 - the checks in their order
        """The signature lines for a request; raises `Refused`."""
        try:
            old, proof, text, signatures = self._parse(body)
            origin, size_line, root_line, *_ = text.split("\n")
            size, root = number(size_line), b64(root_line)
            if len(root) != 32:
                raise ValueError("the root has not 32 bytes")
        except ValueError:
            raise Refused(400) from None
        if origin not in self.logs:
            raise Refused(404)
        if not self.logs[origin].has_signed(text, signatures):
            raise Refused(403)
        if old > size:
            raise Refused(400)
        with self._lock:
            known, known_root = self.latest(origin)
            if old != known:
                raise Refused(409, known)
            if old == size and root != known_root:
                raise Refused(409, known)
            if old == 0:
                if proof:
                    raise Refused(422)
            elif not is_consistent(old, size, known_root, root, proof):
                raise Refused(422)
            self.store(origin, size, root)
        return self.cosignature(text, int(self.now()))

    @staticmethod
    def _parse(body: bytes) -> tuple[int, list[bytes], str, list[tuple[str, bytes]]]:
        request, blank, note = body.decode().partition("\n\n")
        first, *proof_lines = request.split("\n")
        word, _, digits = first.partition(" ")
        if not blank or word != "old" or len(proof_lines) > 63:
            raise ValueError("a bad request")
        proof = [b64(line) for line in proof_lines]
        if any(len(one) != 32 for one in proof):
            raise ValueError("a hash has not 32 bytes")
        text, blank, lines = note.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise ValueError("a bad note")
        signatures = []
        for line in lines.split("\n")[:-1]:
            dash, name, box = line.split(" ")
            if dash != DASH:
                raise ValueError("a bad signature line")
            signatures.append((name, b64(box)))
        return number(digits), proof, f"{text}\n", signatures

    def cosignature(self, text: str, at: int) -> str:
        """A signature line: key id, time and signature."""
        signed = self._key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        box = key_id(self.name, 4, self._public) + at.to_bytes(8, "big") + signed
        return f"{DASH} {self.name} {base64.b64encode(box).decode()}\n"

    # Faults

    def next_fault(self) -> str:
        if len(self.faults) > 1:
            return self.faults.pop(0)
        return self.faults[0] if self.faults else ""

    def answer(self, body: bytes, fault: str) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer to a request."""
        try:
            lines = self.add_checkpoint(body)
        except Refused as refused:
            if refused.size is None:
                return refused.status, "text/plain", b""
            return refused.status, "text/x.tlog.size", b"%d\n" % refused.size
        text = self._parse(body)[2]
        lies: dict[str, Callable[[], str]] = {
            "stale": lambda: self.cosignature(text, int(self.now()) - 3_600),
            "future": lambda: self.cosignature(text, int(self.now()) + 3_600),
            "never": lambda: self.cosignature(text, 1 << 63),
            "forged": lambda: self.cosignature(text.replace("\n", "x\n", 1), int(self.now())),
            "stranger": lambda: _stranger(self).cosignature(text, int(self.now())),
            "plain": lambda: self._plain_signature(text),
            "nonsense": lambda: "<html>hello</html>",
            "empty": lambda: "",
            "note": lambda: f"another text\n\n{lines}",
            "many": lambda: f"{DASH} other.example/x AAAAAAAA\n{lines}",
        }
        lie = lies.get(fault)
        return 200, "text/plain", (lines if lie is None else lie()).encode()

    def _plain_signature(self, text: str) -> str:
        """A signature of the note itself, without a time."""
        box = key_id(self.name, 4, self._public) + bytes(8) + self._key.sign(text.encode())
        return f"{DASH} {self.name} {base64.b64encode(box).decode()}\n"


def _stranger(witness: Witness) -> Witness:
    """A witness of the same name with another key."""
    return Witness(witness.directory, witness.name, bytes(range(1, 33)))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    witness: Witness


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        witness = self.server.witness
        body = self.rfile.read(int(self.headers["content-length"]))
        witness.requests.append(body)
        fault = witness.next_fault()
        if self.path != "/w/add-checkpoint":
            self._send(404, "text/plain", b"")
        elif fault == "stall":
            witness.released.wait()
        elif fault == "close":
            pass
        elif fault == "huge":
            self._send(200, "text/plain", b"x" * (1 << 21))
        elif fault == "redirect":
            self._send(307, "text/plain", b"", location="/w/add-checkpoint")
        elif fault.isdecimal():
            self._send(int(fault), "text/plain", b"no\n")
        elif fault.startswith("size "):
            self._send(409, "text/x.tlog.size", fault[5:].encode())
        elif fault == "torn":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhalf")
        else:
            self._send(*witness.answer(body, fault))

    def _send(self, status: int, kind: str, body: bytes, location: str = "") -> None:
        self.server.witness.statuses.append(status)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Running:
    """A witness that serves; `url` is its submission prefix."""

    def __init__(self, witness: Witness, port: int = 0) -> None:
        self.witness = witness
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.witness = witness
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/w"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self.witness.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def witnessing(
    directory: Path, name: str = "witness.example/w1", port: int = 0
) -> Iterator[Running]:
    """Run a witness inside the context; its key follows from its name."""
    directory.mkdir(exist_ok=True)
    running = Running(Witness(directory, name, hashlib.sha256(name.encode()).digest()), port)
    try:
        yield running
    finally:
        running.stop()
