"""``eventapi serve`` from a snapshot, over a log whose first line has a flipped bit."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from eventapi.bootstrap.process import DAMAGED
from eventapi.cli.failures import COULD_NOT_RUN
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from events.database.tables import EVENTS
from tests.end_to_end.waiting import wait_until
from tests.eventapi.cli.databases import change_rows
from tests.eventapi.cli.running import (
    Ended,
    address_of,
    invoke,
    log_of,
    output_of,
    run,
    running,
    written,
)
from tests.servers.postgresql import PostgreSQL

DAMAGE = "the log is damaged at position 1, byte offset 0"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a snapshot."""
    data = tmp_path / "data"
    items = [create_item(1, Content(f"item {number}")) for number in range(10)]
    written(data, RegisterUser(profile("ann")), *items)
    output_of(data, "snapshot")
    return data


@pytest.fixture
def damaged(data: Path) -> Path:
    """The same directory, with a flipped bit in the first line."""
    content = bytearray(log_of(data))
    content[60] ^= 1
    (data / "events.jsonl").write_bytes(content)
    return data


def serve(data: Path, *options: str) -> Ended:
    """Run a server until it ends by itself."""
    return run(data.parent, "serve", "--port", "0", "--data", str(data), *options)


def snapshots(data: Path) -> list[str]:
    return [file.name for file in data.glob("snapshots/*.snapshot")]


def test_a_server_ends_when_it_finds_the_damage(damaged: Path) -> None:
    before = log_of(damaged)
    ended = serve(damaged)
    assert ended.code == DAMAGED == 65
    assert ended.out.startswith(b"eventapi serves")
    assert DAMAGE in ended.err
    assert "found after the start, which used the snapshot at 11" in ended.err
    assert "Traceback" not in ended.err
    assert (log_of(damaged), snapshots(damaged)) == (before, [])


def test_a_server_that_is_started_again_refuses_before_it_serves(damaged: Path) -> None:
    serve(damaged)
    ended = serve(damaged)
    assert (ended.code, ended.out) == (COULD_NOT_RUN, b"")
    assert DAMAGE in ended.err


@pytest.mark.long
def test_a_server_of_several_workers_ends_as_well(damaged: Path) -> None:
    """A replacement would fold the whole log, and other workers would write meanwhile."""
    ended = serve(damaged, "--workers", "2")
    assert ended.code == DAMAGED
    assert DAMAGE in ended.err
    assert "found after the start, which used the snapshot at 11" in ended.err
    assert "another takes its place" not in ended.err
    assert "Traceback" not in ended.err
    assert snapshots(damaged) == []


def test_with_before_the_damage_is_found_before_the_server_serves(damaged: Path) -> None:
    ended = serve(damaged, "--verify", "before")
    assert (ended.code, ended.out) == (COULD_NOT_RUN, b"")
    assert DAMAGE in ended.err
    assert snapshots(damaged) == ["11.snapshot"]


def test_a_server_over_an_intact_log_checks_it_and_goes_on(data: Path) -> None:
    arguments = ("serve", "--port", "0", "--data", str(data))
    with running(data.parent, *arguments) as server:
        health = f"{address_of(server)}/health"
        wait_until(lambda: httpx.get(health).json()["chain_check"]["status"] == "done")
        assert httpx.get(health).json()["chain_check"] == {
            "status": "done",
            "position": 11,
            "upto": 11,
        }
        assert server.stop().code == 0
    assert snapshots(data) == ["11.snapshot"]


@pytest.mark.parametrize("verify", ["background", "before"])
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damage_in_a_database_is_found_likewise(
    tmp_path: Path, postgresql: PostgreSQL, verify: str
) -> None:
    url, data = postgresql.new_database(), tmp_path / "data"
    data.mkdir()
    for name in ("ann", "ben"):
        arguments = ("users", "create", name, f"{name}@example.org", "--password-stdin")
        output_of(data, *arguments, "--log", url, typed="correct horse\n")
    output_of(data, "snapshot", "--log", url)
    change_rows(url, EVENTS.update().values(line=b"{}").where(EVENTS.c.position == 1))
    ended = serve(data, "--log", url, "--verify", verify)
    assert ended.code == (DAMAGED if verify == "background" else COULD_NOT_RUN)
    assert "the log is damaged at position 1" in ended.err


def test_another_word_is_refused(data: Path) -> None:
    result = invoke(data, "serve", "--verify", "never")
    assert result.exit_code == 2
    assert "'background', 'before'" in result.stderr
