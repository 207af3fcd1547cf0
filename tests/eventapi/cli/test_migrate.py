"""``eventapi log copy`` between files and databases, and checks of the copy."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import Phase, given, settings

from eventapi.cli import migrate as moving
from eventapi.commands.users import EraseUser, RegisterUser
from eventapi.testing.given import Happened, profile, registered, state_of
from eventapi.testing.items import Content, create_item
from eventapi.testing.sample_log import erased_users, write
from eventapi.testing.strategies import sound_histories
from events.database.tables import EVENTS, HEAD
from events.errors import LogUnavailable
from events.log.copy import copy
from events.log.port import EventLog
from events.transparency.signed_note import Signer
from events.transparency.signing.port import KEY_PREFIX
from events.vault.sql import SqlVault
from events.vault.sqlite import SqliteVault
from events.vocabulary.users import UserErased
from tests.eventapi.cli.databases import (
    NEEDS_DATABASE,
    PASSWORDS,
    change_rows,
    in_database,
    keys_in,
    write_log_with_erasure,
)
from tests.eventapi.cli.running import (
    answer_of,
    invoke,
    message_in,
    output_of,
    refusal_of,
    run,
    written,
)
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL

pytestmark = NEEDS_DATABASE


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of two users, one of them erased, with ten items."""
    write_log_with_erasure(tmp_path / "data")
    return tmp_path / "data"


# From a file through two databases to a file


def with_an_erasure(history: list[Happened]) -> list[Happened]:
    """Append a registration and, if possible, the erasure of an earlier user."""
    state = state_of(*history)
    longer = [*history, registered(state.users.last_id + 1, "zoe")]
    alive = [user.subject for user in state.users.by_id.values() if user.status != "erased"]
    return [*longer, (alive[0], UserErased())] if alive else longer


def lay_out(folder: Path, history: list[Happened]) -> bytes:
    """Write a history to a data directory; return the bytes of its log."""
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


def observations(data: Path, log: str) -> list[str]:
    """The outputs that must be the same for every copy of a log."""
    commands = (
        ["log", "export"],
        ["log", "checkpoint"],
        ["log", "checkpoint", "--key"],
        ["state", "digest"],
        ["users", "list", "--json"],
        ["log", "show", "--open"],
    )
    return [output_of(data, *arguments, "--log", log) for arguments in commands]


# Shrinking would need too many databases.
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(history=sound_histories().map(with_an_erasure))
def test_a_log_stays_the_same_from_file_to_postgresql_to_mariadb_to_file(
    history: list[Happened], postgresql: PostgreSQL, mariadb: MariaDB
) -> None:
    """Each copy is made on another machine, which has only the URL."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        content = lay_out(folder / "0", history)
        first = str(folder / "0" / "events.jsonl")
        stops = [first, postgresql.new_database(), mariadb.new_database()]
        before = observations(folder / "0", first)
        assert before[0].encode() == content
        for number, (source, target) in enumerate(pairwise(stops), 1):
            # The first copy is made where the file is.
            maker = folder / ("0" if number == 1 else f"maker-{number}")
            maker.mkdir(exist_ok=True)
            answer_of(maker, "log", "copy", source, target)
            newest = folder / "newest"
            newest.write_text(
                output_of(folder / str(number - 1), "log", "checkpoint", "--log", source)
            )
            there = folder / str(number)
            there.mkdir()
            output_of(there, "log", "restore", "--checkpoint", str(newest), "--log", target)
            assert observations(folder / str(number), target) == before
            assert not erased_users(state_of(*history)) & keys_in(target).keys()
        there = folder / "2"
        back = folder / "back"
        keys = back / "vault.sqlite"
        output_of(there, "--log", stops[-1], "log", "copy", f"{back}/", "--vault", str(keys))
        key = Signer.from_seed(keys_in(stops[-1])["log"], KEY_PREFIX).skey
        (back / "events.jsonl.key").write_text(key)
        output_of(back, "log", "restore", "--checkpoint", str(back / "events.jsonl.checkpoint"))
        assert (back / "events.jsonl").read_bytes() == content
        assert observations(back, str(back / "events.jsonl")) == before
        output_of(back, "log", "verify", "--seals")


# Copying


def test_a_second_copy_adds_new_events_and_removes_keys_of_erased_users(
    data: Path, url: str
) -> None:
    written(data, RegisterUser(profile("cid")))
    first = answer_of(data, "log", "copy", url)
    assert (first["events"], first["new"], first["keys"]) == (14, 14, 2)
    assert keys_in(url).keys() - {"log"} == {"users/1", "users/3"}
    written(data, create_item(1, Content("one more")), EraseUser("cid", "users/3"))
    second = answer_of(data, "log", "copy", url)
    assert (second["events"], second["new"], second["keys"]) == (16, 2, 1)
    assert keys_in(url).keys() - {"log"} == {"users/1"}
    assert answer_of(data, "log", "copy", url)["new"] == 0
    assert output_of(data, "log", "export", "--log", url) == output_of(data, "log", "export")


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


def test_the_next_copy_finishes_one_that_was_killed(data: Path, url: str) -> None:
    """It is killed between an insert and its commit, after earlier commits."""
    command = [sys.executable, "-c", KILLED]
    ended = run(data, "log", "copy", url, command=command, EVENTAPI_DATA=".")
    assert ended.code == -9, ended.err
    half = output_of(data.parent / "other", "log", "export", "--log", url)
    assert 0 < len(half.splitlines()) < 13
    finished = answer_of(data, "log", "copy", url)
    assert finished["new"] == 13 - len(half.splitlines())
    assert output_of(data, "log", "export", "--log", url) == output_of(data, "log", "export")


def test_a_copy_that_fails_under_the_lock_leaves_no_keys(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are written in the transaction of the lock, which is rolled back."""

    async def fail(*_: object) -> None:
        raise LogUnavailable("now")

    with monkeypatch.context() as failing:
        failing.setattr(moving, "copy_signing_key", fail)
        code, why = refusal_of(data, "log", "copy", url)
        assert (code, message_in(why)) == (3, "now")
    assert keys_in(url) == {}
    assert answer_of(data, "log", "copy", url)["keys"] == 1


def test_a_database_with_another_or_a_longer_log_is_not_changed(
    data: Path, moved: str, tmp_path: Path
) -> None:
    before, keys = output_of(data, "log", "export", "--log", moved), keys_in(moved)
    written(tmp_path / "other", RegisterUser(profile("eve")))
    code, why = refusal_of(tmp_path / "other", "log", "copy", moved)
    assert (code, message_in(why)) == (1, "the copy has 13 events, the log only 1")
    (first, *_) = (data / "events.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "shorter.jsonl").write_bytes(first)
    (tmp_path / "vault.sqlite").write_bytes((data / "vault.sqlite").read_bytes())
    code, why = refusal_of(data, "log", "copy", str(tmp_path / "shorter.jsonl"), moved)
    assert (code, message_in(why)) == (1, "the copy has 13 events, the log only 1")
    assert (output_of(data, "log", "export", "--log", moved), keys_in(moved)) == (before, keys)


def test_an_erasure_destroys_no_key_of_another_log(tmp_path: Path, url: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, RegisterUser(profile("bob")), EraseUser("bob", "users/1"))
    written(there, RegisterUser(profile("alice")))
    answer_of(there, "log", "copy", url)
    before = keys_in(url)
    code, why = refusal_of(here, "log", "copy", url)
    assert code == 1
    assert "another log" in why
    assert keys_in(url) == before


def test_a_malformed_signing_key_is_refused_in_words(data: Path, url: str) -> None:
    (data / "events.jsonl.key").write_text("this is not a key")

    refused = invoke(data, "log", "copy", url)

    assert refused.exit_code == 3
    assert "events.jsonl.key" in refused.stderr
    assert "Traceback" not in refused.output


def test_a_second_copy_does_not_restore_a_destroyed_key(tmp_path: Path, url: str) -> None:
    written(tmp_path / "here", RegisterUser(profile("carl")))
    answer_of(tmp_path / "here", "log", "copy", url)
    (tmp_path / "there").mkdir()  # The data directory of the server over the database.
    output_of(tmp_path / "there", "users", "erase", "carl", "--yes", "--log", url)
    before = keys_in(url)
    assert "users/1" not in before
    code, _ = refusal_of(tmp_path / "here", "log", "copy", url)
    assert code == 1
    assert keys_in(url) == before


def test_tombstones_move_to_the_database_and_repeat_the_erasure(tmp_path: Path, url: str) -> None:
    """The log is from before the erasure, and the vault from after it."""
    here = tmp_path / "here"
    written(here, RegisterUser(profile("ann")), RegisterUser(profile("ben")))
    monday = (here / "events.jsonl").read_bytes()
    written(here, EraseUser("ben", "users/2"))
    for file in here.glob("events.jsonl*"):
        file.unlink()
    (here / "events.jsonl").write_bytes(monday)
    assert answer_of(here, "log", "copy", url)["keys"] == 1
    assert keys_in(url).keys() - {"log"} == {"users/1"}
    assert invoke(here, "log", "verify", "--seals", "--log", url).exit_code == 0
    (tmp_path / "there").mkdir()
    output_of(tmp_path / "there", "users", "grant", "ann", "auditor", "--log", url)
    lines = output_of(tmp_path / "there", "log", "export", "--log", url).splitlines()
    types = [json.loads(line)["type"] for line in lines]
    assert types[-2:] == ["user.erased", "user.role_granted"]
    code, why = refusal_of(here, "log", "copy", url)
    assert (code, "the copy has 4 events" in why) == (1, True)


def test_keys_of_another_log_are_not_replaced(data: Path, url: str, tmp_path: Path) -> None:
    """Even if the database has no lines yet."""
    theirs = {"users/1": b"of another log".ljust(32)}
    in_database(url, lambda database: SqlVault(database).put(theirs))
    code, why = refusal_of(data, "log", "copy", url)
    assert (code, "belong to another log" in why) == (1, True)
    assert keys_in(url) == theirs
    assert output_of(data, "log", "export", "--log", url) == ""


@pytest.mark.parametrize(
    ("key", "code", "why"),
    [
        (None, 1, "1 user has no key (users/1)"),
        (bytes(range(32)), 3, "damaged at position 1"),
    ],
    ids=["lost", "another"],
)
def test_copy_to_a_database_refuses_missing_and_wrong_keys(
    data: Path, url: str, key: bytes | None, code: int, why: str
) -> None:
    with closing(sqlite3.connect(data / "vault.sqlite")) as vault, vault:
        if key is None:
            vault.execute("DELETE FROM keys WHERE subject = 'users/1'")
        else:
            vault.execute("UPDATE keys SET key = ? WHERE subject = 'users/1'", [key])
    ended, error = refusal_of(data, "log", "copy", url)
    assert (ended, why in error) == (code, True), error


def test_options_that_a_database_excludes_are_refused(
    data: Path, moved: str, tmp_path: Path
) -> None:
    keys = ("--vault", str(tmp_path / "keys"))
    code, why = refusal_of(data, "log", "copy", moved, *keys)
    assert (code, "a log in a database has its keys in the database" in why) == (2, True)
    code, why = refusal_of(data, "log", "copy", moved, moved)
    assert (code, message_in(why).endswith("is the log itself")) == (2, True)
    assert not any(secret in why for secret in PASSWORDS)
    output_of(data, "log", "copy", f"{tmp_path}/backup/", *keys)
    code, why = refusal_of(data, "log", "restore", f"{tmp_path}/backup", *keys, "--log", moved)
    assert (code, "a log in a database cannot be restored from FROM" in why) == (3, True)
    code, why = refusal_of(data, "log", "copy", "oracle://a:b@localhost/x")
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
def test_verify_finds_changed_rows_of_a_database(
    data: Path, moved: str, harm: sqlalchemy.Executable, finding: str
) -> None:
    whole = invoke(data, "log", "verify", "--seals", "--log", moved)
    assert (whole.exit_code, "is whole: 13 events" in whole.stdout) == (0, True), whole.output
    change_rows(moved, harm)
    found = invoke(data, "log", "verify", "--log", moved)
    assert found.exit_code == 1, found.output
    assert finding in found.stdout.splitlines()[0]
    assert "is DAMAGED" in found.stdout
    assert not any(secret in found.output for secret in PASSWORDS)


def test_verify_finds_acknowledged_events_that_a_database_lost(data: Path, moved: str) -> None:
    change_rows(moved, EVENTS.delete().where(EVENTS.c.position == 13))
    change_rows(moved, HEAD.update().values(position=12))
    code, why = refusal_of(data, "log", "verify", "--log", moved)
    expected = "13 events were acknowledged here, and the database has 12"
    assert (code, message_in(why)) == (1, expected)


def test_control_copy_notices_a_missing_line(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def all_but_one(source: EventLog, target: EventLog, upto: int, **rest: Any) -> int:
        return await copy(source, target, upto - 1, **rest)

    monkeypatch.setattr(moving, "copy", all_but_one)
    code, why = refusal_of(data, "log", "copy", url)
    assert (code, "the copy is not the log that it was made of" in why) == (1, True)
