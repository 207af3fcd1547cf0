"""Read a log file without the server's code, from the format's contract alone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import zstandard

from events.sealing import Keyring, unseal
from events.vault.sqlite import SqliteVault


class Line(msgspec.Struct, kw_only=True):
    """A line with its personal data unsealed; ``end`` is the offset after its newline."""

    position: int
    type: str
    subject: str
    actor: str
    time: str = ""
    requestid: str = ""
    personal: Mapping[str, Any] = {}
    end: int = 0

    @property
    def item(self) -> int:
        """The number of the item that is the subject, 0 if the subject is no item."""
        kind, _, number = self.subject.partition("/")
        return int(number) if kind == "items" else 0


class Log(msgspec.Struct):
    """The lines of a log, and the faults of its hash chain."""

    lines: list[Line]
    faults: list[str]


async def read_keys(vault: Path) -> Keyring:
    """Return the keys in a vault's file."""
    keyring = Keyring()
    opened = SqliteVault(vault)
    for subject, key in (await opened.all()).items():
        keyring.add(subject, key)
    await opened.close()
    return keyring


def read_whole(path: Path) -> bytes:
    """Read the closed segments of a log and its open file, also beside a running server."""
    closed, file = _open(path)
    with file:
        return b"".join(map(_decompress, closed)) + file.read()


def size_of(path: Path) -> int:
    """The size of a whole log in bytes."""
    closed, file = _open(path)
    with file:
        return (
            sum(len(_decompress(segment)) for segment in closed) + os.fstat(file.fileno()).st_size
        )


def _open(path: Path) -> tuple[list[Path], BinaryIO]:
    """The closed segments before the first line of the open file, and the file."""
    file = path.open("rb")
    first = re.search(rb'"id":"([0-9]+)"', os.pread(file.fileno(), 64, 0))
    if first is None or first[1] == b"1":
        return [], file
    found = sorted(path.with_name(f"{path.name}.segments").glob("*.jsonl.zst"))
    return [one for one in found if int(one.name[17:33]) < int(first[1])], file


@cache
def _decompress(segment: Path) -> bytes:
    decompressor = zstandard.ZstdDecompressor()
    return decompressor.stream_reader(segment.read_bytes(), read_across_frames=True).read()


def read_log(path: Path) -> Log:
    """Read a whole log; its vault lies beside it."""
    keyring = asyncio.run(read_keys(path.with_name("vault.sqlite")))
    *raw_lines, rest = read_whole(path).split(b"\n")
    log = Log([], [f"{len(rest)} bytes after the last newline"] if rest else [])
    head, end, time = bytes(32), 0, ""
    for position, raw in enumerate(raw_lines, 1):
        end += len(raw) + 1
        try:
            members = json.loads(raw)
        except ValueError:
            log.faults.append(f"position {position} is not JSON")
            continue
        body, _, _ = raw.rpartition(b',"hash":"')
        head = hashlib.sha256(head + body).digest()
        if members["hash"] != head.hex():
            log.faults.append(f"the chain is broken at position {position}")
        if members["id"] != str(position):
            log.faults.append(f"the line at position {position} has the id {members['id']}")
        if members["time"] < time:
            log.faults.append(f"time goes back at position {position}")
        time = members["time"]
        log.lines.append(_line(position, members, keyring, end))
    return log


def _line(position: int, members: Mapping[str, Any], keyring: Keyring, end: int) -> Line:
    personal = {}
    if "sealed" in members["data"]:
        context = "|".join(members[name] for name in ("source", "type", "subject")).encode()
        clear = unseal(keyring[members["sealedfor"]], members["data"]["sealed"], context)
        personal = json.loads(clear)
        if "commitment" in members:
            for name in ("salt", "$reason"):
                personal.pop(name, None)
    return Line(
        position=position,
        type=members["type"],
        subject=members["subject"],
        actor=members["actor"],
        time=members["time"],
        requestid=members.get("requestid", ""),
        personal=personal,
        end=end,
    )
