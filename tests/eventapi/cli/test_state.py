"""``eventapi state`` and ``eventapi rebuild``."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventapi.bootstrap.storage import open_journal, registry_of, snapshots_of
from eventapi.commands.resources import Create, Delete
from eventapi.commands.users import DisableUser, EraseUser, RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.testing.given import profile, state_of
from eventapi.testing.items import Content, create_item, delete_item
from tests.eventapi.cli.running import invoke, message_in, written
from tests.shop import Invoice

EMPTY = state_of().digest()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    users = [RegisterUser(profile(name)) for name in ("ann", "ben")]
    items = [create_item(1, Content("one")), create_item(1, Content("two"))]
    written(folder, *users, *items, delete_item(1, 1), DisableUser("ben", "operator/root"))
    return folder


def show_state(data: Path, *options: str) -> dict[str, object]:
    result = invoke(data, "state", "show", "--json", *options)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


def test_show_prints_the_counts(data: Path) -> None:
    answer = show_state(data)
    assert answer["position"] == 6
    assert answer["users"] == {"enabled": 1, "disabled": 1, "erased": 0}
    assert answer["items"] == {"live": 1, "deleted": 1}
    assert answer["sessions"] == 0
    assert "1 enabled, 1 disabled, 0 erased" in invoke(data, "state", "show").stdout


def test_show_prints_every_collection(data: Path) -> None:
    """Also without the code that declares it, because the log has the declaration."""
    settings = Settings(data=str(data), resources=("tests.shop",))
    invoices = registry_of(settings).by_collection["invoices"]

    async def write() -> None:
        async with open_journal(settings) as (journal, _):
            for number in range(3):
                values = Invoice(number=f"A{number}", cents=1)
                await journal.execute(Create(invoices, 1, msgspec.structs.asdict(values)))
            await journal.execute(Delete(invoices, 1, 2))

    asyncio.run(write())
    rows = [line.split(maxsplit=1) for line in invoke(data, "state", "show").stdout.splitlines()]
    assert ["invoices", "2 live, 1 deleted"] in rows
    assert ["items", "1 live, 1 deleted"] in rows
    assert show_state(data)["resources"] == {
        "invoices": {"live": 2, "deleted": 1},
        "items": {"live": 1, "deleted": 1},
    }


def test_state_at_a_position_or_at_a_time(data: Path) -> None:
    """A record's time selects its position, or a later one with the same time."""
    for line in (data / "events.jsonl").read_bytes().splitlines():
        record = json.loads(line)
        by_position = show_state(data, "--at", record["id"])
        by_time = show_state(data, "--at", record["time"])
        assert by_position["position"] == int(record["id"])
        assert by_position["time"] == record["time"]
        assert by_time["time"] == record["time"]


@pytest.mark.parametrize(
    "at",
    [
        *("0", "1999-12-31T23:59:59Z", "1999-12-31t23:59:59z", "1999-12-31t23:59:59.5+05:30"),
        *("1998-12-31T23:59:60Z", "1999-12-31T23:59:59 01:00"),
    ],
)
def test_the_state_before_the_first_event_is_empty(data: Path, at: str) -> None:
    assert invoke(data, "state", "digest", "--at", at).stdout == f"{EMPTY}\n"
    assert show_state(data, "--at", at)["time"] is None


def test_a_future_time_means_now_and_a_future_position_is_refused(data: Path) -> None:
    assert show_state(data, "--at", "2999-01-01T00:00:00Z") == show_state(data)
    result = invoke(data, "state", "show", "--at", "7")
    assert result.exit_code == 1
    assert message_in(result.stderr) == "there is no position 7 yet: the log ends at 6"


@pytest.mark.parametrize(
    "at", ["-1", "1_0", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"]
)
def test_an_invalid_point_of_the_log_is_misuse(data: Path, at: str) -> None:
    assert invoke(data, "state", "digest", f"--at={at}").exit_code == 2


def test_digest_as_json_has_its_position(data: Path) -> None:
    answer = json.loads(invoke(data, "state", "digest", "--json", "--at", "2").stdout)
    assert answer == {"position": 2, "digest": show_state(data, "--at", "2")["digest"]}


@pytest.mark.parametrize("command", [["state", "digest"], ["state", "show"]])
def test_digest_and_counts_need_no_keys(data: Path, tmp_path: Path, command: Sequence[str]) -> None:
    """Anyone can recompute the digest from the log alone."""
    (tmp_path / "copy.jsonl").write_bytes((data / "events.jsonl").read_bytes())
    alone = invoke(tmp_path, *command, "--log", str(tmp_path / "copy.jsonl"))
    assert alone.exit_code == 0
    assert alone.stdout == invoke(data, *command).stdout
    assert not (tmp_path / "vault.sqlite").exists()


def test_rebuild_prints_its_figures(data: Path) -> None:
    result = invoke(data, "rebuild", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["events"] == 6
    assert answer["digest"] == show_state(data)["digest"]
    assert len(answer["checksum"]) == 64
    assert answer["digest"] in invoke(data, "rebuild").stdout


def write_wrong_snapshot(data: Path) -> None:
    """Write a valid snapshot of a state that the log does not lead to."""
    settings = Settings(data=str(data))

    async def write() -> None:
        async with open_journal(settings) as (journal, _):
            state = await journal.state()
            item = state["items"].by_id[2]
            state["items"].by_id[2] = msgspec.structs.replace(item, title="never written")
            snapshots_of(settings).write(state, journal.keyring, secrets.token_bytes)

    asyncio.run(write())


def test_rebuild_compares_with_the_snapshot_that_a_server_starts_from(data: Path) -> None:
    assert json.loads(invoke(data, "rebuild", "--json").stdout)["snapshot"] is None
    assert invoke(data, "snapshot").exit_code == 0
    written(data, create_item(1, Content("behind the snapshot")))
    answer = json.loads(invoke(data, "rebuild", "--json").stdout)
    assert (answer["events"], answer["snapshot"], answer["equal"]) == (7, 6, True)


def test_a_wrong_snapshot_is_found_and_removed(data: Path) -> None:
    write_wrong_snapshot(data)
    result = invoke(data, "rebuild", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["equal"] is False
    assert "the snapshot at 6 was wrong" in result.stderr
    assert not list((data / "snapshots").glob("*.snapshot"))
    assert invoke(data, "rebuild").exit_code == 0


@pytest.mark.parametrize("at", [0, 100, -1], ids=["header", "body", "checksum"])
def test_a_damaged_snapshot_is_found_removed_and_named(data: Path, at: int) -> None:
    assert invoke(data, "snapshot").exit_code == 0
    (file,) = (data / "snapshots").glob("*.snapshot")
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    result = invoke(data, "rebuild", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["damaged"], answer["snapshot"], answer["equal"]) == ([6], None, True)
    assert "damaged snapshots were removed, at 6\n" in result.stderr
    assert "Next: `eventapi snapshot`" in result.stderr
    assert not file.exists()
    assert invoke(data, "rebuild").exit_code == 0


def test_only_the_damaged_one_of_two_snapshots_is_removed(data: Path) -> None:
    assert invoke(data, "snapshot").exit_code == 0
    (whole,) = (data / "snapshots").glob("*.snapshot")
    written(data, create_item(1, Content("behind the snapshot")))
    assert invoke(data, "snapshot").exit_code == 0
    damaged = whole.with_name("7.snapshot")
    damaged.write_bytes(damaged.read_bytes()[:-5])
    answer = json.loads(invoke(data, "rebuild", "--json").stdout)
    assert (answer["damaged"], answer["snapshot"], answer["equal"]) == ([7], 6, True)
    assert whole.exists()
    assert not damaged.exists()


def test_an_erasure_after_the_snapshot_is_not_a_difference(data: Path) -> None:
    assert invoke(data, "snapshot").exit_code == 0
    written(data, EraseUser("ann", "users/1"))
    assert invoke(data, "rebuild").exit_code == 0
