"""Write logs of any size with the log's own code instead of over HTTP."""

import asyncio
import random
import shutil
from collections.abc import Callable, Coroutine, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.machine import progress
from benchmarks.sample_data import LISTED
from benchmarks.workload import READER
from eventapi.security.passwords import OWASP_HASHER
from eventapi.testing.items import Content, ContentChanges, ItemCreated, ItemDeleted, ItemUpdated
from events.codec import MAX_LINE_BYTES, encode, parse
from events.log.file.log import JsonlLog
from events.log.port import Head
from events.record import Event, Record
from events.sealing import KEY_BYTES, NONCE_BYTES, SALT_BYTES, Keyring
from events.vault.sqlite import SqliteVault
from events.vocabulary.users import Profile, UserRegistered

USERS = 1000
SOURCE = "urn:uuid:00000000-0000-4000-8000-000000000001"
TIME = "2026-01-02T03:04:05.678901Z"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
DESCRIPTION = "A description of some sixty characters or so."
LINES_PER_APPEND = 50_000

Happening = tuple[str, str, Event]
"""An event with its subject and its actor, a user or an operator: (subject, actor, event)."""


def prepare_log(
    folder: Path, events: int, write: Callable[[Path], Coroutine[Any, Any, None]]
) -> Path:
    """Write a log in a folder, unless it is there; return its path.

    A log that was not written to its end is written anew. Exits if the log has another number of
    events, because requests or another version of the benchmark wrote it.
    """
    if not folder.exists():
        progress(f"writing {events:,} events")
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        asyncio.run(write(unfinished))
        unfinished.rename(folder)
    log = folder / "events.jsonl"
    if (found := last_position(log)) != events:
        raise SystemExit(f"{log} has {found:,} events instead of {events:,}: remove {folder}")
    return log


def last_position(log: Path) -> int:
    """The position of the last line of a log file."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - MAX_LINE_BYTES - 1, 0))
        line = file.read().splitlines()[-1]
    return int(parse(line).id)


async def write(folder: Path, events: int) -> None:
    """Write a log of registrations, then of items that are created, changed and sometimes deleted."""
    await write_down(folder, USERS, history(random.Random(7), events))


async def write_items(folder: Path, users: int, items: int) -> None:
    """Write a log of some users and items.

    The first user is the reader, who owns the items of `LISTED`; the others own all further items.
    """
    await write_down(folder, users, inventory(random.Random(7), users, items))


async def write_down(folder: Path, users: int, happenings: Iterable[Happening]) -> None:
    """Write the events of some users as a log in a new folder, with a vault beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(11)
    keys = {f"users/{number}": chance.randbytes(KEY_BYTES) for number in range(1, users + 1)}
    keyring = Keyring()
    for subject, key in keys.items():
        keyring.add(subject, key)
    vault = SqliteVault(folder / "vault.sqlite")
    await vault.put(keys)
    await vault.close()
    log = JsonlLog(folder / "events.jsonl")
    rest = iter(happenings)
    async with log.exclusive(1) as appender:
        while some := list(islice(rest, LINES_PER_APPEND)):
            head, lines = appender.head, []
            for subject, actor, event in some:
                owner = actor if actor in keys else ""
                record = Record(
                    head.position + 1, SOURCE, subject, TIME, actor, event, owner, "r" * 32
                )
                nonce, salt = chance.randbytes(NONCE_BYTES), chance.randbytes(SALT_BYTES)
                line, digest = encode(record, head.hash, keyring, nonce, salt=salt)
                lines.append(line)
                head = Head(record.position, digest)
            await appender.append(lines, head)
    await log.close()


def registrations(users: int) -> Iterator[Happening]:
    """Yield registrations; only the first user, the reader, can log in."""
    for number in range(1, users + 1):
        profile = Profile(f"user{number}", f"user{number}@example.com", HASH, "Some Body")
        if number == 1:
            hashed = OWASP_HASHER.hash(READER.password)
            profile = Profile(READER.username, READER.email, hashed, READER.full_name)
        yield f"users/{number}", f"users/{number}", UserRegistered(personal=profile)


def inventory(chance: random.Random, users: int, items: int) -> Iterator[Happening]:
    """Yield registrations and creations."""
    yield from registrations(users)
    for number in range(1, items + 1):
        owner, content = chance.randint(2, users), Content(f"Item {number}", DESCRIPTION)
        if number <= len(LISTED):
            owner, listed = 1, LISTED[number - 1]
            content = Content(listed.title, listed.description)
        yield f"items/{number}", f"users/{owner}", ItemCreated(owner, personal=content)


def changed_inventory(users: int, items: int, changes: int) -> Iterator[Happening]:
    """Yield registrations, creations, and then changes of the items."""
    chance = random.Random(7)
    owners = []
    for subject, owner, event in inventory(chance, users, items):
        if subject.startswith("items/"):
            owners.append(owner)
        yield subject, owner, event
    for number in range(changes):
        item = chance.randrange(items)
        change = ItemUpdated(personal=ContentChanges(title=f"Item {item + 1}, change {number}"))
        yield f"items/{item + 1}", owners[item], change


def history(chance: random.Random, events: int) -> Iterator[Happening]:
    """Yield registrations, then creations, updates and deletions, ``events`` in all."""
    yield from islice(registrations(USERS), events)
    items: list[int] = []
    for _ in range(events - USERS):
        kind = chance.random()
        if kind < 0.6 or not items:
            items.append(chance.randint(1, USERS))
            content = Content(f"Item {len(items)}", DESCRIPTION)
            event: Event = ItemCreated(items[-1], personal=content)
            yield f"items/{len(items)}", f"users/{items[-1]}", event
        else:
            number = chance.randrange(len(items))
            change = ItemUpdated(personal=ContentChanges(title=f"Item {number}, changed"))
            event = ItemDeleted() if kind > 0.95 else change
            yield f"items/{number + 1}", f"users/{items[number]}", event
