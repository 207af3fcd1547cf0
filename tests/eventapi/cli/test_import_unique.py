"""How ``--mend`` makes usernames and email addresses unique."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.cli.import_plan import plan
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import ITEM, empty_state
from tests.eventapi.cli.old_service import (
    Document,
    contents_of,
    export_document,
    import_report,
    item,
    of_users,
    run_import,
    user,
)
from tests.eventapi.cli.running import written


def renamed_users(report: Document) -> dict[str, str]:
    return {one["from"]: one["to"] for one in report["renamed"]}


def test_the_oldest_account_keeps_a_name_that_differs_only_by_case(tmp_path: Path) -> None:
    content = of_users(
        user("ann", email="1@x.y"),
        user("Ann", email="2@x.y", created_at="2024-01-01T00:00:00"),
        user("ANN", email="3@x.y", created_at=None),
        user("ann-2", email="4@x.y"),
        user("STRASSE", email="5@x.y"),
        user("straße", email="6@x.y"),
    )
    content["items"] = {"ANN": [item(1, "ANN")], "Ann": [item(2, "Ann")]}
    refused = run_import(tmp_path, content)
    assert refused.exit_code == 1
    assert (
        "users.ann.username: is the same as that of users.Ann; letter case is ignored; "
        "with --mend it becomes 'ann-3'\n"
    ) in refused.stderr
    report = import_report(tmp_path, content, "--mend")
    assert renamed_users(report) == {"ann": "ann-3", "ANN": "ANN-4", "straße": "straße-2"}
    after = export_document(tmp_path)
    assert list(after["users"]) == ["ann-3", "Ann", "ANN-4", "ann-2", "STRASSE", "straße-2"]
    assert [one["owner"] for one in after["items"]["ANN-4"]] == ["ANN-4"]
    assert len(after["items"]["Ann"]) == 1


def test_the_oldest_account_keeps_a_shared_address(tmp_path: Path) -> None:
    content = of_users(
        user("ann", email="both@x.y"),
        user("ben", email="BOTH@x.y", created_at="2020-01-01T00:00:00"),
        user("cid", email="both@X.Y"),
    )
    report = import_report(tmp_path, content, "--mend")
    assert [one["place"] for one in report["mended"]] == ["users.ann.email", "users.cid.email"]
    assert [one["email"] for one in export_document(tmp_path)["users"].values()] == [
        "",
        "BOTH@x.y",
        "",
    ]


def test_existing_accounts_keep_name_and_address(tmp_path: Path) -> None:
    written(tmp_path / "data", RegisterUser(profile("ann")), RegisterUser(profile("ann-2")))
    content = of_users(user("Ann", email="x@y.z"), user("ben", email="ANN@example.org"))
    report = import_report(tmp_path, content, "--mend")
    assert renamed_users(report) == {"Ann": "Ann-3"}
    assert export_document(tmp_path)["users"]["ben"]["email"] == ""


@pytest.mark.parametrize(
    ("names", "after"),
    [
        (["", "user"], ["user-2", "user"]),
        (["x" * 255, "x" * 300, "x" * 240], ["x" * 240 + "-2", "x" * 240 + "-3", "x" * 240]),
        (["X" * 254, "x" * 254], ["X" * 240 + "-2", "x" * 254]),
        (["a\0b", "a\ud800b"], ["a\ufffdb", "a\ufffdb-2"]),
    ],
    ids=["empty", "too long", "no room for a number", "no UTF-8"],
)
def test_an_unusable_name_is_changed_as_little_as_possible(
    tmp_path: Path, names: list[str], after: list[str]
) -> None:
    times = [f"2025-01-0{9 - index}T00:00:00" for index in range(len(names))]
    people = [
        user(name, email="", created_at=time) for name, time in zip(names, times, strict=True)
    ]
    if names[0] == "a\0b":
        people.reverse()
    report = import_report(tmp_path, of_users(*people), "--mend")
    changed = [one for one in zip(names, after, strict=True) if one[0] != one[1]]
    assert sorted(one["to"] for one in report["renamed"]) == sorted(new for _, new in changed)
    assert sorted(export_document(tmp_path)["users"]) == sorted(after)


def test_ten_thousand_accounts_of_one_name_get_consecutive_numbers() -> None:
    """The search for a free number continues after the last one: linear time."""
    names = ["x" * 250 + f"{index:06}" for index in range(10_000)]
    contents = contents_of(of_users(*(user(name, email="same@x.y") for name in names)))
    planned = plan(contents, empty_state(), ITEM, "operator/x")
    assert planned.renamed[-1].new == "x" * 240 + "-10000"
