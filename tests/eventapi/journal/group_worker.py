"""A process that writes groups of items over a directory until its input ends.

It prints the positions of each group as soon as that is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from eventapi.commands.command import Command
from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import CommandResult, DependentCommand, IdempotencyKey, Runtime
from eventapi.journal.journal import Journal
from eventapi.journal.origin import Origin
from eventapi.testing.given import profile
from eventapi.testing.items import ITEM, ITEMS, Content, create_item, update_item
from events.errors import UsernameTaken
from events.log.file.log import JsonlLog
from events.record import entity_number
from events.vault.sqlite import SqliteVault
from tests.eventapi.journal.worker import now, say

SIZE = 7
"""The number of commands in a group."""

WRITERS = 4


async def write_group(journal: Journal, name: str) -> list[CommandResult]:
    """Write items, of which the last change is about the first one; once for its name."""

    def build(results: Sequence[CommandResult]) -> Command:
        return update_item(1, entity_number(results[0].record.subject), title=name)

    creations = [create_item(1, Content(name))] * (SIZE - 1)
    digest = sha256(name.encode())
    key = IdempotencyKey(digest.hexdigest(), digest.digest())
    return await journal.execute_all([*creations, DependentCommand(ITEM, build)], Origin(name), key)


async def serve(directory: Path, name: str) -> None:
    """Write groups until the input ends."""
    log, vault = JsonlLog(directory / "events.jsonl"), SqliteVault(directory / "vault.sqlite")
    journal = Journal(log, vault, ITEMS, Runtime(now, lambda: str(uuid4()), os.urandom))
    await journal.start()
    with suppress(UsernameTaken):
        await journal.execute(RegisterUser(profile("ann")))
    end = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def write(writer: int) -> None:
        number = 0
        while not end.done():
            number += 1
            group = f"{name}-{writer}-{number}"
            results = await write_group(journal, group)
            say([group, [one.record.position for one in results]])

    await asyncio.gather(*map(write, range(WRITERS)))
    await journal.close()
    await log.close()
    await vault.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
