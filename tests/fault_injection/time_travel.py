"""Compare reads of past states with a fold of the first lines.

    python -m tests.fault_injection.time_travel --events 100000 --positions 1000

The command generates a random history, writes it as a log, and compares `History` with a fold at
random positions. It also measures how long reading a history of ten events takes; ``--positions 0``
measures only. The exit code is 1 if a state differs.
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
from eventapi.testing.items import (
    ITEMS,
    Content,
    ContentChanges,
    ItemCreated,
    ItemDeleted,
    ItemRestored,
    ItemUpdated,
    empty_state,
)
from eventapi.testing.sample_log import write
from events.log.file.log import JsonlLog
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from projections.replay import replay

USERS = 20
EVENTS_OF_TIMED_ITEM = 10
ITEMS_PER_COMPARISON = 20
WHOLE_LIST_CHANCE = 0.03
"""Probability of comparing all items of an owner, which reads many lines, instead of some."""

TIMED_READS = 300


def random_history(events: int, random_source: random.Random) -> Iterator[Happened]:
    """Yield a valid history of items; item 1, which is timed, has ten events."""
    yield from (registered(number, f"user{number}") for number in range(1, USERS + 1))
    last, live, dead = 1, [1], list[int]()
    yield "items/1", ItemCreated(1, personal=Content("the timed item", None))
    every = max((events - USERS) // EVENTS_OF_TIMED_ITEM, 1)
    for number in range(USERS + 1, events):
        if number % every == 0:
            yield "items/1", ItemUpdated(personal=ContentChanges(title=f"at {number}"))
            continue
        kind = random_source.random()
        at = random_source.randrange(1, len(live)) if len(live) > 1 else 0
        if kind < 0.4 or not at:
            last += 1
            live.append(last)
            owner = random_source.randint(1, USERS)
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
    """Generate, compare and measure; return the exit code."""
    random_source = random.Random(seed)
    written = write(random_history(events, random_source))
    vault = await written.vault()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in written.lines))
        log, keyring = JsonlLog(path), Keyring()
        async with log.exclusive(60):
            pass  # Recovery adopts the lines.
        state = await replay(log, keyring, vault, ITEMS)
        history = History(log, keyring, MemoryVault(), None, lambda: ITEMS)
        wrong = 0
        fold, at = empty_state(), 0
        for position in sorted(random_source.sample(range(events), positions)):
            for record in written.records[at:position]:
                fold.apply(record)
            at = position
            items = state["items"].all_of_owner(random_source.randint(1, USERS))
            if some := random_source.random() > WHOLE_LIST_CHANCE:
                items = random_source.sample(items, min(ITEMS_PER_COMPARISON, len(items)))
            then = await history.entities_at(position, items, state["items"])
            now = fold["items"].by_id
            wrong += any(then.get(item.id) != now.get(item.id) for item in items)
            if not some:
                wrong += len(then) != len(fold["items"].by_owner[items[0].owner])
        times = []
        item = state["items"].by_id[1]
        for _ in range(TIMED_READS):
            started = time.perf_counter()
            events_of_item = await history.records(state.resources.versions.of(item.version))
            times.append(time.perf_counter() - started)
        await log.close()
    print(  # noqa: T201
        f"{events} events: {positions} positions compared, {wrong} differ; "
        f"a history of {len(events_of_item)} events in {median(times) * 1e6:.0f} µs"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--positions", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.events, given.positions, given.seed)))
