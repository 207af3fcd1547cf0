"""A log moves from file to database to database and back, and every command reads it anywhere."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import Phase, given, settings

from eventapi.cli import migrate as moving
from eventapi.commands.items import CreateItem
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import Happened, profile, registered, state_of
from eventapi.testing.sample_log import erased_users, write
from eventapi.testing.strategies import sound_histories
from events.database.connection import Database
from events.database.tables import EVENTS, HEAD
from events.errors import LogUnavailable
from events.log.copy import copy
from events.log.port import EventLog
from events.transparency.signed_note import Signer
from events.transparency.signing.port import KEY_PREFIX
from events.vault.sql import SqlVault
from events.vault.sqlite import SqliteVault
from events.vocabulary.items import Content
from events.vocabulary.users import UserErased
from tests.end_to_end.server import free_port
from tests.eventapi.cli.running import invoke, message_in, run, written
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

# The drivers leave it to the collector to close what was cut off.
pytestmark = [
    pytest.mark.long,  # A database or two for each.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PASSWORDS = ("a%20password", "a password")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of every make."""
    found: str = request.getfixturevalue(request.param).new_database()
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of two users, one of them erased, with ten items."""
    folder = tmp_path / "data"
    items = [CreateItem(1 + number % 2, Content(f"item {number}")) for number in range(10)]
    users = RegisterUser(profile("ann")), RegisterUser(profile("ben"))
    written(folder, *users, *items, EraseUser("ben", "users/2"))
    return folder


@pytest.fixture
def moved(data: Path, url: str) -> str:
    """A database with a copy of that."""
    told(data, "log", "copy", url)
    return url


def told(data: Path, *arguments: str) -> dict[str, object]:
    answer: dict[str, object] = json.loads(said(data, *arguments, "--json"))
    return answer


def said(data: Path, *arguments: str, typed: str | None = None) -> str:
    """What a command prints that goes well."""
    result = invoke(data, *arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(data: Path, *arguments: str) -> tuple[int, str]:
    result = invoke(data, *arguments)
    assert not result.stdout
    return result.exit_code, result.stderr


def in_database(url: str, work: Callable[[Database], Awaitable[object]]) -> object:
    async def run_it() -> object:
        database = await Database.open(url)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run_it())


def edit(url: str, statement: sqlalchemy.Executable) -> None:
    """Change a database behind everybody's back."""

    async def work(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.execute(statement)

    in_database(url, work)


def keys_in(url: str) -> dict[str, bytes]:
    found = in_database(url, lambda database: SqlVault(database).all())
    assert isinstance(found, dict)
    return found


# Round the world


def with_an_erasure(history: list[Happened]) -> list[Happened]:
    """The same, and then somebody comes, and the first who is there is erased."""
    state = state_of(*history)
    come = [*history, registered(state.users.last_id + 1, "zoe")]
    alive = [user.subject for user in state.users.by_id.values() if user.status != "erased"]
    return [*come, (alive[0], UserErased())] if alive else come


def lay_out(folder: Path, history: list[Happened]) -> bytes:
    """Write a history to a data directory; the bytes of its log."""
    wrote = write(history)
    content = b"".join(line + b"\n" for line in wrote.lines)
    gone = erased_users(state_of(*history))
    folder.mkdir()
    (folder / "events.jsonl").write_bytes(content)

    async def put() -> None:
        vault = SqliteVault(folder / "vault.sqlite")
        await vault.put({name: key for name, key in wrote.keys.items() if name not in gone})
        await vault.close()

    asyncio.run(put())
    return content


def told_of(data: Path, log: str) -> list[str]:
    """What must be the same wherever a log is kept."""
    asked = (
        ["log", "export"],
        ["log", "checkpoint"],
        ["log", "checkpoint", "--key"],
        ["state", "digest"],
        ["users", "list", "--json"],
        ["log", "show", "--open"],
    )
    return [said(data, *arguments, "--log", log) for arguments in asked]


# Shrinking asks for too many databases.
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(history=sound_histories().map(with_an_erasure))
def test_a_log_is_the_same_in_a_file_in_postgresql_in_mariadb_and_in_a_file_again(
    history: list[Happened], postgresql: PostgreSQL, mariadb: MariaDB
) -> None:
    """Each stop is another machine, which knows nothing but the address."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        content = lay_out(folder / "0", history)
        first = str(folder / "0" / "events.jsonl")
        stops = [first, postgresql.new_database(), mariadb.new_database()]
        before = told_of(folder / "0", first)
        assert before[0].encode() == content
        for number, (source, target) in enumerate(pairwise(stops), 1):
            # The first copy is made where the file is.
            maker = folder / ("0" if number == 1 else f"maker-{number}")
            maker.mkdir(exist_ok=True)
            told(maker, "log", "copy", source, target)
            newest = folder / "newest"
            newest.write_text(said(folder / str(number - 1), "log", "checkpoint", "--log", source))
            there = folder / str(number)
            there.mkdir()
            said(there, "log", "restore", "--checkpoint", str(newest), "--log", target)
            assert told_of(folder / str(number), target) == before
            assert not erased_users(state_of(*history)) & keys_in(target).keys()
        there = folder / "2"
        back = folder / "back"
        keys = back / "vault.sqlite"
        said(there, "--log", stops[-1], "log", "copy", f"{back}/", "--vault", str(keys))
        key = Signer.from_seed(keys_in(stops[-1])["log"], KEY_PREFIX).skey
        (back / "events.jsonl.key").write_text(key)
        said(back, "log", "restore", "--checkpoint", str(back / "events.jsonl.checkpoint"))
        assert (back / "events.jsonl").read_bytes() == content
        assert told_of(back, str(back / "events.jsonl")) == before
        said(back, "log", "verify", "--seals")


# Copying


def test_a_second_copy_brings_what_is_new_and_forgets_who_was_erased(data: Path, url: str) -> None:
    written(data, RegisterUser(profile("cid")))
    first = told(data, "log", "copy", url)
    assert (first["events"], first["new"], first["keys"]) == (14, 14, 2)
    assert keys_in(url).keys() - {"log"} == {"users/1", "users/3"}
    written(data, CreateItem(1, Content("one more")), EraseUser("cid", "users/3"))
    second = told(data, "log", "copy", url)
    assert (second["events"], second["new"], second["keys"]) == (16, 2, 1)
    assert keys_in(url).keys() - {"log"} == {"users/1"}
    assert told(data, "log", "copy", url)["new"] == 0
    assert said(data, "log", "export", "--log", url) == said(data, "log", "export")


KILLED = """
import os, signal
import events.log.copy, events.log.file.lines, events.log.sql.log
from eventapi.cli.main import main

events.log.copy._BYTES_PER_APPEND = 1
events.log.file.lines.INLINE_READ_BYTES, events.log.file.lines.BYTES_PER_READ = 0, 1_000
insert_lines = events.log.sql.log.insert_lines

async def killed(connection, lines, head, **options):
    await insert_lines(connection, lines, head, **options)
    if head.position > 5:
        os.kill(os.getpid(), signal.SIGKILL)

events.log.sql.log.insert_lines = killed
main()
"""


def test_a_copy_that_is_killed_half_way_is_finished_by_the_next(data: Path, url: str) -> None:
    """Between rows and their commit, when some lines are committed already."""
    command = [sys.executable, "-c", KILLED]
    ended = run(data, "log", "copy", url, command=command, EVENTAPI_DATA=".")
    assert ended.code == -9, ended.err
    half = said(data.parent / "other", "log", "export", "--log", url)
    assert 0 < len(half.splitlines()) < 13
    finished = told(data, "log", "copy", url)
    assert finished["new"] == 13 - len(half.splitlines())
    assert said(data, "log", "export", "--log", url) == said(data, "log", "export")


def test_a_copy_that_fails_under_the_lock_leaves_no_keys(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are put by whoever holds the lock, which is then not at rest, and loses it not."""

    async def fail(*_: object) -> None:
        raise LogUnavailable("now")

    with monkeypatch.context() as failing:
        failing.setattr(moving, "_copy_signing_key", fail)
        code, why = refused(data, "log", "copy", url)
        assert (code, message_in(why)) == (3, "now")
    assert keys_in(url) == {}
    assert told(data, "log", "copy", url)["keys"] == 1


def test_a_database_with_another_log_or_a_longer_one_is_left_alone(
    data: Path, moved: str, tmp_path: Path
) -> None:
    before, keys = said(data, "log", "export", "--log", moved), keys_in(moved)
    written(tmp_path / "other", RegisterUser(profile("eve")))
    code, why = refused(tmp_path / "other", "log", "copy", moved)
    assert (code, message_in(why)) == (1, "the copy has 13 events, the log only 1")
    (first, *_) = (data / "events.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "shorter.jsonl").write_bytes(first)
    (tmp_path / "vault.sqlite").write_bytes((data / "vault.sqlite").read_bytes())
    code, why = refused(data, "log", "copy", str(tmp_path / "shorter.jsonl"), moved)
    assert (code, message_in(why)) == (1, "the copy has 13 events, the log only 1")
    assert (said(data, "log", "export", "--log", moved), keys_in(moved)) == (before, keys)


def test_a_key_of_another_log_is_not_destroyed_by_an_erasure_here(tmp_path: Path, url: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, RegisterUser(profile("bob")), EraseUser("bob", "users/1"))
    written(there, RegisterUser(profile("alice")))
    told(there, "log", "copy", url)
    before = keys_in(url)
    code, why = refused(here, "log", "copy", url)
    assert code == 1
    assert "another log" in why
    assert keys_in(url) == before


def test_a_key_that_was_destroyed_after_the_move_does_not_come_back(
    tmp_path: Path, url: str
) -> None:
    written(tmp_path / "here", RegisterUser(profile("carl")))
    told(tmp_path / "here", "log", "copy", url)
    (tmp_path / "there").mkdir()  # The data directory of the server over the database.
    said(tmp_path / "there", "users", "erase", "carl", "--yes", "--log", url)
    before = keys_in(url)
    assert "users/1" not in before
    code, _ = refused(tmp_path / "here", "log", "copy", url)
    assert code == 1
    assert keys_in(url) == before


def test_an_erasure_that_the_log_does_not_have_moves_with_the_tombstones(
    tmp_path: Path, url: str
) -> None:
    """A log from before the erasure, beside the vault of after: the database erases again."""
    here = tmp_path / "here"
    written(here, RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    monday = (here / "events.jsonl").read_bytes()
    written(here, EraseUser("ben", "users/2"))
    for file in here.glob("events.jsonl*"):
        file.unlink()
    (here / "events.jsonl").write_bytes(monday)
    assert told(here, "log", "copy", url)["keys"] == 1
    assert keys_in(url).keys() - {"log"} == {"users/1"}
    assert invoke(here, "log", "verify", "--seals", "--log", url).exit_code == 0
    (tmp_path / "there").mkdir()
    said(tmp_path / "there", "users", "grant", "ann", "auditor", "--log", url)
    lines = said(tmp_path / "there", "log", "export", "--log", url).splitlines()
    types = [json.loads(line)["type"] for line in lines]
    assert types[-2:] == ["user.erased", "user.role_granted"]
    code, why = refused(here, "log", "copy", url)
    assert (code, "the copy has 4 events" in why) == (1, True)


def test_keys_of_another_log_are_not_replaced(data: Path, url: str, tmp_path: Path) -> None:
    """Also where no line is there yet."""
    theirs = {"users/1": b"of somebody else".ljust(32)}
    in_database(url, lambda database: SqlVault(database).put(theirs))
    code, why = refused(data, "log", "copy", url)
    assert (code, "are those of another log" in why) == (1, True)
    assert keys_in(url) == theirs
    assert said(data, "log", "export", "--log", url) == ""


@pytest.mark.parametrize(
    ("key", "code", "why"),
    [
        (None, 1, "1 user has no key (users/1)"),
        (bytes(range(32)), 3, "damaged at position 1"),
    ],
    ids=["lost", "another"],
)
def test_a_log_whose_keys_do_not_open_it_is_not_said_to_be_moved(
    data: Path, url: str, key: bytes | None, code: int, why: str
) -> None:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        if key is None:
            vault.execute("DELETE FROM keys WHERE subject = 'users/1'")
        else:
            vault.execute("UPDATE keys SET key = ? WHERE subject = 'users/1'", [key])
    ended, said = refused(data, "log", "copy", url)
    assert (ended, why in said) == (code, True), said


def test_what_makes_no_sense_with_a_database_is_refused_in_words(
    data: Path, moved: str, tmp_path: Path
) -> None:
    keys = ("--vault", str(tmp_path / "keys"))
    code, why = refused(data, "log", "copy", moved, *keys)
    assert (code, "a database has the keys beside the log" in why) == (2, True)
    code, why = refused(data, "log", "copy", moved, moved)
    assert (code, message_in(why).endswith("is the log itself")) == (2, True)
    assert not any(secret in why for secret in PASSWORDS)
    said(data, "log", "copy", f"{tmp_path}/backup/", *keys)
    code, why = refused(data, "log", "restore", f"{tmp_path}/backup", *keys, "--log", moved)
    assert (code, "a log in a database is not restored from FROM" in why) == (3, True)
    code, why = refused(data, "log", "copy", "oracle://a:b@localhost/x")
    assert code == 2
    assert "postgresql://" in why


# Checking


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        (
            EVENTS.update().where(EVENTS.c.position == 7).values(line=b"{}"),
            "position 7",
        ),
        (EVENTS.delete().where(EVENTS.c.position == 4), "position 4"),
        (EVENTS.delete().where(EVENTS.c.position == 13), "position 13"),
        (HEAD.update().values(position=14), "position 14"),
        (HEAD.update().values(hash=bytes(32)), "position 13"),
    ],
    ids=["changed", "missing", "last missing", "head too far", "another head"],
)
def test_a_check_finds_what_was_done_to_a_database(
    data: Path, moved: str, harm: sqlalchemy.Executable, finding: str
) -> None:
    whole = invoke(data, "log", "verify", "--seals", "--log", moved)
    assert (whole.exit_code, "is whole: 13 events" in whole.stdout) == (0, True), whole.output
    edit(moved, harm)
    found = invoke(data, "log", "verify", "--log", moved)
    assert found.exit_code == 1, found.output
    assert finding in found.stdout.splitlines()[0]
    assert "is DAMAGED" in found.stdout
    assert not any(secret in found.output for secret in PASSWORDS)


def test_a_check_misses_what_was_acknowledged_here(data: Path, moved: str) -> None:
    edit(moved, EVENTS.delete().where(EVENTS.c.position == 13))
    edit(moved, HEAD.update().values(position=12))
    code, why = refused(data, "log", "verify", "--log", moved)
    expected = "13 events were acknowledged here, and the database has 12"
    assert (code, message_in(why)) == (1, expected)


def test_control_a_copy_that_keeps_no_lines_is_not_taken_for_one(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_but_one(source: EventLog, target: EventLog, upto: int, **rest: Any) -> int:
        return await copy(source, target, upto - 1, **rest)

    monkeypatch.setattr(moving, "copy", all_but_one)
    code, why = refused(data, "log", "copy", url)
    assert (code, "another log than the one it was made of" in why) == (1, True)


# Every command over a database


def test_every_command_works_on_a_database(data: Path, moved: str, tmp_path: Path) -> None:
    there = tmp_path / "another machine"
    there.mkdir()
    lines = said(data, "log", "export").splitlines(keepends=True)

    def ask(*arguments: str, typed: str | None = None) -> str:
        return said(there, *arguments, "--log", moved, typed=typed)

    assert ask("log", "tail", "-n", "2") == "".join(lines[-2:])
    assert ask("log", "show", "--json", "--after", "3", "--limit", "2") == "".join(lines[3:5])
    opened = ask("log", "show", "--open", "--type", "item.created")
    assert ("item 0" in opened, "item 1" in opened) == (True, False)
    assert ask("state", "digest", "--at", "4") == said(data, "state", "digest", "--at", "4")
    assert ask("state", "show") == said(data, "state", "show")
    assert ask("log", "prove", "3").startswith("c2sp.org/tlog-proof@v1\n")
    assert ask("log", "prove", "--since", "3")
    assert json.loads(ask("snapshot", "--json"))["position"] == 13
    rebuilt = json.loads(ask("rebuild", "--json"))
    assert (rebuilt["snapshot"], rebuilt["equal"]) == (13, True)
    ask("users", "create", "cid", "cid@example.org", "--password-stdin", typed="correct horse\n")
    ask("users", "grant", "cid", "auditor")
    ask("users", "disable", "cid")
    ask("users", "enable", "cid")
    (ann, cid) = json.loads(ask("users", "list", "--json"))
    assert (ann["username"], cid["username"], cid["roles"]) == ("ann", "cid", ["auditor"])
    assert "ann" in ask("log", "export", "--format", "db-json")
    (tmp_path / "db.json").write_text('{"users": {}, "items": {}}')
    ask("log", "import", str(tmp_path / "db.json"))
    assert ask("users", "erase", "cid", "--yes")
    assert keys_in(moved).keys() - {"log"} == {"users/1"}
    assert "is whole: 18 events" in ask("log", "verify", "--seals")
    ask("log", "copy", f"{tmp_path}/backup/", "--vault", str(tmp_path / "keys"))
    exported = ask("log", "export").encode()
    assert (tmp_path / "backup" / "events.jsonl").read_bytes() == exported


def test_a_dry_run_of_an_import_begins_no_log_in_a_database(url: str, tmp_path: Path) -> None:
    file = tmp_path / "db.json"
    ann = {"username": "ann", "full_name": "two\nlines\0"}
    file.write_text(json.dumps({"users": {"ann": ann}, "items": {}}))
    asked = ("log", "import", str(file), "--log", url)
    assert "would import 1 user " in said(tmp_path, *asked, "--dry-run")
    code, why = refused(tmp_path, "log", "tail", "--log", url)
    assert (code, "there is no log at" in why) == (3, True)
    assert "imported 1 user " in said(tmp_path, *asked)
    assert "two\\nlines\\u0000" in said(tmp_path, "log", "show", "--open", "--log", url)


@pytest.mark.parametrize(
    "arguments",
    [
        ["log", "show"],
        ["log", "verify"],
        ["log", "checkpoint"],
        ["log", "copy", "somewhere/"],
        ["state", "digest"],
        ["rebuild"],
        ["snapshot"],
        ["users", "list"],
        ["users", "disable", "ann"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_is_down_is_told_in_one_message(
    tmp_path: Path, scheme: str, arguments: list[str]
) -> None:
    url = f"{scheme}://ann:a%20password@127.0.0.1:{free_port()}/log"
    code, why = refused(tmp_path, *arguments, "--log", url)
    assert code == 3, why
    assert message_in(why).startswith(f"the database {scheme}")
    assert not any(secret in why for secret in PASSWORDS)


def test_a_password_that_is_wrong_is_not_told(tmp_path: Path, url: str) -> None:
    code, why = refused(tmp_path, "state", "digest", "--log", url.replace("a%20", "another%20"))
    assert (code, "another" in why) == (3, False), why
    assert message_in(why)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_password_is_masked_among_the_settings(tmp_path: Path, form: list[str]) -> None:
    url = "postgresql://ann:a%20password@db.example/log?sslmode=require"
    shown = said(tmp_path, "config", *form, "--log", url)
    assert "postgresql://ann:********@db.example/log?sslmode=require" in shown
    assert not any(secret in shown for secret in PASSWORDS)
