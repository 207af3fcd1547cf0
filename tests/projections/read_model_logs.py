"""Fold logs with read models, and as an outsider does, for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from random import Random
from typing import Any

from events.sealing import Keyring
from events.vocabulary.vocabulary import Vocabulary
from projections.replay import replay
from projections.snapshots import Snapshots
from projections.state import State
from tests.projections.invoices import (
    Step,
    Story,
)

_random = Random(7)


STORY: list[Step] = [
    ("create", 1, 1),
    ("create", 2, 2),
    ("pay", 1, 1),
    ("share", 2, 2),
    ("item", 1, 1),
    ("update", 2, 2),
    ("delete", 2, 2),
    ("restore", 2, 2),
    ("erase", 1, 1),
    ("create", 3, 3),
]


def folded(
    story: Story,
    known: Vocabulary,
    *,
    upto: int | None = None,
    destroyed: Collection[str] = (),
    snapshots: Snapshots | None = None,
    defer: bool = False,
) -> State:
    """The state of a start."""

    async def run() -> State:
        vault = await story.vault_without(*destroyed)
        return await replay(
            story.log(upto),
            Keyring(),
            vault,
            known,
            snapshots=snapshots,
            defer_read_models=defer,
        )

    return asyncio.run(run())


def take(snapshots: Snapshots, state: State) -> None:
    """Write a snapshot whose personal values nobody can read."""
    snapshots.write(state, Keyring(), _random.randbytes)


def recomputed(lines: list[bytes]) -> list[Any]:
    """What an outsider folds from the raw lines, without this project's code."""
    owners: dict[str, int] = {}
    found = []
    for line in lines:
        members = json.loads(line)
        data, subject = members["data"], members["subject"]
        if members["type"].endswith(".created"):
            owners[subject] = data["owner"]
        clear = data.get("clear")
        found.append(
            {
                "type": members["type"],
                "subject": subject,
                "owner": owners.get(subject),
                "actor": members["actor"],
                "time": members["time"],
                "position": int(members["id"]),
                "clear": clear if isinstance(clear, dict) else {},
            }
        )
    return found
