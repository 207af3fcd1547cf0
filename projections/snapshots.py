"""Snapshots: a State at a position, stored beside the log to make starts faster.

A snapshot is a cache. It is used only if it is intact, the same code wrote it, and it belongs to the
same log; otherwise a warning is logged and the whole log is folded. You can delete snapshots at any
time. A damaged one is removed when it is read; if it stayed, the next one would not be due for a
long time.

A file::

    header   a line of JSON: the version of the code, and the position in the log
    frame    values of no single user: a list with the export of each table
    frame    the read models: by name, the fingerprint of the code, and the state
    frame    a user: the number, the export of each table, and the sealed personal values
    ...
    sum      the SHA-256 of all of this, 32 bytes

A frame is its length, 8 bytes, and MessagePack. Personal values are sealed with the key of their
user, so an erasure reaches every snapshot that was ever taken. The tables export and load
themselves, see `projections.tables.table.Table`.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from msgspec.structs import replace

from events.io.files import TEMPORARY, make_directory, open_or_make_file, write_durably
from events.messages.server_log import (
    SNAPSHOT_NOT_REMOVED,
    SNAPSHOT_PASSED_OVER,
    SNAPSHOT_REMOVED,
    SNAPSHOTS_UNREADABLE,
)
from events.record import START, Record
from events.sealing import NONCE_BYTES, Keyring
from events.vocabulary.vocabulary import Vocabulary
from projections.read_models import Saved
from projections.state import State

logger = logging.getLogger("projections.snapshots")

SNAPSHOTS_KEPT: Final = 2
"""Two, so that a crash while one is written leaves the other."""

_SUFFIX: Final = ".snapshot"
_SUM_BYTES: Final = 32
_LENGTH_BYTES: Final = 8
_FORMAT: Final = 10
_MAX_HEADER_BYTES: Final = 4096

RandomBytes = Callable[[int], bytes]


class Header(msgspec.Struct, frozen=True):
    """The code that wrote a snapshot, and the record of the log at which it was taken."""

    format: int
    code: str
    source: str
    position: int
    hash: str
    time: str
    end: int


class _UserFrame(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The exports of the tables for one user; ``sealed`` is empty without a key."""

    user: int
    public: list[msgspec.Raw]
    sealed: bytes


class _RefusedError(Exception):
    """A snapshot cannot be used."""


class _DamagedError(_RefusedError):
    """The bytes of a snapshot are not those that were written."""


_encode = msgspec.msgpack.Encoder().encode
_decode_user_frame = msgspec.msgpack.Decoder(_UserFrame).decode
_decode_exports = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_read_models = msgspec.msgpack.Decoder(dict[str, Saved]).decode
_decode_header = msgspec.json.Decoder(Header).decode


STATE_CODE: Final = ("projections/**/*.py", "events/*.py", "events/vocabulary/*.py")
"""The files that decide what a line means to a State. Logs, databases and messages do not."""


@cache
def code_version() -> str:
    """The SHA-256 of all code that a State depends on. A change makes snapshots stale."""
    digest = sha256()
    root = Path(__file__).parent.parent
    for pattern in STATE_CODE:
        for file in sorted(root.glob(pattern)):
            name = file.relative_to(root).as_posix()
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Snapshots:
    """The snapshots of one directory."""

    def __init__(self, directory: Path, vocabulary: Vocabulary, *, read_only: bool = False) -> None:
        """Snapshots of states with this vocabulary; others are not used.

        With ``read_only``, reading leaves damaged ones where they are.
        """
        self._directory = directory
        self._vocabulary = vocabulary
        self._read_only = read_only
        self._code = f"{code_version()} {vocabulary.fingerprint}"
        self._lock = directory / "lock"
        self._claim = directory / "claim"

    def positions(self) -> list[int]:
        """The positions of all snapshots, newest first."""
        names = (path.stem for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def newest(self, keyring: Keyring, *, position: int, time: str | None = None) -> State | None:
        """The newest usable state up to a position and a time, or ``None``.

        The caller must check with ``last.hash`` that it belongs to the log.
        """
        try:
            positions = self.positions()
        except OSError as reason:
            logger.warning(SNAPSHOTS_UNREADABLE.fill(reason=reason))
            return None
        for taken in positions:
            if taken > position:
                continue
            path = self._path(taken)
            try:
                header, body = self._open(path.read_bytes())
                if time is None or header.time <= time:
                    return _load(header, body, keyring, self._vocabulary)
            except _DamagedError as reason:
                if self._read_only:
                    logger.warning(SNAPSHOT_PASSED_OVER.fill(name=path.name, reason=reason))
                else:
                    _remove(path)
            except (OSError, _RefusedError, msgspec.MsgspecError, ValueError) as reason:
                logger.warning(SNAPSHOT_PASSED_OVER.fill(name=path.name, reason=reason))
        return None

    def usable_position(self) -> int:
        """The position of the newest snapshot of this code version; 0 without one."""
        for position in self.positions():
            with suppress(OSError, msgspec.MsgspecError), self._path(position).open("rb") as file:
                header = _decode_header(file.readline(_MAX_HEADER_BYTES))
                if header.format == _FORMAT and header.code == self._code:
                    return position
        return 0

    def remove_damaged(self) -> list[int]:
        """Remove damaged snapshots and return their positions. Raises `OSError`."""
        found = []
        for position in self.positions():
            path = self._path(position)
            try:
                _without_sum(path.read_bytes())
            except FileNotFoundError:
                continue  # A newer one took its place.
            except _DamagedError:
                path.unlink(missing_ok=True)
                found.append(position)
        return found

    def locked(self) -> AbstractContextManager[bool]:
        """Lock out other writers of snapshots; yields false if one holds the lock."""
        return self._exclusive(self._lock)

    def claimed(self) -> AbstractContextManager[bool]:
        """Lock out processes that start a writer; yields false if one holds the lock."""
        return self._exclusive(self._claim)

    @contextmanager
    def _exclusive(self, path: Path) -> Iterator[bool]:
        make_directory(self._directory)
        with open_or_make_file(path, os.O_RDWR) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def is_locked(self) -> bool:
        """Whether a process is taking a snapshot."""
        with self.locked() as alone:
            return not alone

    def write(self, state: State, keyring: Keyring, random_bytes: RandomBytes) -> int:
        """Write a snapshot atomically, and return its size in bytes.

        The caller must hold `locked`. Raises `OSError`.
        """
        content = _content(state, keyring, random_bytes, self._code)
        make_directory(self._directory)
        for left_behind in self._directory.glob(f"*{TEMPORARY}"):
            left_behind.unlink(missing_ok=True)
        write_durably(self._path(state.position), content)
        for position in self.positions()[SNAPSHOTS_KEPT:]:
            self._path(position).unlink(missing_ok=True)
        return len(content)

    def remove(self) -> None:
        """Remove all snapshots, so the next start folds the whole log."""
        for position in self.positions():
            self._path(position).unlink(missing_ok=True)

    def _open(self, content: bytes) -> tuple[Header, memoryview]:
        """The header and the frames of a file; raises `_RefusedError`."""
        view = _without_sum(content)
        length = content.index(b"\n")
        header = _decode_header(view[:length])
        if header.format != _FORMAT or header.code != self._code:
            raise _RefusedError("another version of the code wrote it")
        return header, view[length + 1 :]

    def _path(self, position: int) -> Path:
        return self._directory / f"{position}{_SUFFIX}"


def _remove(damaged: Path) -> None:
    try:
        damaged.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(SNAPSHOT_NOT_REMOVED.fill(name=damaged.name, reason=error))
        return
    logger.warning(SNAPSHOT_REMOVED.fill(name=damaged.name))


def _without_sum(content: bytes) -> memoryview:
    """The bytes of a file before its checksum; raises `_DamagedError`."""
    view = memoryview(content)
    if sha256(view[:-_SUM_BYTES]).digest() != view[-_SUM_BYTES:]:
        raise _DamagedError("it is damaged")
    return view[:-_SUM_BYTES]


def _content(state: State, keyring: Keyring, random_bytes: RandomBytes, code: str) -> bytearray:
    """The content of a snapshot's file."""
    last = state.last
    header = Header(_FORMAT, code, last.source, last.position, last.hash.hex(), last.time, last.end)
    content = bytearray(msgspec.json.encode(header) + b"\n")
    _append(content, [table.export_shared() for table in state.tables])
    _append(content, state.read_models.export())
    for user in state.users.by_id.values():
        exports = [table.export_owner(user.id) for table in state.tables]
        cipher, sealed = keyring.get(user.subject), b""
        if cipher is not None:
            nonce = random_bytes(NONCE_BYTES)
            clear = _encode([personal for _, personal in exports])
            sealed = nonce + cipher.encrypt(nonce, clear, _seal_context(last, user.subject))
        _append(content, (user.id, [public for public, _ in exports], sealed))
    content += sha256(content).digest()
    return content


def _append(content: bytearray, frame: object) -> None:
    encoded = _encode(frame)
    content += len(encoded).to_bytes(_LENGTH_BYTES)
    content += encoded


def _frames(body: memoryview) -> Iterator[memoryview]:
    start = 0
    while start < len(body):
        end = start + _LENGTH_BYTES + int.from_bytes(body[start : start + _LENGTH_BYTES])
        yield body[start + _LENGTH_BYTES : end]
        start = end


def _load(header: Header, body: memoryview, keyring: Keyring, vocabulary: Vocabulary) -> State:
    state = State.empty(vocabulary)
    state.last = replace(
        START,
        position=header.position,
        source=header.source,
        time=header.time,
        hash=bytes.fromhex(header.hash),
        end=header.end,
    )
    frames = _frames(body)
    for table, content in zip(state.tables, _decode_exports(next(frames)), strict=True):
        table.load_shared(content)
    state.read_models.load(_decode_read_models(next(frames)))
    for encoded in frames:
        frame = _decode_user_frame(encoded)
        personal = _unseal(frame, keyring, state.last)
        for index, (table, public) in enumerate(zip(state.tables, frame.public, strict=True)):
            table.load_owner(frame.user, public, personal[index] if personal else None)
    for table in state.tables:
        table.finish_load()
    return state


def _unseal(frame: _UserFrame, keyring: Keyring, last: Record) -> list[msgspec.Raw]:
    """The personal exports of the tables; none if the key was destroyed since.

    Then the user's values are blank, and a record after the snapshot erases the user.
    """
    subject = f"users/{frame.user}"
    cipher = keyring.get(subject)
    if cipher is None or not frame.sealed:
        return []
    nonce, sealed = frame.sealed[:NONCE_BYTES], frame.sealed[NONCE_BYTES:]
    try:
        return _decode_exports(cipher.decrypt(nonce, sealed, _seal_context(last, subject)))
    except InvalidTag:
        raise _RefusedError(f"the seal of {subject} is broken") from None


def _seal_context(last: Record, subject: str) -> bytes:
    """The associated data of a user's sealed values, which binds them to one snapshot."""
    return f"{last.source}|snapshot|{last.position}|{subject}".encode()
