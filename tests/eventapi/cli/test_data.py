"""``eventapi data``: import resources from a file, and export them."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from eventapi.bootstrap.storage import open_journal
from eventapi.cli.rows import Format
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.configuration.settings import Settings
from eventapi.resources.registry import Registry
from eventapi.testing.given import profile
from tests.eventapi.cli import running
from tests.eventapi.cli.running import invoke, written
from tests.shop import Invoice, Line

SHOP = {"EVENTAPI_RESOURCES": "tests.shop"}
REGISTRY = Registry([Invoice, Line])
FORMATS: tuple[Format, ...] = ("ndjson", "csv")
TIME = "2026-01-02T03:04:05.000006Z"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of two users."""
    folder = tmp_path / "data"
    written(folder, RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    return folder


def run(data: Path, *arguments: str) -> Result:
    return invoke(data, "data", *arguments, **SHOP)


def import_text(data: Path, name: str, text: str, *options: str) -> Result:
    """Import a file of invoices for Ann."""
    file = data.parent / name
    file.write_text(text, newline="")
    return run(data, "import", str(file), "--resource", "invoices", "--owner", "ann", *options)


def exported(data: Path, *options: str) -> list[dict[str, Any]]:
    result = run(data, "export", "--resource", "invoices", *options)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def events(data: Path) -> int:
    return (data / "events.jsonl").read_bytes().count(b"\n")


def faults_of(result: Result) -> list[str]:
    """The faults that a refused import lists."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    *faults, last, _, _ = result.stderr.splitlines()
    assert last.startswith("eventapi: nothing was imported: ")
    return faults


CSV = """\
number,cents,note,due,paid
A1,500,"two, words",2026-01-31,true
A2,0,,,
"""
NDJSON = """\
{"number": "A1", "cents": 500, "note": "two, words", "due": "2026-01-31", "paid": true}

{"number": "A2", "cents": 0}
"""


@pytest.mark.parametrize(("name", "text"), [("a.csv", CSV), ("a.ndjson", NDJSON)])
def test_a_file_is_imported_as_resources_of_its_owner(data: Path, name: str, text: str) -> None:
    result = import_text(data, name, text)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "imported 2 invoices of ann\nas events 4 to 5\n"
    first, second = exported(data)
    assert (first["number"], first["cents"], first["note"]) == ("A1", 500, "two, words")
    assert (first["due"], first["paid"], first["owner"]) == ("2026-01-31", True, "ann")
    assert (second["note"], second["due"], second["paid"]) == (None, None, False)
    line = (data / "events.jsonl").read_bytes().splitlines()[-1]
    assert json.loads(line)["actor"].startswith("operator/")


def test_a_dry_run_reports_the_same_and_writes_nothing(data: Path) -> None:
    before = events(data)
    result = import_text(data, "a.csv", CSV, "--dry-run")
    assert result.stdout == "dry run, nothing is written: would import 2 invoices of ann\n"
    assert events(data) == before
    twice = import_text(data, "a.csv", CSV.replace("A2", "A1"), "--dry-run")
    assert faults_of(twice) == ["line 3: number: is taken by another resource"]


def test_every_fault_of_a_file_is_named_by_line_and_field(data: Path) -> None:
    text = 'number,cents,due,paid\nA1,500,,\na1,-1,,\n"A\n2",5,31.1.2026,yes\nA3\nA4,1.0,,\nA5,null,,\n'
    assert faults_of(import_text(data, "a.csv", text)) == [
        "line 3: number: must have the form ^[A-Z0-9-]{1,20}$",
        "line 3: cents: must be at least 0",
        "line 4: number: must have the form ^[A-Z0-9-]{1,20}$",
        "line 4: due: must be a date such as 2026-01-31",
        "line 4: paid: must be true or false, not a string",
        "line 6: has 1 cells, but the header has 4",
        "line 7: cents: must be a whole number, not a string",
        "line 8: cents: must be a whole number, not a string",
    ]
    lines = [
        '{"number": "A1", "cents": 1, "cents": 2}',
        '{"number": "A1", "cents": "1", "more": 1}',
        "[1]",
        '{"number": "A1"',
        '{"cents": 5, "created_at": "yesterday", "id": 0}',
    ]
    assert faults_of(import_text(data, "a.ndjson", "\n".join(lines))) == [
        "line 1: has the same key twice in one object",
        "line 2: cents: must be a whole number, not a string",
        "line 2: more: is not known here",
        "line 3: must be an object, not a list",
        "line 4: is not valid JSON",
        "line 5: number: is required",
        "line 5: id: must be at least 1",
        "line 5: created_at: must be an RFC 3339 time",
    ]
    assert events(data) == 2


@pytest.mark.parametrize("price", ["1_000", " 5", "\u0663", "+5", ".5", "5.", "NaN"])
def test_a_decimal_number_in_a_file_has_the_form_of_a_json_number(data: Path, price: str) -> None:
    file = data.parent / "lines.csv"
    file.write_text(f"invoice,text,price\n1,a,{price}\n1,b,-0.50\n", newline="")
    result = run(data, "import", str(file), "--resource", "lines", "--owner", "ann")
    assert faults_of(result) == [
        'line 2: price: must be a decimal number as a string such as "1.50"'
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["line 1: must be a header with the names of the columns"]),
        (
            "number,cents,colour,cents\n",
            ["line 1: colour: is not known here", "line 1: cents: is there more than once"],
        ),
        ("cents\n5\n", ["line 1: number: is required"]),
        ('number,cents\nA1,"5\n', ["line 2: is not CSV: unexpected end of data"]),
    ],
)
def test_faults_of_a_csv_file_as_a_whole(data: Path, text: str, faults: list[str]) -> None:
    assert faults_of(import_text(data, "a.csv", text)) == faults


def test_values_that_must_be_unique_are_checked_in_the_file_and_in_the_log(data: Path) -> None:
    import_text(data, "a.csv", CSV)
    before = events(data)
    text = "number,cents\nB1,1\nA2,1\nB1,1\nB2,1\nA1,1\n"
    assert faults_of(import_text(data, "b.csv", text)) == [
        "line 3: number: is taken by another resource",
        "line 4: number: is taken by another resource",
        "line 6: number: is taken by another resource",
    ]
    assert events(data) == before


def test_faults_of_shape_do_not_hide_values_that_are_not_unique(data: Path) -> None:
    import_text(data, "a.csv", CSV)
    before = events(data)
    text = "number,cents\nB1,1\nA1,1\nB2,x\nB1,1\nb3,1\n"
    expected = [
        "line 3: number: is taken by another resource",
        "line 4: cents: must be a whole number, not a string",
        "line 5: number: is taken by another resource",
        "line 6: number: must have the form ^[A-Z0-9-]{1,20}$",
    ]
    assert faults_of(import_text(data, "b.csv", text)) == expected
    assert faults_of(import_text(data, "b.csv", text, "--dry-run")) == expected
    assert events(data) == before


def test_faults_of_shape_are_listed_without_a_log_and_without_an_owner(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    result = import_text(folder, "b.csv", "number,cents\nB2,x\n")
    assert faults_of(result) == ["line 2: cents: must be a whole number, not a string"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"id": 2**52 + 1}, "id: must be at most 4503599627370496"),
        ({"id": 2**53 - 1}, "id: must be at most 4503599627370496"),
        ({"id": -5}, "id: must be at least 1"),
        ({"version": -5}, "version: must be at least 1"),
        ({"version": 0}, "version: must be at least 1"),
        ({"updated_at": "rubbish"}, "updated_at: must be an RFC 3339 time"),
        ({"created_at": "2026-01-02"}, "created_at: must be an RFC 3339 time"),
        ({"created_at": ""}, "created_at: must be an RFC 3339 time"),
    ],
)
def test_members_of_an_export_are_checked(data: Path, members: dict[str, Any], fault: str) -> None:
    row = {"number": "A1", "cents": 5, **members}
    assert faults_of(import_text(data, "a.ndjson", json.dumps(row))) == [f"line 1: {fault}"]


def test_the_greatest_number_leaves_room_for_more(data: Path) -> None:
    rows = [{"number": "A1", "cents": 5, "id": 2**52}, {"number": "A2", "cents": 6}]
    assert import_text(data, "a.ndjson", "\n".join(map(json.dumps, rows))).exit_code == 0
    assert [one["id"] for one in exported(data)] == [2**52, 2**52 + 1]


def test_quotas_do_not_bind_an_operator(data: Path) -> None:
    file = data.parent / "a.csv"
    file.write_text(CSV)
    options = ("--resource", "invoices", "--owner", "ann")
    quota = {**SHOP, "EVENTAPI_USER_QUOTA_ITEMS": "1"}
    assert invoke(data, "data", "import", str(file), *options, **quota).exit_code == 0


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        ("others", "[99999999999999999999]"),
        ("mixed", '"""\\ud800"""'),
        ("taxes", '"[{""name"":""a"",""rate"":1e999}]"'),
    ],
)
def test_a_cell_with_a_value_that_json_or_its_type_lacks_is_a_fault_of_its_line(
    data: Path, field: str, cell: str
) -> None:
    file = data.parent / "lines.csv"
    file.write_text(f"invoice,{field}\n1,{cell}\n")
    result = run(data, "import", str(file), "--resource", "lines", "--owner", "ann")
    (fault,) = faults_of(result)
    assert fault.startswith("line 2: ")
    assert events(data) == 2


def test_a_group_with_a_line_that_is_too_long_is_refused_by_its_line(data: Path) -> None:
    file = data.parent / "lines.ndjson"
    rows = [{"invoice": 1}, {"invoice": 1, "others": [10**18] * 5_000}]
    file.write_text("\n".join(map(json.dumps, rows)))
    result = run(data, "import", str(file), "--resource", "lines", "--owner", "ann")
    (fault,) = faults_of(result)
    assert fault.startswith("line 2: others: it cannot be written down")
    assert events(data) == 2


def test_misuse_and_unknown_owners_are_refused(data: Path) -> None:
    options = ("--resource", "invoices", "--owner", "eve")
    file = data.parent / "a.csv"
    file.write_text(CSV)
    assert "there is no user 'eve'" in run(data, "import", str(file), *options).stderr
    assert "there is no user 'eve'" in run(data, "import", str(file), *options, "--dry-run").stderr
    assert run(data, "export", *options).exit_code == 1
    nothing = run(data, "import", str(file), "--resource", "nothing", "--owner", "ann")
    assert nothing.exit_code == 2
    assert "there is items, invoices, lines" in nothing.stderr
    text = data.parent / "a.txt"
    text.write_text(CSV)
    assert run(data, "import", str(text), *options).exit_code == 2
    named = run(data, "import", str(text), "--format", "csv", *options[:2], "--owner", "ann")
    assert named.exit_code == 0


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_imported_again_with_numbers_and_times(
    data: Path, tmp_path: Path, form: Format
) -> None:
    rows = [{"number": "A1", "cents": 5, "id": 7, "created_at": TIME}, {"number": "A2", "cents": 6}]
    import_text(data, "a.ndjson", "\n".join(map(json.dumps, rows)))
    file = tmp_path / f"out.{form}"
    assert run(data, "export", "--resource", "invoices", "--output", str(file)).exit_code == 0
    before = exported(data)
    assert [(one["id"], one["created_at"] == TIME) for one in before] == [(7, True), (8, False)]

    other = tmp_path / "other"
    written(other, RegisterUser(profile("ann")))
    result = run(other, "import", str(file), "--resource", "invoices", "--owner", "ann")
    assert result.exit_code == 0, result.stderr
    new = {"version", "updated_at"}
    kept = [{name: one[name] for name in one.keys() - new} for one in before]
    assert [{name: one[name] for name in one.keys() - new} for one in exported(other)] == kept

    renumbered = run(data, "import", str(file), "--resource", "invoices", "--owner", "ben")
    assert "2 got new numbers, because theirs were used before" in renumbered.stdout
    assert [one["id"] for one in exported(data, "--owner", "ben")] == [9, 10]


@pytest.mark.parametrize(
    ("options", "form"),
    [((), "ndjson"), (("--output", "/dev/stdout"), "ndjson"), (("--output", "out.csv"), "csv")],
)
def test_the_format_of_standard_output_is_ndjson_without_a_suffix(
    data: Path, options: Sequence[str], form: Format
) -> None:
    """Standard output may also be a file that has a suffix."""
    import_text(data, "a.csv", CSV)
    command = f'exec "$@" {shlex.join(options)} > out.csv'
    arguments = ("data", "export", "--resource", "invoices", "--data", str(data))
    ended = running.run(
        data.parent, *arguments, command=["sh", "-c", command, "sh", *running.PROGRAM], **SHOP
    )
    assert (ended.code, ended.err) == (0, "")
    first = (data.parent / "out.csv").read_text().partition("\n")[0]
    assert first.startswith("id,number" if form == "csv" else '{"id":1,')


def test_an_export_shows_an_owner_and_a_moment_and_no_erased_user(data: Path) -> None:
    import_text(data, "a.csv", CSV)
    position = events(data)
    file = data.parent / "b.csv"
    file.write_text("number,cents\nB1,1\n")
    run(data, "import", str(file), "--resource", "invoices", "--owner", "ben")
    assert [one["number"] for one in exported(data)] == ["A1", "A2", "B1"]
    assert [one["number"] for one in exported(data, "--owner", "ben")] == ["B1"]
    assert [one["number"] for one in exported(data, "--at", str(position - 1))] == ["A1"]
    assert invoke(data, "users", "erase", "ann", "--yes", **SHOP).exit_code == 0
    assert exported(data, "--at", str(position)) == []
    assert [one["number"] for one in exported(data)] == ["B1"]


async def test_an_import_beside_a_running_journal_is_seen_at_once(data: Path) -> None:
    settings = Settings(data=str(data), resources=("tests.shop",))
    async with open_journal(settings) as (journal, _):
        result = await asyncio.to_thread(import_text, data, "a.csv", CSV)
        assert result.exit_code == 0, result.stderr
        state = await journal.state()
        assert [one.number for one in state["invoices"].by_id.values()] == ["A1", "A2"]
        await journal.execute(EraseUser("ann", "operator/test"))
        assert not (await journal.state())["invoices"].by_id
