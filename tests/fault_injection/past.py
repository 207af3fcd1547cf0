"""Time travel at its word: what the past answers is what a fold of the first N lines comes to.

``python -m tests.fault_injection.past --events 100000 --positions 1000`` makes a random history, writes it
as a log, and compares at random positions; ``--events 1000000 --positions 0`` only times. It
prints how long a history of ten events takes. Exits with 1 where an answer is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from eventapi.queries.history import History
from eventapi.testing.given import Happened, registered
from eventapi.testing.sample_log import write
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.items import (
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
)
from projections.replay import replay
from projections.state import State

USERS = 20
LIFE = 10
SOME = 20
WHOLE_LISTS = 0.03
"""How often all items of an owner are compared, and not only some: these are many lines."""

TIMED = 300


def happenings(events: int, dice: random.Random) -> Iterator[Happened]:
    """A sound history: items made, changed, deleted and restored, one of them ten times in all."""
    yield from (registered(number, f"user{number}") for number in range(1, USERS + 1))
    last, live, dead = 1, [1], list[int]()
    yield "items/1", ItemCreated(1, personal=Content("the one that is timed", None))
    every = max((events - USERS) // LIFE, 1)
    for number in range(USERS + 1, events):
        if number % every == 0:
            yield "items/1", ItemUpdated(personal=ContentChanges(title=f"at {number}"))
            continue
        kind = dice.random()
        at = dice.randrange(1, len(live)) if len(live) > 1 else 0
        if kind < 0.4 or not at:
            last += 1
            live.append(last)
            owner = dice.randint(1, USERS)
            yield f"items/{last}", ItemCreated(owner, personal=Content(f"item {last}", None))
        elif kind < 0.8:
            changes = ContentChanges(title=f"title {number}")
            yield f"items/{live[at]}", ItemUpdated(personal=changes)
        elif kind < 0.95 or not dead:
            live[at], live[-1] = live[-1], live[at]
            dead.append(live.pop())
            yield f"items/{dead[-1]}", ItemDeleted()
        else:
            live.append(dead.pop())
            content = Content(f"restored at {number}", None)
            yield f"items/{live[-1]}", ItemRestored(number - 1, personal=content)


async def main(events: int, positions: int, seed: int) -> int:
    """Make, compare, time; the exit code."""
    dice = random.Random(seed)
    written = write(happenings(events, dice))
    vault = await written.vault()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in written.lines))
        log, keyring = JsonlLog(path), Keyring()
        async with log.exclusive(60):
            pass  # Recovery takes the lines in.
        state = await replay(log, keyring, vault)
        past = History(log, keyring, MemoryVault(), None)
        wrong = 0
        fold, at = State.empty(), 0
        for position in sorted(dice.sample(range(events), positions)):
            for record in written.records[at:position]:
                fold.apply(record)
            at = position
            items = state.items.all_of_owner(dice.randint(1, USERS))
            if some := dice.random() > WHOLE_LISTS:
                items = dice.sample(items, min(SOME, len(items)))
            then = (await past.items_at(position, items, state)).items.by_id
            now = fold.items.by_id
            wrong += any(then.get(item.id) != now.get(item.id) for item in items)
            if not some:
                wrong += len(then) != len(fold.items.by_owner[items[0].owner])
        times = []
        item = state.items.by_id[1]
        for _ in range(TIMED):
            started = time.perf_counter()
            life = await past.of_item(item, state)
            times.append(time.perf_counter() - started)
        await log.close()
    print(  # noqa: T201
        f"{events} events: {positions} positions compared, {wrong} wrong; "
        f"a history of {len(life)} events in {median(times) * 1e6:.0f} µs"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--positions", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.events, given.positions, given.seed)))
