"""Old events under a new declaration: new names, and an upcast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.resources import Act, Update
from eventapi.resources import Clear, Resource
from events.errors import UnknownEvent
from projections.snapshots import Snapshots
from tests.eventapi.journal.declaring import (
    INVOICE,
    RANDOM,
    Storage,
    invoice,
    started,
)


@pytest.fixture
def storage() -> Storage:
    return Storage()


RENAMED = {"code": str, "cents": Clear[int], "paid": (Clear[bool], False)}
RENAMED_CLEAR = {"number": str, "amount": Clear[int], "paid": (Clear[bool], False)}


def upcast(values: dict[str, Any]) -> dict[str, Any]:
    """Cents became a text in euros; values of the new form stay as they are."""
    if isinstance(values.get("cents"), int):
        values["cents"] = f"{values['cents'] / 100:.2f}"
    return values


UPCAST = {**INVOICE, "cents": Clear[str]}


@pytest.mark.parametrize(
    ("newer", "old", "new"),
    [
        (invoice(RENAMED, renamed={"number": "code"}), ("A-1", 5), ("A-9", 5)),
        (invoice(RENAMED_CLEAR, renamed={"cents": "amount"}), ("A-1", 5), ("A-1", 9)),
        (invoice(UPCAST, upcast=staticmethod(upcast)), ("A-1", "0.05"), ("A-1", "9")),
    ],
    ids=["renamed", "renamed clear", "upcast"],
)
async def test_old_events_are_read_in_replay_history_and_snapshot(
    storage: Storage, tmp_path: Path, newer: type[Resource], old: Any, new: Any
) -> None:
    await started(storage, invoice())
    async with storage.process(invoice()) as process:
        await process.journal.execute(Update(process.of("invoices"), 1, 1, {"number": "A-0"}))
        await process.journal.execute(Update(process.of("invoices"), 1, 1, {"number": "A-1"}))
        await process.journal.execute(Act(process.of("invoices"), 1, 1, "pay", {}))
    first, second = newer.__struct_fields__[:2]
    async with storage.process(newer, snapshots=tmp_path) as process:
        assert storage.types[-1] == "schema.declared"
        state = await process.journal.state()
        table = state["invoices"]
        entity = table.by_id[1]
        assert (getattr(entity, first), getattr(entity, second), entity.paid) == (*old, True)
        values = {first: new[0], second: new[1]}
        await process.journal.execute(Update(process.of("invoices"), 1, 1, values))
        state = await process.journal.state()
        entity = state["invoices"].by_id[1]
        assert (getattr(entity, first), getattr(entity, second)) == new
        past = await process.journal.history.entities_at(6, [entity], state["invoices"])
        assert (getattr(past[1], first), getattr(past[1], second)) == old
        snapshots = Snapshots(tmp_path, process.registry.vocabulary)
        snapshots.write(state, process.journal.keyring, RANDOM.randbytes)
        sums = state.digest(), state.checksum()
    async with storage.process(newer, snapshots=tmp_path) as process:
        state = await process.journal.state()
        assert (state.digest(), state.checksum()) == sums
    folded = await storage.fold(newer)
    assert (folded.digest(), folded.checksum()) == sums


async def test_failing_upcast_is_one_clear_error(storage: Storage) -> None:
    def broken(values: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("euros")

    await started(storage, invoice())
    with pytest.raises(UnknownEvent) as caught:
        async with storage.process(invoice(UPCAST, upcast=staticmethod(broken))):
            pass
    assert caught.value.message.text == ("position 3: the upcast of Invoice raised KeyError")
