"""Sockets to listen on: a TCP port, or a Unix socket with a path."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from eventapi.cli.failures import Failure, reason_of
from eventapi.values.addresses import opened_host, url_host
from events.messages.commands import CANNOT_LISTEN

_UDS_UMASK: Final = 0o117
"""For mode 0660: the owner and the group may connect, for example a web server in the group."""


class Listening:
    """A bound socket that does not listen yet, because the start may still fail.

    ``address`` is the address for clients, and ``page`` a URL for a browser on this machine, which
    a Unix socket does not have. `release` closes the socket and removes its path.
    """

    def __init__(self, bound: socket.socket, host: str, path: Path | None, scheme: str) -> None:
        self.socket = bound
        self._path = path
        self._identity = None if path is None else _identity(path)
        self.page: str | None = None
        if path is not None:
            self.address = f"unix:{path}"
        else:
            port = bound.getsockname()[1]
            self.address = f"{scheme}://{url_host(host)}:{port}"
            self.page = f"{scheme}://{opened_host(host)}:{port}"

    def listen(self, backlog: int) -> None:
        """Let clients connect before a process accepts; raises `Failure`."""
        try:
            self.socket.listen(backlog)
        except OSError as error:
            raise self.failure(error) from None

    def failure(self, error: Exception) -> Failure:
        """The error to raise if the server cannot listen."""
        return _cannot_listen(self.address.partition("://")[2] or self.address, error)

    def release(self) -> None:
        """Close the socket; remove its path unless another server replaced it."""
        self.socket.close()
        if self._path is not None and self._identity == _identity(self._path):
            with suppress(OSError):
                self._path.unlink()


def bind(host: str, port: int, scheme: str, inherited: socket.socket | None = None) -> Listening:
    """Bind a TCP port, or use an inherited socket; raises `Failure`."""
    return Listening(inherited or _bind_tcp(host, port), host, None, scheme)


def bind_path(path: Path, inherited: socket.socket | None = None) -> Listening:
    """Bind a Unix socket, or use an inherited one; raises `Failure`.

    A socket file that a dead server left behind is replaced.
    """
    path = path.absolute()
    return Listening(inherited or _bind_unix(path), "", path, "")


def _bind(family: int, address: Any, place: str) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _cannot_listen(place, error) from None
    bound.set_inheritable(True)
    return bound


def _bind_tcp(host: str, port: int) -> socket.socket:
    place = f"{url_host(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(place, error) from None
    # A name may have IPv4 and IPv6 addresses: prefer IPv4, as most servers do.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return _bind(family, address, place)


def _bind_unix(path: Path) -> socket.socket:
    try:
        _remove_stale(path)
    except OSError as error:
        raise _cannot_listen(f"unix:{path}", error) from None
    before = os.umask(_UDS_UMASK)
    try:
        return _bind(socket.AF_UNIX, str(path), f"unix:{path}")
    finally:
        os.umask(before)


def _remove_stale(path: Path) -> None:
    """Remove a socket that no server listens on; raises `OSError` for anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(
            0, "there is a file that is not a socket; remove it, or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as attempt:
        try:
            attempt.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise FileExistsError(0, "another server listens on it")


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None


def _cannot_listen(place: str, error: Exception) -> Failure:
    return Failure(CANNOT_LISTEN.fill(place=place, reason=reason_of(error)))
