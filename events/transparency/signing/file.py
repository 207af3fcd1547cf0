"""The signing store of a log in a file: four files beside the log.

``events.jsonl.key``
    the private key; it may be copied and put back.
``events.jsonl.signed``
    the register (see `events.transparency.signing.register`): the newest signed head, and the inode
    in which it was recorded. A copy of the file confirms nothing.
``events.jsonl.checkpoint``
    the newest checkpoint in its published form; it can be made again from the register.
``events.jsonl.cosigned``
    the newest checkpoint with the signatures of witnesses.

The register is written and synced before the checkpoint. A process that dies between the two leaves
a head that was never published, which does no harm.

The lock is a ``flock`` on the directory: the files themselves are replaced.

Copies that this store cannot recognise: restoring a disk image or a snapshot of the whole file
system restores the same inodes. If the file system does not store when an inode was created, a copy
that gets the old inode number is not recognised either.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from msgspec import DecodeError
from msgspec.structs import replace

from events.errors import ConfigurationError, LogUnavailable
from events.io.files import make_directory, sync_directory, system_reason, write_durably
from events.io.tasks import run_in_thread
from events.messages.errors import LOG_KEY_UNREADABLE
from events.transparency.signed_note import Note, Signer, TreeHead
from events.transparency.signing.port import SigningState
from events.transparency.signing.register import Register, create_register, read_register

_LOCK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.001


class FileSigning:
    """The files of one log, shared by any number of processes on one machine."""

    def __init__(self, log: Path) -> None:
        """``log`` is the path of the log; the names of the files begin with its name."""
        self._log = log
        self._key = log.with_name(f"{log.name}.key")
        self._register = log.with_name(f"{log.name}.signed")
        self._checkpoint = log.with_name(f"{log.name}.checkpoint")
        self._cosigned = log.with_name(f"{log.name}.cosigned")

    async def read(self) -> SigningState:
        return await run_in_thread(self._read)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[FileSigning]:
        descriptor = await run_in_thread(self._lock)
        try:
            yield self
        finally:
            os.close(descriptor)

    async def begin(self, signer: Signer) -> None:
        await run_in_thread(lambda: self._begin(signer))

    async def record(self, note: Note) -> None:
        await run_in_thread(lambda: self._record(note))

    async def confirm(self, note: Note) -> None:
        await run_in_thread(lambda: self._confirm(note))

    async def record_cosigned(self, note: Note) -> None:
        with _translate_os_errors():
            await run_in_thread(lambda: write_durably(self._cosigned, str(note).encode()))

    def _lock(self) -> int:
        with _translate_os_errors():
            make_directory(self._log.parent)
            descriptor = os.open(self._log.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not isinstance(error, BlockingIOError) or time.monotonic() >= deadline:
                    os.close(descriptor)
                    reason = f"the signing key was not free within {_LOCK_SECONDS} s"
                    raise LogUnavailable(reason) from error
                time.sleep(_POLL_SECONDS)
            else:
                return descriptor

    # Reading

    def _read(self) -> SigningState:
        signer = self._read_signer()
        with _translate_os_errors():
            # Read it before the register, which is written first and so is never older.
            shown = read_checkpoint(self._checkpoint)
            register = self._read_own_register()
            cosigned = read_checkpoint(self._cosigned)
        if signer is None:
            return _keyless_state(register, shown)
        name, head = signer.verifier.name, None
        is_confirmed = False
        if register is not None and register.vkey == signer.verifier.vkey:
            is_confirmed, head = register.is_here, register.head
        if shown is not None and signer.verifier.verify(shown):
            beside = TreeHead.parse(shown)
            if head is None or beside.size > head.size:
                # Another machine signed with the same key, so this register is not complete.
                is_confirmed, head = False, beside
        held = SigningState(
            "confirmed" if is_confirmed else "unconfirmed",
            signer,
            head,
            None if head is None else signer.sign(str(head)),
            name,
        )
        if cosigned is not None and signer.verifier.verify(cosigned):
            held = replace(held, cosigned=cosigned)
        return held

    def _read_signer(self) -> Signer | None:
        try:
            return Signer.parse(self._key.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            message = LOG_KEY_UNREADABLE.fill(path=self._key, reason=reason)
            raise ConfigurationError(message) from None

    def _read_own_register(self) -> Register | None:
        try:
            return read_register(self._register)
        except (ValueError, DecodeError):
            # A damaged register confirms nothing, but shows that a head was signed.
            return Register("", is_here=False, head=None)

    # Writing

    def _begin(self, signer: Signer) -> None:
        with _translate_os_errors():
            name = self._read().signed_by or "unknown"
            # The old files keep their names until the new ones replace them, so a process that dies
            # here leaves an unconfirmed key, and never a directory that looks new.
            for path in (self._key, self._register):
                _link_copy(path, name)
            create_register(self._register, signer.verifier.vkey, None)
            write_durably(self._key, signer.skey.encode())
            self._move(self._cosigned, name)
            self._set_aside_checkpoint(None)

    def _record(self, note: Note) -> None:
        head = TreeHead.parse(note)
        with _translate_os_errors():
            register = self._read_own_register()
            if register is None or not register.is_here:
                raise LogUnavailable(f"{self._register} was replaced while it was in use")
            create_register(self._register, register.vkey, head)
            self._set_aside_checkpoint(head.origin)
            write_durably(self._checkpoint, str(note).encode())

    def _confirm(self, note: Note) -> None:
        signer = self._read_signer()
        assert signer is not None  # noqa: S101 - the caller has checked the note with it
        with _translate_os_errors():
            register = self._read_own_register()
            if register is not None and register.vkey != signer.verifier.vkey:
                self._move(self._register, register.vkey.partition("+")[0])
            self._set_aside_checkpoint(signer.verifier.name)
            create_register(self._register, signer.verifier.vkey, TreeHead.parse(note))
            write_durably(self._checkpoint, str(note).encode())

    def _set_aside_checkpoint(self, name: str | None) -> None:
        set_aside_checkpoint(self._checkpoint, name)

    def _move(self, path: Path, name: str) -> None:
        if path.exists():
            path.rename(_free_name(path, name))
            sync_directory(path.parent)


def _link_copy(path: Path, name: str) -> None:
    """Give a file that will be replaced a second name, with the name of its key."""
    if path.exists():
        os.link(path, _free_name(path, name))
        sync_directory(path.parent)


def set_aside_checkpoint(path: Path, name: str | None) -> None:
    """Rename a checkpoint of another key than ``name``, so that it is kept.

    Raises `OSError`.
    """
    note = read_checkpoint(path)
    if not path.exists():
        return
    origin = "unknown" if note is None else TreeHead.parse(note).origin
    if origin != name:
        path.rename(_free_name(path, origin))
        sync_directory(path.parent)


def _free_name(path: Path, name: str) -> Path:
    """A free name beside a file, for its content under an earlier key."""
    suffix = "".join(char for char in name.rpartition("/")[2] if char.isalnum())[:32] or "unknown"
    found, number = path.with_name(f"{path.name}.{suffix}"), 1
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}.{suffix}.{number}")
    return found


def _keyless_state(register: Register | None, shown: Note | None) -> SigningState:
    """The state of a store without a key: new, unless a file shows that there was one."""
    is_unused = register is not None and register.is_here and register.head is None
    if shown is None and (register is None or is_unused):
        return SigningState("new")  # A process died while making the key; nothing was signed yet.
    head = None if register is None else register.head
    if shown is not None and (head is None or TreeHead.parse(shown).size > head.size):
        head = TreeHead.parse(shown)
    signed_by = head.origin if head is not None else register and register.vkey.partition("+")[0]
    return SigningState("keyless", head=head, signed_by=signed_by or None)


def read_checkpoint(path: Path) -> Note | None:
    """The checkpoint in a file; ``None`` if the file is missing or not a checkpoint."""
    try:
        note = Note.parse(path.read_text(encoding="utf-8"))
        TreeHead.parse(note)
    except (FileNotFoundError, ValueError):
        return None
    return note


@contextmanager
def _translate_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogUnavailable(f"the signing store cannot be used: {system_reason(error)}") from error
