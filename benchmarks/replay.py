"""Measure a replay against the speed at which msgspec alone decodes the same lines.

    python -m benchmarks.replay [--events N] [--rounds N]

Every round is a process of its own on one core, as a start of the server is: chain and seals are
checked, and the state is built. Seconds are those of the processor, the system's share included.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from events.codec import encode
from events.items import Content, ContentChanges, ItemCreated, ItemDeleted, ItemUpdated
from events.log.jsonl import JsonlLog
from events.log.port import Head
from events.record import Event, Record
from events.sealing import KEY_BYTES, NONCE_BYTES, Keyring
from events.users import Profile, UserRegistered
from events.vault.sqlite import SqliteVault
from projections.replay import replay

USERS = 1000
SOURCE = "urn:uuid:00000000-0000-4000-8000-000000000001"
TIME = "2026-01-02T03:04:05.678901Z"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43


async def write(folder: Path, events: int) -> None:
    """Write a log of registrations, then of items that are made, changed and now and then deleted."""
    chance = random.Random(7)
    keys = {f"users/{number}": chance.randbytes(KEY_BYTES) for number in range(1, USERS + 1)}
    keyring = Keyring()
    for subject, key in keys.items():
        keyring.add(subject, key)
    head, lines = Head(), []
    for subject, owner, event in story(chance, events):
        record = Record(head.position + 1, SOURCE, subject, TIME, owner, event, owner, "r" * 32)
        line, digest = encode(record, head.hash, keyring, chance.randbytes(NONCE_BYTES))
        lines.append(line)
        head = Head(record.position, digest)
    vault = SqliteVault(folder / "vault.sqlite")
    await vault.put(keys)
    await vault.close()
    log = JsonlLog(folder / "events.jsonl")
    async with log.exclusive(1) as appender:
        await appender.append(lines, head)
    await log.close()


def story(chance: random.Random, events: int) -> list[tuple[str, str, Event]]:
    """What happens, each as (subject, owner, event)."""
    happened: list[tuple[str, str, Event]] = []
    for number in range(1, USERS + 1):
        profile = Profile(f"user{number}", f"user{number}@example.com", HASH, "Some Body")
        happened.append((f"users/{number}", f"users/{number}", UserRegistered(personal=profile)))
    items: list[int] = []
    while len(happened) < events:
        kind = chance.random()
        if kind < 0.6 or not items:
            items.append(chance.randint(1, USERS))
            content = Content(f"Item {len(items)}", "A description of some sixty characters or so.")
            event: Event = ItemCreated(items[-1], personal=content)
            happened.append((f"items/{len(items)}", f"users/{items[-1]}", event))
        else:
            number = chance.randrange(len(items))
            change = ItemUpdated(personal=ContentChanges(title=f"Item {number}, changed"))
            event = ItemDeleted() if kind > 0.95 else change
            happened.append((f"items/{number + 1}", f"users/{items[number]}", event))
    return happened


def measure(folder: Path) -> None:
    """Replay and decode, each timed; prints the two figures as JSON."""

    async def run() -> int:
        log, vault = JsonlLog(folder / "events.jsonl"), SqliteVault(folder / "vault.sqlite")
        state = await replay(log, Keyring(), vault)
        await vault.close()
        await log.close()
        return state.position

    started = time.process_time()
    events = asyncio.run(run())
    replayed = time.process_time() - started
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    decode = msgspec.json.Decoder(dict).decode
    started = time.process_time()
    for line in lines:
        decode(line)
    print(json.dumps([events / replayed, len(lines) / (time.process_time() - started)]))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    core = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="replay-") as name:
        asyncio.run(write(Path(name), options.events))
        command = [sys.executable, "-m", "benchmarks.replay", "--measure", name]
        rounds = [
            json.loads(
                subprocess.run(
                    ["taskset", "-c", str(core), *command], check=True, capture_output=True
                ).stdout
            )
            for _ in range(options.rounds)
        ]
    replayed, decoded = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    fastest = max(figures[0] for figures in rounds)
    print(f"replay of {options.events} events, chain and seals checked, one core")
    print(f"replay          {replayed:12,.0f} events/s (median of {options.rounds})")
    print(f"                {fastest:12,.0f} events/s (best)")
    print(f"msgspec decode  {decoded:12,.0f} lines/s")
    print(f"ratio           {replayed / decoded:12.2f}")


if __name__ == "__main__":
    main()
