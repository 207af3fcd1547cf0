"""Snapshots: a State at a position, kept beside the log to start faster.

A snapshot is a cache. It is believed only if it is whole, was written by this very code, and stands
on this very log; otherwise it is passed over with a line in the log, and everything is folded from
zero. Deleting it changes nothing but how long a start takes. A damaged one is removed when it is
read, or no new one would be taken until the log has grown enough.

A file is a header line of JSON, a body of MessagePack, and the SHA-256 of both, 32 raw bytes. What
users typed is in the body only sealed, one box per user under that user's key, so an erasure
reaches every snapshot that was ever taken.
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

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import force_setattr, replace

from events.io.files import TEMPORARY, make_directory, open_or_make_file, write_durably
from events.messages.server_log import (
    SNAPSHOT_NOT_REMOVED,
    SNAPSHOT_PASSED_OVER,
    SNAPSHOT_REMOVED,
    SNAPSHOTS_UNREADABLE,
)
from events.record import START, Record
from events.sealing import NONCE_BYTES, Keyring
from projections.state import State
from projections.tables.idempotency import IdempotencyRecord
from projections.tables.items import Item, Tombstone, VersionIndex
from projections.tables.sessions import Session
from projections.tables.users import User

logger = logging.getLogger("projections.snapshots")

KEPT = 2
"""How many snapshots are kept; the older one is for a crash while the newer is written."""

_SUFFIX = ".snapshot"
_SUM_BYTES = 32
_FORMAT = 3
_MAX_HEADER_BYTES = 4096


class Header(msgspec.Struct, frozen=True):
    """What a snapshot stands on: the code that wrote it, and the log up to a record."""

    format: int
    code: str
    source: str
    position: int
    hash: str
    time: str
    end: int


class _Box(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a user typed: of items and sessions, in the order in which `_Owned` has them."""

    username: str
    email: str
    full_name: str | None
    password_hash: str
    texts: list[tuple[str, str | None]]
    devices: list[tuple[str | None, str | None]]


class _Owned(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A user and what is theirs, blank of all that they typed; ``box`` is a sealed `_Box`."""

    user: User
    items: list[Item]
    sessions: list[Session]
    log_bytes: int
    box: bytes


class _Body(msgspec.Struct, array_like=True, frozen=True, gc=False):
    last_user: int
    last_item: int
    owned: list[_Owned]
    deleted: list[Tombstone]
    lives: bytes
    skipped: int
    receipts: list[tuple[str, IdempotencyRecord]]


class _RefusedError(Exception):
    """A snapshot that is not to be believed, and why."""


class _DamagedError(_RefusedError):
    """A snapshot whose bytes are not those that were written."""


_encode = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(_Body).decode
_decode_box = msgspec.msgpack.Decoder(_Box).decode
_decode_header = msgspec.json.Decoder(Header).decode


@cache
def code_version() -> str:
    """The SHA-256 of all code that a State depends on: a change of it makes snapshots stale."""
    digest = sha256()
    here = Path(__file__).parent
    for room in (here, here.parent / "events"):
        for file in sorted(room.rglob("*.py")):
            name = file.relative_to(room).as_posix()
            digest.update(name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Snapshots:
    """The snapshots of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = directory / "lock"
        self._claim = directory / "claim"

    def positions(self) -> list[int]:
        """The positions of the snapshots that there are, newest first."""
        names = (path.stem for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def newest(self, keyring: Keyring, *, position: int, time: str | None = None) -> State | None:
        """The newest state, at a position and time or before, that can be believed by itself.

        Whether it stands on the log at hand is for the caller to see: by ``last.hash``.
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
                header, body = _opened(path.read_bytes())
                if time is None or header.time <= time:
                    return _restored(header, body, keyring)
            except _DamagedError:
                _remove(path)
            except (OSError, _RefusedError, msgspec.MsgspecError, ValueError) as reason:
                logger.warning(SNAPSHOT_PASSED_OVER.fill(name=path.name, reason=reason))
        return None

    def usable_position(self) -> int:
        """The position of the newest snapshot that this code wrote, as far as its header tells."""
        for position in self.positions():
            with suppress(OSError, msgspec.MsgspecError), self._path(position).open("rb") as file:
                header = _decode_header(file.readline(_MAX_HEADER_BYTES))
                if header.format == _FORMAT and header.code == code_version():
                    return position
        return 0

    def remove_damaged(self) -> list[int]:
        """Remove the snapshots whose bytes are damaged; returns their positions. Raises `OSError`."""
        found = []
        for position in self.positions():
            path = self._path(position)
            try:
                _checked(path.read_bytes())
            except FileNotFoundError:
                continue  # A newer one took its place.
            except _DamagedError:
                path.unlink(missing_ok=True)
                found.append(position)
        return found

    def locked(self) -> AbstractContextManager[bool]:
        """Lock out other writers of snapshots; false if another process is writing one."""
        return self._exclusive(self._lock)

    def claimed(self) -> AbstractContextManager[bool]:
        """Lock out other workers that want to start a writer; false if one of them does so."""
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
        """Whether somebody is taking a snapshot."""
        with self.locked() as alone:
            return not alone

    def write(self, state: State, keyring: Keyring, random_bytes: Callable[[int], bytes]) -> int:
        """Keep a state, whole or not at all; returns the size in bytes. Raises `OSError`.

        Nobody else may write meanwhile, see `locked`.
        """
        last = state.last
        header = Header(
            _FORMAT,
            code_version(),
            last.source,
            last.position,
            last.hash.hex(),
            last.time,
            last.end,
        )
        content = msgspec.json.encode(header) + b"\n" + _encode(_body(state, keyring, random_bytes))
        make_directory(self._directory)
        path = self._path(last.position)
        content += sha256(content).digest()
        for left_behind in self._directory.glob(f"*{TEMPORARY}"):
            left_behind.unlink(missing_ok=True)
        write_durably(path, content)
        for position in self.positions()[KEPT:]:
            self._path(position).unlink(missing_ok=True)
        return len(content)

    def remove(self) -> None:
        """Remove all there are; the next start folds from zero."""
        for position in self.positions():
            self._path(position).unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._directory / f"{position}{_SUFFIX}"


def _remove(damaged: Path) -> None:
    try:
        damaged.unlink(missing_ok=True)
    except OSError as error:
        logger.warning(SNAPSHOT_NOT_REMOVED.fill(name=damaged.name, reason=error))
        return
    logger.warning(SNAPSHOT_REMOVED.fill(name=damaged.name))


def _checked(content: bytes) -> bytes:
    """What is in a file before its checksum; raises `_DamagedError`."""
    content, checksum = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if sha256(content).digest() != checksum:
        raise _DamagedError("it is damaged")
    return content


def _opened(content: bytes) -> tuple[Header, _Body]:
    line, _, body = _checked(content).partition(b"\n")
    header = _decode_header(line)
    if header.format != _FORMAT or header.code != code_version():
        raise _RefusedError("another version of the code wrote it")
    return header, _decode_body(body)


def _context(last: Record, user: User) -> bytes:
    """What a box is bound to."""
    return f"{last.source}|snapshot|{last.position}|{user.subject}".encode()


def _body(state: State, keyring: Keyring, random_bytes: Callable[[int], bytes]) -> _Body:
    owned = []
    for user in state.users.by_id.values():
        items = [state.items.by_id[number] for number in state.items.by_owner[user.id]]
        ids = state.sessions.ids_by_user.get(user.id, frozenset())
        sessions = [state.sessions.by_id[session] for session in sorted(ids)]
        box = b""
        cipher = keyring.get(user.subject)
        if cipher is not None:
            nonce = random_bytes(NONCE_BYTES)
            clear = _encode(_box(user, items, sessions))
            box = nonce + cipher.encrypt(nonce, clear, _context(state.last, user))
        owned.append(
            _Owned(
                replace(user, username="", email="", full_name=None, password_hash=""),
                [replace(item, title="", description=None) for item in items],
                [replace(session, address=None, user_agent=None) for session in sessions],
                state.items.log_bytes.of(user.id),
                box,
            )
        )
    deleted = list(state.items.deleted.values())
    lives = bytes(state.items.lives)
    # The log has all of a receipt in clear, and the hash of the request sealed.
    receipts = list(state.idempotency.by_key.items())
    return _Body(
        state.users.last_id,
        state.items.last_id,
        owned,
        deleted,
        lives,
        state.idempotency.skipped,
        receipts,
    )


def _box(user: User, items: list[Item], sessions: list[Session]) -> _Box:
    return _Box(
        user.username,
        user.email,
        user.full_name,
        user.password_hash,
        [(item.title, item.description) for item in items],
        [(session.address, session.user_agent) for session in sessions],
    )


def _restored(header: Header, body: _Body, keyring: Keyring) -> State:
    state = State.empty()
    state.last = replace(
        START,
        position=header.position,
        source=header.source,
        time=header.time,
        hash=bytes.fromhex(header.hash),
        end=header.end,
    )
    sessions: list[Session] = []
    for owned in body.owned:
        cipher = keyring.get(owned.user.subject)
        # Blank where the key is destroyed since: then the records that follow erase the user.
        if cipher is not None and owned.box:
            _fill(owned, _unboxed(cipher, owned, state.last))
        _take_in(state, owned)
        sessions += owned.sessions
    for session in sorted(sessions, key=lambda session: session.version):
        state.sessions.by_id[session.id] = session
    state.idempotency.restore(body.skipped, body.receipts)
    state.items.lives = VersionIndex(body.lives)
    for tombstone in body.deleted:
        state.items.deleted[tombstone.id] = tombstone
        state.items.lives.mark_deleted(tombstone.owner, tombstone.id)
    state.users.last_id, state.items.last_id = body.last_user, body.last_item
    return state


def _unboxed(cipher: AESGCM, owned: _Owned, last: Record) -> _Box:
    nonce, sealed = owned.box[:NONCE_BYTES], owned.box[NONCE_BYTES:]
    try:
        return _decode_box(cipher.decrypt(nonce, sealed, _context(last, owned.user)))
    except InvalidTag:
        raise _RefusedError(f"the seal of {owned.user.subject} is broken") from None


def _fill(owned: _Owned, box: _Box) -> None:
    """Put back what was typed, into entities that were decoded a moment ago and nobody else has."""
    for name in ("username", "email", "full_name", "password_hash"):
        force_setattr(owned.user, name, getattr(box, name))
    for item, (title, description) in zip(owned.items, box.texts, strict=True):
        force_setattr(item, "title", title)
        force_setattr(item, "description", description)
    for session, (address, user_agent) in zip(owned.sessions, box.devices, strict=True):
        force_setattr(session, "address", address)
        force_setattr(session, "user_agent", user_agent)


def _take_in(state: State, owned: _Owned) -> None:
    user = owned.user
    state.users.by_id[user.id] = user
    state.users.track_hash_kind(user)
    state.users.index(user)
    for item in owned.items:
        if item.updated_at == item.created_at:
            force_setattr(item, "updated_at", item.created_at)  # One string for both.
        state.items.by_id[item.id] = item
        state.items.by_owner.add(user.id, item.id)
    if owned.log_bytes:
        state.items.log_bytes.add(user.id, owned.log_bytes)
    if owned.sessions:
        ids = frozenset(session.id for session in owned.sessions)
        state.sessions.ids_by_user[user.id] = ids
