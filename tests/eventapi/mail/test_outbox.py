"""Mails as files, and the removal of those of erased users."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from eventapi.commands.users import EraseUser
from eventapi.mail.outbox import Outbox, remove_mails
from eventapi.mail.removals import run_removals
from eventapi.mail.transport import Mail
from eventapi.queries.subscriptions import LogWatcher
from events.errors import MailNotRemoved, NotDelivered
from tests.eventapi.followers.following import until
from tests.eventapi.harness import Storage, open_harness
from tests.eventapi.mail.writing import confirmed


def mail(position: int, user: int) -> Mail:
    return Mail(position, user, "verification", "a@localhost", "b@example.org", b"content")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_mail_is_a_private_file_named_by_position_and_user(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "more" / "outbox")
    for _ in range(2):
        await outbox.send(mail(42, 7), confirmed)
    (file,) = (tmp_path / "more" / "outbox").iterdir()
    assert file.name == "000000000042-user7-verification.eml"
    assert file.read_bytes() == b"content"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


async def test_the_mails_of_a_user_are_removed_and_no_others(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for position, user in ((1, 1), (2, 11), (3, 1), (11, 2)):
        await outbox.send(mail(position, user), confirmed)
    (tmp_path / "000000000009-user1-verification.eml.0a1b.tmp").touch()
    (tmp_path / "notes-user1-.txt").touch()
    await remove_mails([tmp_path, tmp_path / "missing"], ["users/1"])
    assert names(tmp_path) == [
        "000000000002-user11-verification.eml",
        "000000000011-user2-verification.eml",
        "notes-user1-.txt",
    ]
    await remove_mails([tmp_path], [])
    await outbox.withdraw(mail(2, 11))
    assert len(names(tmp_path)) == 2


async def test_an_outbox_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "outbox").touch()
    with pytest.raises(NotDelivered, match="cannot be written"):
        await Outbox(tmp_path / "outbox").send(mail(1, 1), confirmed)


async def test_mails_that_cannot_be_removed_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Outbox(tmp_path).send(mail(1, 1), confirmed)

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(MailNotRemoved, match="Permission denied"):
        await remove_mails([tmp_path], ["users/1"])


async def test_each_process_removes_the_mails_of_users_whom_another_one_erased(
    storage: Storage, tmp_path: Path
) -> None:
    directory = tmp_path / "outbox"
    async with open_harness(storage) as harness:
        for name in ("ann", "bob"):
            await harness.register(name)
        for position in (1, 2):
            await Outbox(directory).send(mail(position, position), confirmed)
        watcher = LogWatcher(harness.log)
        task = asyncio.create_task(run_removals([directory], watcher, 2))
        await harness.journal.execute(EraseUser("ann", "users/1"))
        await until(lambda: names(directory) == ["000000000002-user2-verification.eml"])
        watcher.close()
        await task
