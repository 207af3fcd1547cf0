"""The logs that benchmarks write are logs that a server starts from."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from benchmarks import client
from benchmarks.process import ServerError
from benchmarks.replay import fold
from benchmarks.sample_kinds import MODULE, write_rows
from benchmarks.sample_log import prepare_log, write_items
from benchmarks.start import damaged, prepare
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


async def write_three_items(folder: Path) -> None:
    await write_items(folder, USERS, 3)


def test_a_log_that_is_there_is_measured_again(tmp_path: Path) -> None:
    log = prepare_log(tmp_path / "data", 6, write_three_items)
    before = log.stat()
    assert prepare_log(tmp_path / "data", 6, write_three_items) == log
    assert log.stat() == before


def test_a_log_that_was_not_written_to_its_end_is_written_anew(tmp_path: Path) -> None:
    async def fail(folder: Path) -> None:
        await write_items(folder, USERS, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_log(tmp_path / "data", 6, fail)
    log = prepare_log(tmp_path / "data", 6, write_three_items)
    assert len(log.read_bytes().splitlines()) == 6


def test_a_log_with_other_events_is_not_measured(tmp_path: Path) -> None:
    asyncio.run(write_items(tmp_path / "data", USERS, 4))
    with pytest.raises(SystemExit, match="has 7 events instead of 6"):
        prepare_log(tmp_path / "data", 6, write_three_items)


def test_a_run_that_fails_leaves_the_log_undamaged(tmp_path: Path) -> None:
    data = tmp_path / "data"
    log = prepare_log(data, 6, write_three_items)
    (data / "snapshots").mkdir()
    (data / "snapshots" / "6.snapshot").touch()
    before = log.read_bytes()

    def fail() -> None:
        with damaged(data) as snapshots:
            assert log.read_bytes() != before
            (snapshots / "6.snapshot").unlink()
            raise SystemExit

    with pytest.raises(SystemExit):
        fail()
    assert log.read_bytes() == before
    assert [file.name for file in data.rglob("*.snapshot")] == ["6.snapshot"]


def test_a_log_that_a_killed_run_left_damaged_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    with pytest.raises(SystemExit, match="interrupted"):
        prepare(tmp_path, 3, 0)


def test_a_check_that_gets_no_further_is_not_awaited_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    positions = [64, 128, 128]

    def answer(_: httpx.Request) -> httpx.Response:
        position = positions.pop(0) if positions else 128
        return httpx.Response(
            200, json={"chain_check": {"status": "running", "position": position}}
        )

    monkeypatch.setattr(client, "STALL_SECONDS", 0)
    http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(answer))
    with pytest.raises(ServerError, match="stopped at 128"):
        client.wait_until_checked(http, pause=0)
