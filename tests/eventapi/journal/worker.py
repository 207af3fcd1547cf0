"""A process with a journal over a directory, controlled through its standard input.

A line in is a JSON array of a verb and its arguments, a line out a JSON value. ``write`` answers
with a line a write, as soon as it is acknowledged, and with ``null`` at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from eventapi.commands.users import RegisterUser
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.testing.given import profile
from eventapi.testing.items import ITEMS, Content, create_item
from events.errors import UsernameTaken
from events.log.file.log import JsonlLog
from events.vault.sqlite import SqliteVault

WRITERS = 8
"""How many writes a process has under way at the same time."""


def say(value: object) -> None:
    """Answer in one line, in one system call, so that a kill never tears it."""
    os.write(1, json.dumps(value).encode() + b"\n")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def register(journal: Journal, name: str) -> int:
    """The position of the registration, or 0 where the name is taken."""
    try:
        return (await journal.execute(RegisterUser(profile(name)))).record.position
    except UsernameTaken:
        return 0


async def write(journal: Journal, count: int) -> None:
    """Create items for user 1, and print the position and subject of each."""

    async def some(share: int) -> None:
        for _ in range(share):
            began = time.monotonic()
            record = (await journal.execute(create_item(1, Content("a title")))).record
            say([record.position, record.subject, time.monotonic() - began])

    await asyncio.gather(*(some(count // WRITERS) for _ in range(WRITERS)))
    say(None)


async def serve(directory: Path) -> None:
    """Execute the lines of the input until it ends."""
    log, vault = JsonlLog(directory / "events.jsonl"), SqliteVault(directory / "vault.sqlite")
    journal = Journal(log, vault, ITEMS, Runtime(now, lambda: str(uuid4()), os.urandom))
    await journal.start()
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, *arguments = json.loads(line)
        if verb == "register":
            say(await asyncio.gather(*(register(journal, name) for name in arguments)))
        elif verb == "write":
            await write(journal, *arguments)
        elif verb == "position":
            say((await journal.state()).position)
        elif verb == "sums":
            state = await journal.state()
            say([state.digest(), state.checksum()])
    await journal.close()
    await log.close()
    await vault.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
