"""The register of a signing key: the newest head that it signed, and where that was recorded.

A file of three lines of 512 bytes, each JSON padded with blanks::

    {"format":1,"key":"eventapi/...+...","place":"131077.1764375910123456789"}
    {"size":6896,"root":"...","sum":"..."}
    {"size":6895,"root":"...","sum":"..."}

The first line names the verifier key, and the file itself: its inode number and the time at which
the inode was made. A copy is another inode, so a register that was copied, or restored from a
backup, knows that it is not the one in which signatures were recorded. The other two lines are
written in turn and in place, so the newest head but one survives a torn write, and the file keeps
its inode.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from events.files import TEMPORARY, file_identity, make_file, sync_directory
from events.notes import TreeHead

_LINE_BYTES: Final = 512
"""One sector: a disk writes it whole or not at all."""

_SLOTS: Final = (1, 2)


class _Header(msgspec.Struct, frozen=True):
    format: int
    key: str
    place: str


class _Slot(msgspec.Struct, frozen=True):
    size: int
    root: bytes
    sum: str

    @property
    def is_whole(self) -> bool:
        """Whether the slot was written whole."""
        return self.sum == _sum(self.size, self.root)


class Register(msgspec.Struct, frozen=True):
    """What a register says; ``is_here`` is false for a copy of the file."""

    vkey: str
    is_here: bool
    head: TreeHead | None


def read_register(path: Path) -> Register | None:
    """The register at a path, ``None`` where there is none; raises `OSError` and `ValueError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        content = os.pread(descriptor, 3 * _LINE_BYTES, 0)
        place = file_identity(descriptor)
    finally:
        os.close(descriptor)
    lines = [content[at : at + _LINE_BYTES] for at in range(0, 3 * _LINE_BYTES, _LINE_BYTES)]
    header = msgspec.json.decode(lines[0], type=_Header)
    newest = max(filter(None, map(_slot, lines[1:])), key=lambda slot: slot.size, default=None)
    origin = header.key.partition("+")[0]
    head = None if newest is None else TreeHead(origin, newest.size, newest.root)
    return Register(header.key, header.place == place, head)


def create_register(path: Path, vkey: str, head: TreeHead | None) -> None:
    """Put a register in place that is at home there, durably; raises `OSError`."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = make_file(temporary, os.O_WRONLY)
    try:
        header = _Header(1, vkey, file_identity(descriptor))
        slots = [_line(None if head is None else _slot_of(head)), _line(None)]
        os.pwrite(descriptor, _line(header) + b"".join(slots), 0)
        os.fsync(descriptor)
        temporary.replace(path)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def record_head(path: Path, head: TreeHead) -> None:
    """Write a head into the older slot of a register, durably; raises `OSError`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        slots = [_slot(os.pread(descriptor, _LINE_BYTES, at * _LINE_BYTES)) for at in _SLOTS]
        sizes: Sequence[int] = [-1 if slot is None else slot.size for slot in slots]
        older = _SLOTS[sizes.index(min(sizes))]
        os.pwrite(descriptor, _line(_slot_of(head)), older * _LINE_BYTES)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _slot_of(head: TreeHead) -> _Slot:
    return _Slot(head.size, head.root, _sum(head.size, head.root))


def _sum(size: int, root: bytes) -> str:
    return sha256(f"{size} {b64encode(root).decode()}".encode()).hexdigest()[:16]


def _slot(line: bytes) -> _Slot | None:
    """A slot that was written whole; ``None`` for an empty or a torn one."""
    try:
        slot = msgspec.json.decode(line, type=_Slot)
    except msgspec.DecodeError:
        return None
    return slot if slot.is_whole else None


def _line(value: object) -> bytes:
    content = b"" if value is None else msgspec.json.encode(value)
    return content.ljust(_LINE_BYTES - 1) + b"\n"
