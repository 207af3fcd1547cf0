"""``eventapi log import``: everything it refuses, and that what it takes comes back out."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st

from eventapi.cli import db_json
from eventapi.commands.items import CreateItem, DeleteItem
from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from events.items import Content
from tests.eventapi.cli.running import invoke, run, running, written

BCRYPT = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
ARGON2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(
    "correct horse", salt=b"always the same!"
)
NOON = "2025-10-13T12:00:00"

Document = dict[str, Any]


def user(name: str, **other: object) -> Document:
    return {
        "username": name,
        "email": f"{name}@example.com",
        "hashed_password": BCRYPT,
        "full_name": None,
        "disabled": False,
        "created_at": NOON,
        **other,
    }


def item(number: int, owner: str, **other: object) -> Document:
    return {
        "id": number,
        "title": f"item {number}",
        "description": None,
        "owner": owner,
        "created_at": NOON,
        **other,
    }


def document(ann: Document | None = None, thing: Document | None = None) -> Document:
    """A file with one user and one item."""
    return {
        "users": {"ann": ann or user("ann")},
        "items": {"ann": [thing or item(1, "ann")]},
    }


def flaws_of(content: Document | bytes | str) -> dict[str, str]:
    """What is wrong in a file, by place."""
    text = json.dumps(content).encode() if isinstance(content, dict) else content
    with pytest.raises(db_json.Refused) as refused:
        db_json.read(text if isinstance(text, bytes) else text.encode())
    return {flaw.place: flaw.detail for flaw in refused.value.flaws}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("username", "ab"),
        ("username", "a b c"),
        ("username", "-ann"),
        ("username", "Änn"),
        ("username", None),
        ("email", "nobody"),
        ("email", "ann@localhost"),
        ("email", 5),
        ("hashed_password", "$2b$12$..."),
        ("hashed_password", "correct horse"),
        ("hashed_password", BCRYPT.replace("$12$", "$99$")),
        ("hashed_password", BCRYPT + "\n"),
        ("hashed_password", "$argon2id$nonsense"),
        ("full_name", "x" * 101),
        ("full_name", "two\nlines"),
        ("disabled", "no"),
        ("disabled", 1),
        ("created_at", "yesterday"),
        ("created_at", "2025-02-30T12:00:00"),
        ("created_at", "2025-10-13"),
        ("created_at", "0001-01-01T00:00:00+14:00"),
        ("created_at", 1_760_000_000),
        ("updated_at", NOON),
        ("is_admin", True),
    ],
)
def test_a_user_is_held_to_the_rules_of_a_request(member: str, value: object) -> None:
    assert f"users.ann.{member}" in flaws_of(document(ann={**user("ann"), member: value}))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", 0),
        ("id", -1),
        ("id", True),
        ("id", "1"),
        ("id", 1.5),
        ("id", db_json.MAX_ID + 1),
        ("title", ""),
        ("title", "   "),
        ("title", "x" * 201),
        ("title", "a\u202eb"),
        ("title", None),
        ("description", "x" * 5001),
        ("description", "a\0b"),
        ("owner", "ben"),
        ("owner", "ANN"),
        ("created_at", ""),
        ("updated_at", NOON),
    ],
)
def test_an_item_is_held_to_the_rules_of_a_request(member: str, value: object) -> None:
    flaws = flaws_of(document(thing={**item(1, "ann"), member: value}))
    assert list(flaws) == [f"items.ann[0].{member}"]


@pytest.mark.parametrize("member", ["username", "email", "hashed_password", "created_at"])
def test_what_a_user_must_have(member: str) -> None:
    broken = user("ann")
    del broken[member]
    assert flaws_of(document(ann=broken)) == {f"users.ann.{member}": "is required"}


@pytest.mark.parametrize("member", ["id", "title", "owner", "created_at"])
def test_what_an_item_must_have(member: str) -> None:
    broken = item(1, "ann")
    del broken[member]
    assert flaws_of(document(thing=broken)) == {f"items.ann[0].{member}": "is required"}


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ([], [""]),
        ({}, ["users", "items"]),
        ({"users": [], "items": {}}, ["users"]),
        ({"users": 5, "items": {"ann": []}}, ["users", "items.ann"]),
        ({"users": {}, "items": {}, "tokens": {}}, ["tokens"]),
        ({"users": {"ann": None}, "items": {}}, ["users.ann"]),
        ({"users": {"ann": user("ann")}, "items": {"ann": {}}}, ["items.ann"]),
        ({"users": {"ann": user("ann")}, "items": {"ann": ["x"]}}, ["items.ann[0]"]),
        ({"users": {"bob": user("ann")}, "items": {}}, ["users.bob.username"]),
        ({"users": {}, "items": {"ann": [item(1, "ann")]}}, ["items.ann"]),
        ({"users": {}, "items": {"a\nb": []}}, ['items["a\\nb"]']),
    ],
)
def test_a_file_of_another_shape(content: object, places: list[str]) -> None:
    assert list(flaws_of(json.dumps(content))) == places


def test_names_and_addresses_are_doubled_without_regard_to_case() -> None:
    twice = {"Ann": user("Ann", email="ANN@example.com"), "ann": user("ann")}
    assert list(flaws_of({"users": twice, "items": {}})) == [
        "users.ann.username",
        "users.ann.email",
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"users": {}, "items": {}} x',
        b'{"users": {}, "items": NaN}',
        b'{"users": {"\\ud800x": {}}, "items": {}}',
        b'{"users": {"\xc3": {}}, "items": {}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_json(content: bytes) -> None:
    assert list(flaws_of(content)) == [""]


def test_a_key_that_stands_twice() -> None:
    users = '{"ann": {"username": "ann", "username": "ann"}, "ann": {}}'
    places = flaws_of(f'{{"users": {users}, "items": {{}}}}')
    assert places["users.ann"] == "stands there twice"


@pytest.mark.parametrize("stored", [BCRYPT, BCRYPT.replace("2b", "2a"), ARGON2])
@pytest.mark.parametrize(
    "time", [NOON, "2025-10-13 12:00:00.000", "2025-10-13T14:00:00+02:00", NOON + "Z"]
)
def test_what_is_taken(stored: str, time: str) -> None:
    contents = db_json.read(
        json.dumps(document(ann=user("ann", hashed_password=stored, created_at=time))).encode()
    )
    assert contents.users[0].hashed_password == stored
    assert contents.users[0].created_at == "2025-10-13T12:00:00.000000Z"


# As a command


def imported(tmp_path: Path, content: Document) -> Document:
    """Import a file that is good; what the command tells a program."""
    file = tmp_path / "db.json"
    file.write_text(json.dumps(content))
    result = invoke(tmp_path / "data", "log", "import", str(file), "--json")
    assert result.exit_code == 0, result.stderr
    told: Document = json.loads(result.stdout)
    return told


def test_all_flaws_are_listed_and_nothing_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "db.json"
    content = document(ann=user("ann", email="x", disabled=3), thing=item(1, "ann", title=""))
    file.write_text(json.dumps(content))
    result = invoke(tmp_path / "data", "log", "import", str(file))
    assert result.exit_code == 1
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()] == [
        "users.ann.email",
        "users.ann.disabled",
        "items.ann[0].title",
        "eventapi",
        "Nothing was changed.",
        "Next",
    ]
    assert not (tmp_path / "data").exists()


def test_names_that_somebody_has_are_refused_in_any_case(tmp_path: Path) -> None:
    written(tmp_path / "data", RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    before = (tmp_path / "data" / "events.jsonl").read_bytes()
    file = tmp_path / "db.json"
    people = {"ANN": user("ANN"), "cid": user("cid", email="BEN@example.org")}
    file.write_text(json.dumps({"users": people, "items": {}}))
    result = invoke(tmp_path / "data", "log", "import", "--json", str(file))
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["imported"] is False
    assert [flaw["place"] for flaw in told["flaws"]] == ["users.ANN.username", "users.cid.email"]
    assert (tmp_path / "data" / "events.jsonl").read_bytes() == before


def test_it_is_one_atomic_group_by_the_operator(tmp_path: Path) -> None:
    told = imported(tmp_path, document(ann=user("ann", disabled=True)))
    assert (told["users"], told["disabled"], told["items"]) == (1, 1, 1)
    assert (told["first_position"], told["last_position"]) == (1, 3)
    lines = (tmp_path / "data" / "events.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == [
        "user.registered",
        "user.disabled",
        "item.created",
    ]
    assert [event.get("remaining") for event in events] == ["2", "1", None]
    assert all(event["actor"].startswith("operator/") for event in events)


def test_item_numbers_are_kept_where_they_are_free(tmp_path: Path) -> None:
    """A number that was ever in use is not free, nor is one that stands in the file twice."""
    content = Content("mine")
    registered = RegisterUser(profile("zoe"))
    written(tmp_path / "data", registered, CreateItem(1, content), CreateItem(1, content))
    written(tmp_path / "data", DeleteItem(1, 2))
    told = imported(
        tmp_path,
        {
            "users": {"ann": user("ann"), "ben": user("ben")},
            "items": {
                "ann": [item(7, "ann"), item(2, "ann"), item(9, "ann")],
                "ben": [item(7, "ben")],
            },
        },
    )
    assert told["renumbered"] == [
        {"owner": "ann", "from": 2, "to": 10},
        {"owner": "ben", "from": 7, "to": 11},
    ]


def test_an_empty_file_is_no_failure(tmp_path: Path) -> None:
    told = imported(tmp_path, {"users": {}, "items": {}})
    assert (told["users"], told["last_position"]) == (0, None)


def test_a_file_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    assert invoke(tmp_path, "log", "import", str(tmp_path / "no.json")).exit_code == 2


def test_it_works_beside_a_running_server(tmp_path: Path) -> None:
    """A user of the old service logs in at the server, which was running all the time."""
    file = tmp_path / "db.json"
    file.write_text(json.dumps(document(ann=user("ann", hashed_password=ARGON2))))
    with running(tmp_path, "serve", "--port", "0") as server:
        address = server.line().split()[2].rstrip(b",").decode()
        ended = run(tmp_path, "log", "import", "db.json")
        assert (ended.code, ended.err) == (0, "")
        credentials = {"username": "ann", "password": "correct horse"}
        answer = httpx.post(f"{address}/auth/login", json=credentials)
        assert answer.status_code == 200
        token = answer.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        (first,) = httpx.get(f"{address}/items", headers=headers).json()
        assert first == item(1, "ann", created_at=f"{NOON}.000000Z")


# There and back

usernames = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.\-]{2,11}", fullmatch=True)
lines = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20
)
titles = lines.filter(lambda text: text.strip() != "")
zones = st.none() | st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))
moments = st.datetimes().filter(lambda moment: 1 < moment.year < 9999)
times = st.builds(lambda moment, zone: moment.replace(tzinfo=zone).isoformat(), moments, zones)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """Files as the old service wrote them, item numbers not doubled."""
    names = draw(st.lists(usernames, max_size=4, unique_by=str.casefold))
    numbers = iter(draw(st.permutations(range(1, 13))))
    return {
        "users": {
            name: user(
                name,
                email=f"{name.strip('.').replace('..', '.') or 'x'}{index}@example.com",
                hashed_password=draw(st.sampled_from([BCRYPT, ARGON2])),
                full_name=draw(st.none() | lines),
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
                    title=draw(titles),
                    description=draw(st.none() | lines),
                    created_at=draw(times),
                )
                for _ in range(draw(st.integers(0, 3)))
            ]
            for name in names
        },
    }


def normal(content: Document) -> Document:
    """A file with its times as instants and its items by number."""

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


@settings(max_examples=25)
@given(documents())
def test_an_export_is_what_was_imported(content: Document) -> None:
    with tempfile.TemporaryDirectory() as folder:
        imported(Path(folder), content)
        result = invoke(Path(folder) / "data", "log", "export", "--format", "db-json")
        assert result.exit_code == 0, result.stderr
        exported = msgspec.json.decode(result.stdout_bytes)
    assert normal(exported) == normal(content)
    members = [*exported["users"].values(), *chain.from_iterable(exported["items"].values())]
    assert all(datetime.fromisoformat(one["created_at"]).tzinfo is None for one in members)
