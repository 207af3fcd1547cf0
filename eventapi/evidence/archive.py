"""A zip that is written part by part, and the digests of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o644 << 16
_UNIX: Final = 3
_LABEL: Final = b"checks of this zip: "
_ZIP_CHECK_DIGITS: Final = 16
CHECK_BYTES: Final = 4


def check_of(line: bytes) -> bytes:
    """The check of one line: the first 4 bytes of its SHA-256."""
    return sha256(line).digest()[:CHECK_BYTES]


class Digest:
    """Size and SHA-256 of a file that is written in parts, and checks of its lines.

    What follows the last newline is a line as well, usually an empty one.
    """

    def __init__(self) -> None:
        self.size = 0
        self._whole = sha256()
        self._rest = b""
        self._checks = bytearray()  # A large pack has many lines.

    def add(self, part: bytes) -> None:
        """Add the next bytes of the file."""
        self.size += len(part)
        self._whole.update(part)
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            self._checks += check_of(line)

    @property
    def sha256(self) -> str:
        """The SHA-256 in hex."""
        return self._whole.hexdigest()

    @property
    def checks(self) -> str:
        """The checks of all lines in hex, without a separator."""
        return (self._checks + check_of(self._rest)).hex()


class _Buffer:
    """The bytes that were written and not taken yet; `ZipFile` takes it for a pipe."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self.parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        parts, self.parts = self.parts, []
        return b"".join(parts)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class _File:
    """A file of a zip while it is written."""

    def __init__(self, write: Callable[[bytes], object], digest: Digest) -> None:
        self._write = write
        self._digest = digest

    def write(self, part: bytes) -> None:
        """Append bytes."""
        self._digest.add(part)
        self._write(part)


class Archive:
    """A zip of compressed files with a fixed time: equal files make equal bytes.

    Its comment has a check of each section of the zip, 16 hex digits of a SHA-256. A section has the
    bytes from the header of a file to that of the next file. That of the last file has the rest of
    the zip as well, up to its own check. So each bit of the zip is in a file, a section or a check.
    """

    def __init__(self) -> None:
        self._buffer = _Buffer()
        # It has no `tell`, so each file is followed by its size and sum.
        self._zip = ZipFile(self._buffer, "w", ZIP_DEFLATED)
        self._ready = b""
        self._section = sha256()
        self._checks = b""
        self.digests: dict[str, Digest] = {}

    @contextmanager
    def file(self, name: str, *, is_large: bool = False) -> Iterator[_File]:
        """Begin a file, and end it after the context; ``is_large`` if it may have 2 GiB."""
        if self.digests:
            self._ready = self.take()
            self._checks += self._end_section()
        info = ZipInfo(name, _EARLIEST)
        info.compress_type, info.external_attr, info.create_system = ZIP_DEFLATED, _MODE, _UNIX
        digest = self.digests[name] = Digest()
        with self._zip.open(info, "w", force_zip64=is_large) as out:
            yield _File(out.write, digest)

    def add(self, name: str, content: bytes) -> None:
        """Add a whole file."""
        with self.file(name) as file:
            file.write(content)

    def take(self) -> bytes:
        """Remove and return what has been written since the last call."""
        part = self._buffer.take()
        self._section.update(part)
        ready, self._ready = self._ready, b""
        return ready + part

    def finish(self) -> bytes:
        """Write the table of contents and the checks, and return the rest."""
        self._zip.comment = _LABEL + self._checks + bytes(_ZIP_CHECK_DIGITS)
        self._zip.close()
        rest = self._buffer.take()[:-_ZIP_CHECK_DIGITS]
        self._section.update(rest)
        return self._ready + rest + self._end_section()

    def _end_section(self) -> bytes:
        """The check of the section that ends here."""
        check = self._section.hexdigest()[:_ZIP_CHECK_DIGITS].encode()
        self._section = sha256()
        return check
