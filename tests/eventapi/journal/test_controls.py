"""Controls: each promise is broken on purpose, and its check must notice.

The breakages are the ways in which a journal is easily written wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from eventapi.journal.batch import Batch, PendingKeys
from eventapi.journal.journal import Journal
from events.errors import EventapiError, StorageFull
from events.log.port import Appender, Head
from events.sealing import Keyring
from projections.replay import apply_all
from projections.state import State
from tests.eventapi.harness import Storage
from tests.eventapi.journal.checks import (
    acknowledged_write_is_seen_by_every_journal,
    concurrent_writers_never_collide,
    failed_write_leaves_memory_unchanged,
    key_is_stored_before_its_first_line,
    key_of_failed_registration_does_not_affect_other_journals,
    write_is_invisible_until_durable,
)

Check = Callable[[Storage], Awaitable[None]]


async def failed_append(storage: Storage) -> None:
    await failed_write_leaves_memory_unchanged(storage, StorageFull("full"), StorageFull)


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
        batch = Batch(self._state, self._keyring, self._runtime)
        for wish in wishes:
            batch.add(wish)
        for step in steps:
            await take_step(step, self, batch, appender)
        return batch.answers

    return write


RIGHT = ("catch up", "put", "append", "apply")
CHECKS: list[Check] = [
    failed_append,
    write_is_invisible_until_durable,
    key_is_stored_before_its_first_line,
    acknowledged_write_is_seen_by_every_journal,
    concurrent_writers_never_collide,
    key_of_failed_registration_does_not_affect_other_journals,
]


@pytest.mark.parametrize("check", CHECKS)
async def test_control_correct_order_of_steps_passes_every_check(
    storage: Storage, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "_write", write_in_this_order(*RIGHT))
    await _run(check, storage)


@pytest.mark.parametrize(
    ("steps", "check"),
    [
        (("catch up", "put", "apply", "append"), failed_append),
        (("catch up", "put", "apply", "append"), write_is_invisible_until_durable),
        (("catch up", "put", "answer", "append", "apply"), failed_append),
        (
            ("catch up", "put", "answer", "append", "apply"),
            write_is_invisible_until_durable,
        ),
        (("catch up", "put", "refuse", "append", "apply"), failed_append),
        (
            ("catch up", "put", "refuse", "append", "apply"),
            write_is_invisible_until_durable,
        ),
        (("catch up", "append", "put", "apply"), key_is_stored_before_its_first_line),
        (("put", "append", "apply"), concurrent_writers_never_collide),
    ],
)
async def test_control_wrong_order_of_steps_fails_a_check(
    storage: Storage, steps: Sequence[str], check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "_write", write_in_this_order(*steps))
    with pytest.raises((AssertionError, EventapiError)):
        await _run(check, storage)


async def test_control_read_without_catch_up_fails_a_check(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stale(self: Any) -> State:
        return cast("State", self._state)

    monkeypatch.setattr(Journal, "state", stale)
    with pytest.raises(AssertionError):
        await _run(acknowledged_write_is_seen_by_every_journal, storage)


async def test_control_key_used_before_its_line_is_written_fails_a_check(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = PendingKeys.merge

    def too_early(self: Any, other: Any) -> None:
        take(self, other)
        cast("Keyring", self._base).update(other)

    monkeypatch.setattr(PendingKeys, "merge", too_early)
    check = key_of_failed_registration_does_not_affect_other_journals
    with pytest.raises((AssertionError, EventapiError)):
        await _run(check, storage)


async def _run(check: Check, storage: Storage) -> None:
    await asyncio.wait_for(check(storage), 10)
