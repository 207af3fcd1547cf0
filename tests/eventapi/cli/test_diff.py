"""``eventapi log diff``, and the events between two moments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item, delete_item, update_item
from tests.eventapi.cli.running import invoke, written

ANN, BEN = RegisterUser(profile("ann")), RegisterUser(profile("ben"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with six events: two users, two items, a change, a deletion."""
    folder = tmp_path / "data"
    items = create_item(1, Content("a secret title")), create_item(2, Content("another"))
    written(folder, ANN, BEN, *items, update_item(1, 1, title="a new title"), delete_item(2, 2))
    return folder


def table(data: Path, *options: str) -> list[list[str]]:
    """The rows of the table, without its header."""
    result = invoke(data, "log", "diff", *options)
    assert result.exit_code == 0, result.stderr
    header, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert header == ["subject", "change", "field", "before", "after"]
    return rows


def time_of(data: Path, position: int) -> str:
    line = (data / "events.jsonl").read_bytes().splitlines()[position - 1]
    time: str = json.loads(line)["time"]
    return time


def test_sealed_values_are_shown_only_with_open(data: Path) -> None:
    assert table(data, "--from", "4", "--to", "5") == [["items/1", "changed", "title", "…", "…"]]
    assert table(data, "--from", "4", "--to", "5", "--open") == [
        ["items/1", "changed", "title", '"a secret title"', '"a new title"']
    ]


def test_json_has_both_positions_and_the_differences(data: Path) -> None:
    result = invoke(data, "log", "diff", "--from", "4", "--json", "--open", "--subject", "items")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["from"], found["to"]) == (4, 6)
    changes = [(one["subject"], one["change"]) for one in found["items"]]
    assert changes == [("items/1", "changed"), ("items/2", "deleted")]
    assert found["items"][1]["fields"]["title"] == {"before": "another"}


def test_moments_may_be_times(data: Path) -> None:
    by_time = table(data, "--from", time_of(data, 4), "--to", time_of(data, 5))
    assert by_time == table(data, "--from", "4", "--to", "5")


def test_whole_log_is_compared_by_default(data: Path) -> None:
    assert {row[0] for row in table(data)} == {"users/1", "users/2", "items/1"}
    assert {row[1] for row in table(data)} == {"created"}
    assert table(data, "--from", "6") == []


def test_an_erased_user_leaves_only_the_fact(data: Path) -> None:
    written(data, EraseUser("ann", "operator/root"))
    assert table(data, "--from", "5", "--open") == [
        ["items/1", "erased", "", "", ""],
        ["items/2", "deleted", "owner", '"users/2"', ""],
        *table(data, "--from", "5", "--open", "--subject", "items/2")[1:],
        ["users/1", "erased", "", "", ""],
    ]


def test_without_the_vault_only_clear_values_are_compared(data: Path) -> None:
    (data / "vault.sqlite").unlink()
    result = invoke(data, "log", "diff", "--from", "4", "--to", "5", "--open")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == ["items/1\tchanged\t\t\t"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--from", "9"], 1),
        (["--to", "9"], 1),
        (["--from", "x"], 2),
        (["--from", "3", "--to", "2"], 2),
        (["--from", "2999-01-01T00:00:01Z", "--to", "2999-01-01T00:00:00Z"], 2),
        (["--from", "3", "--to", "2000-01-01T00:00:00Z"], 2),
        (["--subject", "sessions"], 2),
        (["--subject", "items/x"], 2),
    ],
)
def test_a_bad_moment_or_subject_is_refused(data: Path, options: Sequence[str], code: int) -> None:
    result = invoke(data, "log", "diff", *options)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr
    assert "Traceback" not in result.stderr


def shown(data: Path, *options: str) -> str:
    """The positions that `log show` prints; the same with ``--json`` and without."""
    raw: Any = invoke(data, "log", "show", "--json", *options)
    readable = invoke(data, "log", "show", *options)
    assert (raw.exit_code, readable.exit_code) == (0, 0), readable.stderr
    found = [json.loads(line)["id"] for line in raw.stdout_bytes.splitlines()]
    assert [line.split()[0] for line in readable.stdout.splitlines()] == found
    return "".join(found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--since", "2", "--until", "4"], "234"),
        (["--since", "2", "--until", "4", "--order", "desc"], "432"),
        (["--order", "desc", "--limit", "2"], "65"),
        (["--order", "desc", "--after", "3"], "21"),
        (["--since", "2", "--until", "5", "--after", "3"], "45"),
        (["--since", "2", "--type", "item.created"], "34"),
        (["--since", "2", "--type", "item.created", "--order", "desc", "--limit", "1"], "4"),
        (["--since", "9"], ""),
        (["--until", "2000-01-01T00:00:00Z"], ""),
        (["--since", "2000-01-01T00:00:00Z", "--limit", "2"], "12"),
    ],
)
def test_show_selects_a_range_in_either_order(
    data: Path, options: Sequence[str], expected: str
) -> None:
    assert shown(data, *options) == expected


def test_show_selects_by_time_inclusively(data: Path) -> None:
    found = shown(data, "--since", time_of(data, 3), "--until", time_of(data, 4))
    times = [time_of(data, position) for position in range(1, 7)]
    assert found == "".join(
        str(at) for at, time in enumerate(times, 1) if times[2] <= time <= times[3]
    )


def test_show_refuses_an_end_before_the_beginning(data: Path) -> None:
    assert invoke(data, "log", "show", "--since", "3", "--until", "2").exit_code == 2
