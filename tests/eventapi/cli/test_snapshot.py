"""``eventapi snapshot``, and the snapshots that a server takes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from eventapi.bootstrap.storage import snapshots_of
from eventapi.commands.users import RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from projections.snapshots import Snapshots
from tests.eventapi.cli.running import invoke, run, running, written

PATIENCE = 120.0


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    items = [create_item(1, Content(f"item {number}")) for number in range(10)]
    written(tmp_path / "data", RegisterUser(profile("ann")), *items)
    return snapshots_of(Settings(data=str(tmp_path / "data")))


def test_snapshot_prints_its_figures(snapshots: Snapshots, tmp_path: Path) -> None:
    ended = run(tmp_path, "--data", "data", "snapshot", "--json")
    assert ended.code == 0, ended.err
    answer = json.loads(ended.out)
    assert answer["position"] == 11
    assert snapshots.usable_position() == 11
    assert answer["bytes"] == sum(file.stat().st_size for file in tmp_path.rglob("*.snapshot"))


def test_invoke_does_not_lower_the_priority_of_the_tests(
    snapshots: Snapshots, tmp_path: Path
) -> None:
    """A lower priority would slow down all later tests."""
    before = os.nice(0)
    assert invoke(tmp_path / "data", "snapshot").exit_code == 0
    assert os.nice(0) == before


def test_only_one_process_takes_a_snapshot_at_a_time(snapshots: Snapshots, tmp_path: Path) -> None:
    with snapshots.locked():
        ended = run(tmp_path, "--data", "data", "snapshot")
    assert ended.code == 1
    assert "another process is taking a snapshot" in ended.err
    assert snapshots.positions() == []


@pytest.mark.long
def test_a_server_takes_a_snapshot_when_it_is_due(snapshots: Snapshots, tmp_path: Path) -> None:
    arguments = ("serve", "--port", "0", "--data", "data")
    with running(tmp_path, *arguments, EVENTAPI_SNAPSHOT_EVERY="10") as server:
        deadline = time.monotonic() + PATIENCE
        while snapshots.usable_position() < 11 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert server.stop().code == 0
    assert snapshots.usable_position() == 11
