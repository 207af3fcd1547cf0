"""The outbox: a directory with a file for each mail.

::

    outbox/000000000042-user7-verification.eml

The name begins with the position of the event and contains the number of the user, so an erasure
finds the mails of a user, also a temporary file that a crash left behind. Sending a mail again
replaces its file. A file is complete or absent after a crash.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventapi.mail.transport import Confirm, Mail
from events.errors import MailNotRemoved, NotDelivered
from events.io.files import make_directory, sync_directory, write_durably
from events.io.tasks import run_in_thread
from events.messages.errors import OUTBOX_FAILED

_OF_USER: Final = re.compile(r"\d+-user(\d+)-")


class Outbox:
    """A transport that writes mails into a directory."""

    def __init__(self, directory: Path) -> None:
        """``directory`` is made when it is needed."""
        self._directory = directory

    @property
    def place(self) -> str:
        """Where mails go, for the server's log."""
        return f"the directory {self._directory}"

    async def send(self, mail: Mail, confirm: Confirm) -> None:
        name = f"{mail.position:012d}-user{mail.user}-{mail.kind}.eml"

        def write() -> None:
            make_directory(self._directory)
            write_durably(self._directory / name, mail.content)

        await confirm()
        try:
            await run_in_thread(write)
        except OSError as error:
            reason = f"the outbox cannot be written: {error.strerror}"
            raise NotDelivered(reason) from error

    async def withdraw(self, mail: Mail) -> None:
        await remove_mails([self._directory], [f"users/{mail.user}"])


async def remove_mails(directories: Iterable[Path], subjects: Collection[str]) -> None:
    """Remove every mail of some users from outboxes, durably; raises `MailNotRemoved`."""
    users = {subject.removeprefix("users/") for subject in subjects}
    if not users:
        return

    def remove() -> None:
        for directory in directories:
            try:
                _remove(directory, users)
            except OSError as error:
                reason = OUTBOX_FAILED.fill(path=directory, reason=error.strerror)
                raise MailNotRemoved(reason) from error

    await run_in_thread(remove)


def _remove(directory: Path, users: Collection[str]) -> None:
    found = _mails_of(directory, users)
    for path in found:
        with suppress(FileNotFoundError):  # Another worker removed it.
            path.unlink()
    if found:
        sync_directory(directory)


def _mails_of(directory: Path, users: Collection[str]) -> Sequence[Path]:
    try:
        return [
            path
            for path in directory.iterdir()
            if (match := _OF_USER.match(path.name)) and match[1] in users
        ]
    except (FileNotFoundError, NotADirectoryError):
        return []
