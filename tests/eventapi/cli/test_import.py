"""``eventapi log import``: atomicity, item numbers, reports and export."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventapi.cli import importing
from eventapi.cli.db_json import Contents
from eventapi.cli.import_plan import Plan, plan
from eventapi.commands.users import RegisterUser
from eventapi.resources.declared import Declared
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item, delete_item
from projections.state import State
from tests.eventapi.cli.old_service import (
    ARGON2,
    BCRYPT,
    NOON,
    PASSWORD,
    Document,
    document,
    export_document,
    import_report,
    item,
    of_users,
    run_import,
    user,
)
from tests.eventapi.cli.running import address_of, invoke, run, running, written


def test_all_faults_are_listed_and_nothing_is_imported(tmp_path: Path) -> None:
    content = document(ann=user("ann", created_at="x", hashed_password="y"), thing=item(0, "ann"))
    result = run_import(tmp_path, content)
    assert result.exit_code == 1
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        "users.ann.hashed_password",
        "users.ann.created_at",
        "items.ann[0].id",
        "eventapi",
        "Nothing was changed.",
        "Next",
    ]
    assert "nothing was imported: 3 faults in the file" in result.stderr
    assert "`eventapi log import FILE --mend`" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [(), ("--mend",)])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n",
        b"{",
        b'{"users": {}, "ite',
        b"\xff\xfe{}",
        b'{"users": {}, "items": {}} x',
        b'{"users": {"\xc3": {}}, "items": {}}',
        b"[" * 100_000,
        [],
        None,
        {},
        {"users": {}},
        {"users": [], "items": {}},
        {"users": {}, "items": None},
    ],
)
def test_a_file_of_another_shape_is_refused_with_or_without_mend(
    tmp_path: Path, content: object, options: tuple[str, ...]
) -> None:
    result = run_import(tmp_path, content, *options)
    assert result.exit_code == 1
    assert "nothing was imported: " in result.stderr
    assert "--mend" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert import_report(tmp_path, b"\xef\xbb\xbf" + json.dumps(document()).encode())["users"] == 1


def test_names_in_use_are_refused_in_any_letter_case(tmp_path: Path) -> None:
    written(tmp_path / "data", RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    before = (tmp_path / "data" / "events.jsonl").read_bytes()
    result = run_import(
        tmp_path, of_users(user("ANN"), user("cid", email="BEN@example.org")), "--json"
    )
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["imported"] is False
    assert report["flaws"] == [
        {
            "place": "users.ANN.username",
            "detail": "is already used by an account in the log",
            "remedy": "becomes 'ANN-2'",
        },
        {
            "place": "users.cid.email",
            "detail": "is already used by an account in the log",
            "remedy": "is left empty; the account has no address",
        },
    ]
    assert (tmp_path / "data" / "events.jsonl").read_bytes() == before


def test_a_second_import_of_a_file_is_recognised(tmp_path: Path) -> None:
    content = document(ann=user("ann", disabled=True))
    import_report(tmp_path, content)
    result = run_import(tmp_path, content)
    assert result.exit_code == 1
    assert "every user of the file is already in the log" in result.stderr
    assert "Next: nothing, if the file was imported before" in result.stderr


def test_an_account_of_the_same_name_is_not_a_second_import(tmp_path: Path) -> None:
    written(tmp_path / "data", RegisterUser(profile("ann")))
    result = run_import(tmp_path, document())
    assert result.exit_code == 1
    assert "nothing was imported: " in result.stderr
    assert "--mend" in result.stderr
    assert "imported before" not in result.stderr


def test_an_import_is_one_atomic_group_by_the_operator(tmp_path: Path) -> None:
    report = import_report(tmp_path, document(ann=user("ann", disabled=True)))
    assert (report["users"], report["disabled"], report["items"]) == (1, 1, 1)
    assert (report["first_position"], report["last_position"]) == (1, 3)
    lines = (tmp_path / "data" / "events.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == [
        "user.registered",
        "user.disabled",
        "item.created",
    ]
    assert [event.get("remaining") for event in events] == ["2", "1", None]
    assert all(event["actor"].startswith("operator/") for event in events)


def test_items_keep_numbers_that_are_not_in_use(tmp_path: Path) -> None:
    """A number that was ever in use, or that the file has twice, is not free."""
    content = Content("mine")
    registered = RegisterUser(profile("zoe"))
    written(tmp_path / "data", registered, create_item(1, content), create_item(1, content))
    written(tmp_path / "data", delete_item(1, 2))
    report = import_report(
        tmp_path,
        {
            "users": {"ann": user("ann"), "ben": user("ben")},
            "items": {
                "ann": [item(7, "ann"), item(2, "ann"), item(9, "ann")],
                "ben": [item(7, "ben")],
            },
        },
    )
    assert report["renumbered"] == [
        {"owner": "ann", "from": 2, "to": 10},
        {"owner": "ben", "from": 7, "to": 11},
    ]


def test_the_older_of_two_items_keeps_their_number(tmp_path: Path) -> None:
    younger, older = item(7, "ann", title="younger"), item(7, "ben", title="older")
    content = {
        "users": {"ann": user("ann"), "ben": user("ben")},
        "items": {
            "ann": [younger, {**younger, "title": "same list"}],
            "ben": [{**older, "created_at": "2020-01-01T00:00:00"}],
        },
    }
    report = import_report(tmp_path, content)
    assert [(one["owner"], one["to"]) for one in report["renumbered"]] == [("ann", 8), ("ann", 9)]
    after = export_document(tmp_path)["items"]
    assert [(one["id"], one["title"]) for one in after["ann"]] == [(8, "younger"), (9, "same list")]
    assert [(one["id"], one["title"]) for one in after["ben"]] == [(7, "older")]


def test_the_report_as_text_lists_every_change(tmp_path: Path) -> None:
    content = of_users(user("ann"), user("ANN", disabled=True, phone="1"), user("cid", phone="2"))
    content["items"] = {"ann": [item(1, "ann"), item(1, "ann"), item(None, "ann")]}
    result = run_import(tmp_path, content, "--mend")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "imported 3 users (1 disabled) and 3 items",
        "as events 1 to 7",
        "users.ANN.username: is the same as that of users.ann; letter case is ignored; it becomes "
        "'ANN-2'",
        "users.ANN.email: is the same as that of users.ann; letter case is ignored; it is left "
        "empty; the account has no address",
        "item 1 of ann is now item 2: the number was in use",
        "an item of ann is now item 3: it had no number",
        "users.ANN.phone and 1 more: is unknown; it is not imported",
        "items.ann[2].id: is missing; the item gets a new number",
    ]


def test_a_dry_run_reports_the_same_and_writes_nothing(tmp_path: Path) -> None:
    content = of_users(user("ann"), user("ANN"))
    content["items"] = {"ann": [item(1, "ann"), item(1, "ann")]}
    report = import_report(tmp_path, content, "--mend", "--dry-run")
    assert not (tmp_path / "data").exists()
    done = import_report(tmp_path, content, "--mend")
    positions = {"imported": False, "first_position": None, "last_position": None}
    assert report == done | positions
    before = (tmp_path / "data" / "events.jsonl").read_bytes()
    again = import_report(tmp_path, content, "--mend", "--dry-run")
    assert again["renamed"][0]["to"] == "ann-3"
    assert (tmp_path / "data" / "events.jsonl").read_bytes() == before
    assert "would import 2 users" in run_import(tmp_path, content, "--mend", "--dry-run").stdout


def test_an_empty_file_is_imported(tmp_path: Path) -> None:
    for options in (["--dry-run"], []):
        report = import_report(tmp_path, {"users": {}, "items": {}}, *options)
        assert (report["users"], report["last_position"]) == (0, None)


def test_a_missing_file_is_misuse(tmp_path: Path) -> None:
    assert invoke(tmp_path, "log", "import", str(tmp_path / "no.json")).exit_code == 2


@pytest.mark.long
def test_an_import_works_beside_a_running_server(tmp_path: Path) -> None:
    """A user of the old service logs in at the server without a restart."""
    file = tmp_path / "db.json"
    file.write_text(json.dumps(document(ann=user("ann", hashed_password=ARGON2))))
    with running(tmp_path, "serve", "--port", "0") as server:
        address = address_of(server)
        ended = run(tmp_path, "log", "import", "db.json")
        assert (ended.code, ended.err) == (0, "")
        credentials = {"username": "ann", "password": PASSWORD}
        answer = httpx.post(f"{address}/auth/login", json=credentials)
        assert answer.status_code == 200
        token = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        (first,) = httpx.get(f"{address}/api/v2/items", headers=headers).json()["items"]
        assert (first["title"], first["created_at"]) == ("item 1", f"{NOON}.000000Z")


@pytest.mark.parametrize("mend", [False, True])
def test_an_import_is_planned_again_if_a_name_is_taken_before_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mend: bool
) -> None:
    written(tmp_path / "data", RegisterUser(profile("zoe")))
    others = [RegisterUser(profile("ann"))]

    def planned(contents: Contents, state: State, item: Declared, actor: str) -> Plan:
        made = plan(contents, state, item, actor)
        with ThreadPoolExecutor() as pool:
            while others:
                pool.submit(written, tmp_path / "data", others.pop()).result()
        return made

    monkeypatch.setattr(importing, "plan", planned)
    result = run_import(tmp_path, document(), "--json", *(["--mend"] if mend else []))
    assert result.exit_code == (0 if mend else 1), result.output
    report = json.loads(result.stdout)
    changes = report["mended"] if mend else report["flaws"]
    assert [one["place"] for one in changes] == ["users.ann.username"]
    assert list(export_document(tmp_path)["users"]) == ["zoe", "ann", *(["ann-2"] if mend else [])]


# Export

usernames = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.\-]{2,11}", fullmatch=True)
texts = st.text(max_size=20)
zones = st.none() | st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
moments = st.datetimes().filter(lambda moment: 1 < moment.year < 9999)
times = st.builds(lambda moment, zone: moment.replace(tzinfo=zone).isoformat(), moments, zones)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Files as the old service wrote them, with unique item numbers."""
    names = draw(st.lists(usernames, max_size=4, unique_by=str.casefold))
    numbers = iter(draw(st.permutations(range(1, 13))))
    return {
        "users": {
            name: user(
                name,
                email=f"{draw(texts)}{index}@",
                hashed_password=draw(st.sampled_from([BCRYPT, ARGON2])),
                full_name=draw(st.none() | texts),
                disabled=draw(st.booleans()),
                created_at=draw(times),
            )
            for index, name in enumerate(names)
        },
        "items": {
            name: [
                item(
                    next(numbers),
                    name,
                    title=draw(texts),
                    description=draw(st.none() | texts),
                    created_at=draw(times),
                )
                for _ in range(draw(st.integers(0, 3)))
            ]
            for name in names
        },
    }


def normalise(content: Document) -> Document:
    """Normalise a file: times as instants, items by number."""

    def instant(member: Document) -> Document:
        moment = datetime.fromisoformat(member["created_at"])
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return {**member, "created_at": zoned}

    return {
        "users": {name: instant(one) for name, one in content["users"].items()},
        "items": {
            name: sorted(map(instant, items), key=lambda one: one["id"])
            for name, items in content["items"].items()
        },
    }


@settings(max_examples=15)
@given(documents())
def test_an_export_equals_the_import_and_can_be_imported_again(content: Document) -> None:
    with tempfile.TemporaryDirectory() as folder:
        import_report(Path(folder) / "one", content)
        after = export_document(Path(folder) / "one")
        import_report(Path(folder) / "two", after)
        again = export_document(Path(folder) / "two")
    assert normalise(after) == normalise(content)
    assert again == after
    members = [*after["users"].values(), *chain.from_iterable(after["items"].values())]
    assert all(datetime.fromisoformat(one["created_at"]).tzinfo is None for one in members)
