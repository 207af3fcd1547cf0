"""PostgreSQL's password outside of the address: in a file, or in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.database.connection import Database
from events.errors import ConfigurationError
from tests.servers.postgresql import USER, PostgreSQL


async def test_a_password_can_be_in_a_password_file(
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
async def test_a_password_of_any_characters_can_be_in_the_environment(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """As deploy/compose/compose.yaml passes it."""
    postgresql.sql("DROP ROLE IF EXISTS awkward")
    postgresql.sql(f"CREATE ROLE awkward LOGIN PASSWORD '{password}'")
    postgresql.sql(f"GRANT {USER} TO awkward")
    address = postgresql.url_of(USER, "awkward").replace(":a%20password", "")
    with pytest.raises(ConfigurationError):
        await Database.open(address, begin=False)
    monkeypatch.setenv("PGPASSWORD", password)
    # Without tables, which would belong to the role.
    await (await Database.open(address, begin=False)).close()
