"""Backups by a database's own tools, as `docs/operating.md` describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventapi.commands.users import RegisterUser
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.eventapi.cli.running import invoke, written
from tests.servers.postgresql import PostgreSQL


@pytest.fixture
def url(tmp_path: Path, postgresql: PostgreSQL) -> str:
    """A database whose log has a user and an item."""
    found = postgresql.new_database()
    written(tmp_path / "file", RegisterUser(profile("ann")), create_item(1, Content("secret")))
    assert invoke(tmp_path / "file", "log", "copy", found).exit_code == 0
    return found


def dump_database(postgresql: PostgreSQL, url: str) -> str:
    """Dump a database as SQL statements."""
    return postgresql.run([postgresql.program("pg_dump"), "--no-owner", url])


def load_dump(postgresql: PostgreSQL, dump: str, url: str) -> None:
    postgresql.run([postgresql.program("psql"), "--quiet", "--set=ON_ERROR_STOP=1", url], dump)


def show_opened(data: Path, url: str) -> str:
    result = invoke(data, "log", "show", "--open", "--log", url)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_dump_is_a_complete_backup_with_the_keys(
    tmp_path: Path, postgresql: PostgreSQL, url: str
) -> None:
    """Unlike a copy of the log, it keeps the keys of users who are erased later."""
    dump = dump_database(postgresql, url)
    other = postgresql.new_database()
    load_dump(postgresql, dump, other)
    assert invoke(tmp_path, "log", "verify", "--seals", "--log", other).exit_code == 0
    erased = invoke(tmp_path, "users", "erase", "ann", "--yes", "--log", url)
    assert erased.exit_code == 0, erased.output
    assert "secret" not in show_opened(tmp_path / "a", url)
    assert "secret" in show_opened(tmp_path / "b", other)
    later = postgresql.new_database()
    load_dump(postgresql, dump_database(postgresql, url), later)
    assert "secret" not in show_opened(tmp_path / "c", later)


def test_a_database_restored_from_an_older_dump_is_refused_until_the_mark_is_removed(
    tmp_path: Path, postgresql: PostgreSQL, url: str
) -> None:
    dump, data = dump_database(postgresql, url), tmp_path / "data"
    data.mkdir()
    created = ["users", "create", "ben", "ben@example.org", "--password-stdin", "--log", url]
    assert invoke(data, *created, typed="correct horse").exit_code == 0
    name = url.rpartition("/")[2]
    postgresql.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION eventapi", name)
    load_dump(postgresql, dump.replace("CREATE SCHEMA public;", ""), url)
    refused = invoke(data, "state", "digest", "--log", url)
    assert (refused.exit_code, "3 events were acknowledged here" in refused.stderr) == (3, True)
    (mark,) = data.glob("database-*.mark")
    assert f"rm {mark}" in refused.stderr
    mark.unlink()
    assert invoke(data, "state", "digest", "--log", url).exit_code == 0
