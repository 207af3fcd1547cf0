"""The logs that benchmarks write are logs that a server starts from."""

from __future__ import annotations

from pathlib import Path

from benchmarks.replay import fold
from benchmarks.sample_kinds import MODULE, write_rows
from eventapi.resources.registry import load_registry
from events.sealing import Keyring

USERS = 3
ROWS = 20
EVENTS = 100


async def test_a_log_of_declared_kinds_has_rows_of_each_and_changes_of_them(tmp_path: Path) -> None:
    await write_rows(tmp_path, USERS, ROWS, EVENTS)
    registry = load_registry((MODULE,))
    state = await fold(tmp_path, Keyring(), registry.vocabulary)
    assert state.position == EVENTS
    kinds = [one for one in registry.resources if one is not registry.item]
    assert len(kinds) == len(state.resources.schemas) == 10
    assert {len(state[one.collection].by_id) for one in kinds} == {ROWS / 10}
    assert {len(state[one.collection].by_owner[1]) for one in kinds} == {ROWS / 10}
    titles = [row.title for one in kinds for row in state[one.collection].by_id.values()]
    assert any("change" in title for title in titles)
