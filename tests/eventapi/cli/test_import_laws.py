"""Properties of the import: every value is kept, or reported with its place."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eventapi.bootstrap.storage import SYSTEM
from eventapi.cli import db_json
from eventapi.cli.db_json import MAX_ID, Contents, Fault, Refused
from eventapi.cli.db_json_reader import read
from eventapi.cli.import_plan import Plan, plan
from eventapi.journal.batch import Batch, PendingWrite
from eventapi.journal.origin import NO_ORIGIN
from eventapi.testing.items import ITEM, empty_state
from events.sealing import Keyring
from projections.state import State
from projections.tables.users import User
from tests.eventapi.cli.old_service import ARGON2, BCRYPT, Document, run_import

pytestmark = pytest.mark.long  # Each example is a whole import.

Keys = tuple[str | int, ...]

_KEY = re.compile(
    r'\.?(?P<plain>[A-Za-z0-9_\-]+)|\[(?P<index>\d+)\]|\[(?P<text>"(?:[^"\\]|\\.)*")\]'
)

anything_written = st.text(st.characters(exclude_categories=()), max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | anything_written
    | st.sampled_from(["x" * 60_000, "\x01" * 9_000, 10**3_000, "yes", "2025-10-13"])
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(anything_written, scalars)
names = (
    st.sampled_from(["", "ann", "Ann", "ANN", "ann-2", "straße", "STRASSE", "user", "x" * 254])
    | st.sampled_from(["x" * 255, "X" * 260, "a\0", "a\ud800"])
    | anything_written
)
times = st.datetimes().map(lambda moment: moment.isoformat())


def members(**good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly objects with good members; any member may be missing or have any value."""
    either = {name: kind | values for name, kind in good.items()}
    objects = st.fixed_dictionaries({}, optional=either | {"extra": values})
    return st.fixed_dictionaries(good) | objects | values


users = members(
    username=names,
    email=st.sampled_from(["", "a@b.c", "A@B.C"]) | anything_written,
    hashed_password=st.sampled_from([BCRYPT, ARGON2, "$2b$31$x"]),
    full_name=st.none() | anything_written,
    disabled=st.booleans(),
    created_at=times,
)
things = members(
    id=st.integers(-1, 9) | st.integers(MAX_ID - 1, MAX_ID + 1),
    title=anything_written,
    description=st.none() | anything_written,
    owner=names,
    created_at=times,
)


@st.composite
def files(draw: st.DrawFn) -> Document:
    """Files whose outer shape is right, with any content."""
    people = draw(st.dictionaries(names, users, max_size=5))
    owners = st.sampled_from(sorted(people)) | names if people else names
    lists = draw(st.dictionaries(owners, st.lists(things, max_size=4) | values, max_size=4))
    more = draw(st.dictionaries(anything_written, values, max_size=1))
    return {**more, "users": people, "items": lists}


def as_read(content: Document) -> Document:
    """The file as a JSON reader reads it: adjacent lone surrogates become a pair."""
    read_again: Document = json.loads(json.dumps(content))
    return read_again


def plan_import(content: Document) -> tuple[Contents, Plan, State]:
    """The contents, the plan, and the state after the planned commands."""
    contents = read(json.dumps(content).encode())
    made = plan(contents, empty_state(), ITEM, "operator/test")
    state = empty_state()
    if made.commands:
        batch = Batch(empty_state(), Keyring(), SYSTEM)
        loop = asyncio.new_event_loop()
        batch.add(PendingWrite(made.commands, NO_ORIGIN, loop.create_future()))
        loop.close()
        ((_, answer),) = batch.answers
        assert isinstance(answer, list), answer
        for record in batch.records:
            state.apply(record)
    return contents, made, state


def keys_of(place: str) -> list[str | int]:
    found: list[str | int] = []
    end = 0
    while end < len(place):
        match = _KEY.match(place, end)
        assert match, place
        end = match.end()
        text, index = match["text"], match["index"]
        found.append(json.loads(text) if text else int(index) if index else match["plain"])
    return found


def is_in(place: str, content: Any) -> bool:
    """Whether a place exists in a file; the last member may be missing."""
    *keys, last = keys_of(place)
    for key in keys:
        content = content[key]
    return isinstance(content, dict) or last in range(len(content))


@settings(max_examples=100)
@given(files())
def test_every_changed_value_is_reported_with_its_place(content: Document) -> None:
    content = as_read(content)
    contents, made, state = plan_import(content)
    places = [fault.place for fault in made.faults] + [note.place for note in contents.notes]
    assert all(is_in(place, content) for place in places)
    assert all(fault.detail and fault.remedy for fault in made.faults)
    reported = {tuple(keys_of(place)) for place in places}
    kept = {key: one for key, one in content["users"].items() if isinstance(one, dict)}
    assert {("users", key) for key in content["users"].keys() - kept.keys()} <= reported
    assert [user.key for user in contents.users] == list(kept)
    for (key, old), new in zip(kept.items(), state.users.by_id.values(), strict=True):
        assert_kept(old, key, new, reported)
    assert_items_kept(content, contents, state, reported)


def assert_kept(old: Document, key: str, new: User, reported: set[Keys]) -> None:
    """Assert that each member is unchanged or reported."""
    now = {
        "username": new.username,
        "email": new.email,
        "hashed_password": new.password_hash,
        "full_name": new.full_name,
        "disabled": new.disabled,
    }
    was = {"full_name": None, **old, "username": key}
    was["disabled"] = False if was.get("disabled") is None else was["disabled"]
    for member, value in now.items():
        is_kept = was.get(member) is value or (was.get(member) == value and value not in {0, 1})
        assert is_kept or ("users", key, member) in reported, member
    for member in old.keys() - now.keys() - {"created_at"}:
        assert ("users", key, member) in reported


def assert_items_kept(
    content: Document, contents: Contents, state: State, reported: set[Keys]
) -> None:
    expected: list[tuple[str, Document]] = []
    for owner, items in content["items"].items():
        if isinstance(items, list) and isinstance(content["users"].get(owner), dict):
            expected += [(owner, one) for one in items if isinstance(one, dict)]
    assert [old.owner for old in contents.items] == [owner for owner, _ in expected]
    texts = sorted((old.title, old.description or "") for old in contents.items)
    assert texts == sorted(
        (new.title, new.description or "") for new in state["items"].by_id.values()
    )
    ids = [number for _, one in expected if type(number := one.get("id")) is int]
    assert {number for number in ids if 1 <= number <= MAX_ID} <= set(state["items"].by_id)
    if not any(keys[0] == "items" for keys in reported):
        was = sorted((one["title"], one.get("description") or "") for _, one in expected)
        assert was == texts


@settings(max_examples=50)
@given(files())
def test_names_and_addresses_are_unique_and_every_name_can_log_in(content: Document) -> None:
    _, made, state = plan_import(content)
    people = state.users.by_id.values()
    folded = [user.username.casefold() for user in people]
    assert len(folded) == len(set(folded))
    addresses = [user.email.casefold() for user in people if user.email]
    assert len(addresses) == len(set(addresses))
    assert all(state.users.find_by_username(user.username) is user for user in people)
    assert all(1 <= len(user.username) <= 254 and "\0" not in user.username for user in people)
    assert {one.place for one in made.renamed} <= {one.place for one in made.faults}
    msgspec.json.encode([made.renamed, made.faults])


@settings(max_examples=50)
@given(files())
def test_an_export_of_a_mended_import_has_no_faults(content: Document) -> None:
    """Its import gives the same export again."""
    _, _, state = plan_import(content)
    assume(state["items"].last_id <= MAX_ID)  # New numbers follow the highest one that was kept.
    exported = db_json.write(state)
    _, made, again = plan_import(json.loads(exported))
    assert made.faults == []
    assert db_json.write(again) == exported


def faults_in(text: bytes) -> Sequence[Fault]:
    try:
        return read(text).faults
    except Refused as refused:
        return refused.faults


@settings(max_examples=50)
@given(values | files(), st.integers(0, 60), st.binary(max_size=3))
def test_bytes_are_read_or_refused_with_a_reason(content: object, at: int, put: bytes) -> None:
    whole = json.dumps(content).encode()
    for text in (whole, whole[:at], whole[:at] + put + whole[at:], put):
        assert all(fault.detail for fault in faults_in(text))


@settings(max_examples=10)
@given(files())
def test_the_command_imports_everything_or_nothing(content: Document) -> None:
    faults = plan_import(content)[1].faults
    with tempfile.TemporaryDirectory() as folder:
        plain = run_import(Path(folder) / "plain", content, "--json")
        assert plain.exit_code == (1 if faults else 0), plain.output
        assert (Path(folder) / "plain" / "data").exists() == (not faults)
        assert len(json.loads(plain.stdout).get("flaws", [])) == len(faults)
        mended = run_import(Path(folder) / "mended", content, "--mend", "--json")
        assert mended.exit_code == 0, mended.output
        assert len(json.loads(mended.stdout)["mended"]) == len(faults)
