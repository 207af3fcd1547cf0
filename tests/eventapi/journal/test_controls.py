"""Controls: each promise is broken on purpose, and its check must notice.

The breakages are the ways in which a journal is easily written wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from eventapi.journal.batch import Batch, PendingKeys
from eventapi.journal.journal import Journal
from events.errors import EventapiError, StorageFull
from events.log.port import Appender, Head
from events.sealing import Keyring
from projections.replay import apply_all
from projections.state import State
from tests.eventapi.harness import Kind, Storage
from tests.eventapi.journal.checks import (
    a_failed_write_leaves_memory_as_it_was,
    a_key_is_kept_before_its_first_line,
    concurrent_writers_never_collide,
    nobody_sees_a_write_before_it_is_durable,
    the_key_of_a_failed_registration_disturbs_no_other_journal,
    what_is_acknowledged_is_seen_everywhere,
)

Check = Callable[[Storage], Awaitable[None]]


@pytest.fixture(params=["memory", "jsonl"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(cast("Kind", request.param), tmp_path)


async def failed_append(storage: Storage) -> None:
    await a_failed_write_leaves_memory_as_it_was(storage, StorageFull("full"), StorageFull)


async def take_step(step: str, owner: Any, batch: Any, appender: Appender) -> None:
    """One step of a write; a batch in which all was refused has none but answers."""
    if step == "put" and batch.keys:
        await owner.vault.put(batch.keys.raw)
    elif step == "append" and batch.records:
        last = batch.records[-1]
        await appender.append(batch.lines, Head(last.position, last.hash))
    elif step == "apply":
        owner._keyring.update(batch.keys)
        apply_all(batch.records, owner._state, owner._keyring)
    elif step in {"answer", "refuse"}:
        for wish, answer in batch.answers:
            if step == "answer" or isinstance(answer, Exception):
                wish.answer(answer)


def write_in_this_order(*steps: str) -> Callable[..., Awaitable[Any]]:
    """A stand-in for `Journal._write` that takes these steps."""

    async def write(self: Any, wishes: Sequence[Any], appender: Appender) -> Any:
        if "catch up" in steps:
            await self._catch_up()
        batch = Batch(self._state, self._keyring, self._environment)
        for wish in wishes:
            batch.add(wish)
        for step in steps:
            await take_step(step, self, batch, appender)
        return batch.answers

    return write


RIGHT = ("catch up", "put", "append", "apply")
CHECKS: list[Check] = [
    failed_append,
    nobody_sees_a_write_before_it_is_durable,
    a_key_is_kept_before_its_first_line,
    what_is_acknowledged_is_seen_everywhere,
    concurrent_writers_never_collide,
    the_key_of_a_failed_registration_disturbs_no_other_journal,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_stand_in_with_the_steps_in_order_passes_every_check(
    storage: Storage, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "_write", write_in_this_order(*RIGHT))
    asyncio.run(_run(check, storage))


@pytest.mark.parametrize(
    ("steps", "check"),
    [
        (("catch up", "put", "apply", "append"), failed_append),
        (("catch up", "put", "apply", "append"), nobody_sees_a_write_before_it_is_durable),
        (("catch up", "put", "answer", "append", "apply"), failed_append),
        (
            ("catch up", "put", "answer", "append", "apply"),
            nobody_sees_a_write_before_it_is_durable,
        ),
        (("catch up", "put", "refuse", "append", "apply"), failed_append),
        (
            ("catch up", "put", "refuse", "append", "apply"),
            nobody_sees_a_write_before_it_is_durable,
        ),
        (("catch up", "append", "put", "apply"), a_key_is_kept_before_its_first_line),
        (("put", "append", "apply"), concurrent_writers_never_collide),
    ],
)
def test_steps_in_the_wrong_order_are_noticed(
    storage: Storage, steps: Sequence[str], check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "_write", write_in_this_order(*steps))
    with pytest.raises((AssertionError, EventapiError)):
        asyncio.run(_run(check, storage))


def test_a_read_that_does_not_catch_up_is_noticed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stale(self: Any) -> State:
        return cast("State", self._state)

    monkeypatch.setattr(Journal, "state", stale)
    with pytest.raises(AssertionError):
        asyncio.run(_run(what_is_acknowledged_is_seen_everywhere, storage))


def test_a_key_taken_in_before_its_line_is_written_is_noticed(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = PendingKeys.merge

    def too_early(self: Any, other: Any) -> None:
        take(self, other)
        cast("Keyring", self._base).update(other)

    monkeypatch.setattr(PendingKeys, "merge", too_early)
    check = the_key_of_a_failed_registration_disturbs_no_other_journal
    with pytest.raises((AssertionError, EventapiError)):
        asyncio.run(_run(check, storage))


async def _run(check: Check, storage: Storage) -> None:
    await asyncio.wait_for(check(storage), 10)
