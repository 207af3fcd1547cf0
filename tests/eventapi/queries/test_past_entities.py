"""Past resources are read from as few lines as their changes since then allow."""

from __future__ import annotations

import pytest

from eventapi.queries.history import History
from eventapi.testing.given import Happened, created, folded_records, registered
from eventapi.testing.items import Content, ContentChanges, ItemRestored, ItemUpdated
from eventapi.testing.sample_log import write
from events.log.port import Head
from events.sealing import Keyring
from events.vault.memory import MemoryVault
from events.vocabulary.resources import Entity, ResourceType
from events.vocabulary.vocabulary import Vocabulary
from tests.eventapi.queries.test_history import DELETED, TITLE, CountingLog, past_of, versions

BOTH = ContentChanges(title="both", description="of them")
RESTORED: Happened = ("items/1", ItemRestored(3, personal=Content("back", "again")))


@pytest.mark.parametrize(
    ("last", "most"),
    [
        ([("items/1", ItemUpdated(personal=BOTH))], 2),
        ([RESTORED], 2),
        ([DELETED], 2),
        ([("items/1", ItemUpdated(personal=BOTH)), ("items/1", ItemUpdated(personal=TITLE))], 6),
        ([RESTORED, *[("items/1", ItemUpdated(personal=TITLE))] * 5], 20),
    ],
)
async def test_past_item_is_read_back_to_its_last_complete_content(
    last: list[Happened], most: int
) -> None:
    found, expected, lines_read = await before_a_restoration(versions(TITLE, size=500) + last)
    assert found == expected
    assert lines_read <= most


async def test_control_changes_of_one_field_are_all_read() -> None:
    found, expected, lines_read = await before_a_restoration(versions(TITLE, size=500))
    assert found == expected is not None
    assert lines_read > 500


async def before_a_restoration(history: list[Happened]) -> tuple[Entity | None, Entity | None, int]:
    """Item 1 before a last event restores it: as it is read, as it was, and the lines read."""
    written = write([*history, RESTORED])
    past, log = past_of(written)
    state = folded_records(written.records)
    then = folded_records(written.records[:-1])
    found = await past.entities_at(then.position, [state["items"].by_id[1]], state["items"])
    return found.get(1), then["items"].by_id.get(1), log.lines_read


CREATED: Happened = created(1, 1)


@pytest.mark.parametrize(
    ("events", "exists"),
    [
        ([CREATED, created(2, 1)], True),
        ([CREATED, DELETED, RESTORED, created(2, 1)], True),
        ([created(2, 1), created(3, 1), CREATED], False),
        ([CREATED, DELETED, RESTORED], False),
        ([CREATED, created(2, 1), DELETED], False),
    ],
)
async def test_past_item_that_did_not_exist_or_has_not_changed_since_is_not_read(
    events: list[Happened], exists: bool
) -> None:
    """The moment is before the last event, or after it if that deletes the item."""
    written = write([registered(1, "ann"), *events])
    past, log = past_of(written)
    state = folded_records(written.records)
    item = state["items"].find(1)
    assert item is not None

    position = state.position - (events[-1] != DELETED)
    found = await past.entities_at(position, [item], state["items"])

    assert found == ({1: item} if exists else {})
    assert log.lines_read == 0


async def test_past_of_a_kind_without_fields_is_a_fold_of_its_verbs() -> None:
    """No class declares one, but older code knows no field of a newer kind."""
    mark = ResourceType("mark", "marks")
    events = [
        mark.created(1),
        mark.shared(2, "read"),
        mark.unshared(2),
        mark.deleted(),
        mark.restored(4),
        mark.updated(),
        mark.deleted(),
        mark.restored(6),
    ]
    written = write([registered(1, "ann"), *(("marks/1", event) for event in events)])
    log = CountingLog(written.lines, Head(len(written.lines), written.records[-1].hash))
    past = History(log, Keyring(), MemoryVault(), None, lambda: Vocabulary([mark]))
    state = folded_records(written.records)
    one = state["marks"].find(1)
    assert one is not None

    for position in range(state.position + 1):
        then = folded_records(written.records[:position], mark)["marks"]
        assert await past.entities_at(position, [one], state["marks"]) == then.by_id
