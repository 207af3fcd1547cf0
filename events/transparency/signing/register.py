"""The register of a signing key: its newest signed head, and the record's place.

A file of one line of JSON::

    {"format":1,"key":"eventapi/...+...","place":"131077.1764375910123456789","size":6896,"root":"..."}

``key`` is the verifier key. ``place`` identifies the file: its inode number and the time at which
the inode was created. Every record creates a new file, so older content names an inode that is gone.
A register that was copied, restored from a backup, or overwritten in place with older content is
therefore recognised as not being the file in which the last signature was recorded.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from events.io.files import TEMPORARY, file_identity, make_file, sync_directory
from events.transparency.signed_note import TreeHead

_FORMAT = 1


class _Content(msgspec.Struct, frozen=True):
    format: int
    key: str
    place: str
    size: int | None = None
    root: bytes = b""


class Register(msgspec.Struct, frozen=True):
    """The content of a register; ``is_here`` is false for a copy of the file."""

    vkey: str
    is_here: bool
    head: TreeHead | None


def read_register(path: Path) -> Register | None:
    """The register at a path, or ``None``; raises `OSError` and `ValueError`."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        content = msgspec.json.decode(file.read(), type=_Content)
        place = file_identity(file.fileno())
    origin = content.key.partition("+")[0]
    head = None if content.size is None else TreeHead(origin, content.size, content.root)
    return Register(content.key, content.place == place, head)


def create_register(path: Path, vkey: str, head: TreeHead | None) -> None:
    """Durably replace the register by a new file that names itself; raises `OSError`."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    descriptor = make_file(temporary, os.O_WRONLY)
    try:
        size, root = (None, b"") if head is None else (head.size, head.root)
        content = _Content(_FORMAT, vkey, file_identity(descriptor), size, root)
        os.write(descriptor, msgspec.json.encode(content) + b"\n")
        os.fsync(descriptor)
        temporary.replace(path)
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
