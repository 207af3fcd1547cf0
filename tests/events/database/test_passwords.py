"""PostgreSQL's password outside of the address: in a file, or in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.database.connection import Database
from events.errors import ConfigurationError
from tests.events.log_helpers import in_event_loop
from tests.servers.postgresql import USER, PostgreSQL


@in_event_loop
async def test_a_password_may_stand_in_a_file(
    postgresql: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passwords").write_text(f"127.0.0.1:{postgresql.port}:*:eventapi:a password\n")
    (tmp_path / "passwords").chmod(0o600)
    address = postgresql.url.replace(":a%20password", "")
    with pytest.raises(ConfigurationError):
        await Database.open(address)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    await (await Database.open(address)).close()


@pytest.mark.parametrize("password", ["S3c@ret/#?%41:&", '"\\ $x ü', "another password"])
@in_event_loop
async def test_a_password_of_any_characters_may_stand_in_the_environment(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """deploy/compose/compose.yaml gives it so."""
    postgresql.sql("DROP ROLE IF EXISTS awkward")
    postgresql.sql(f"CREATE ROLE awkward LOGIN PASSWORD '{password}'")
    postgresql.sql(f"GRANT {USER} TO awkward")
    address = postgresql.url_of(USER, "awkward").replace(":a%20password", "")
    with pytest.raises(ConfigurationError):
        await Database.open(address)
    monkeypatch.setenv("PGPASSWORD", password)
    await (await Database.open(address)).close()
