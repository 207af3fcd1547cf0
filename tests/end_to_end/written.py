"""What the log says, read independently of the server's own code: only the contract is used."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.sealing import Keyring, unseal
from events.vault.sqlite import SqliteVault


class Line(msgspec.Struct, kw_only=True):
    """A line, its seal open; ``end`` is where its newline ends in the file."""

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
        """The number of the item that it is about; 0 where it is about none."""
        kind, _, number = self.subject.partition("/")
        return int(number) if kind == "items" else 0


class Log(msgspec.Struct):
    """The lines, and what is wrong with them as a chain."""

    lines: list[Line]
    faults: list[str]


async def keys_of(vault: Path) -> Keyring:
    """The keys in a vault's file."""
    keyring = Keyring()
    opened = SqliteVault(vault)
    for subject, key in (await opened.all()).items():
        keyring.add(subject, key)
    await opened.close()
    return keyring


def read_log(path: Path) -> Log:
    """A whole log with its vault beside it."""
    keyring = asyncio.run(keys_of(path.with_name("vault.sqlite")))
    *raw_lines, rest = path.read_bytes().split(b"\n")
    log = Log([], [f"{len(rest)} bytes behind the last newline"] if rest else [])
    head, end, time = bytes(32), 0, ""
    for position, raw in enumerate(raw_lines, 1):
        end += len(raw) + 1
        try:
            members = json.loads(raw)
        except ValueError:
            log.faults.append(f"position {position} is no JSON")
            continue
        body, _, _ = raw.rpartition(b',"hash":"')
        head = hashlib.sha256(head + body).digest()
        if members["hash"] != head.hex():
            log.faults.append(f"the chain is broken at position {position}")
        if members["id"] != str(position):
            log.faults.append(f"at position {position} is {members['id']}")
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
