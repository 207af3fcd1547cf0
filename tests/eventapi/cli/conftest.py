"""Fixtures for tests of commands."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from argon2 import PasswordHasher

from eventapi.commands.users import RegisterUser
from eventapi.security import passwords
from eventapi.testing.given import profile
from eventapi.testing.items import Content, create_item
from tests.eventapi.cli.running import answer_of, written


@pytest.fixture
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make password hashes fast, where their cost is not what a test is about."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords.Passwords.__init__, "__defaults__", (cheap, 1, 8))


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, for each supported server."""
    found: str = request.getfixturevalue(request.param).new_database()
    return found


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="uds-") as path:
        yield Path(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of two users with five items each; many modules override it."""
    folder = tmp_path / "data"
    items = [create_item(1 + number % 2, Content(f"item {number}")) for number in range(10)]
    written(folder, RegisterUser(profile("ann")), RegisterUser(profile("ben")), *items)
    return folder


@pytest.fixture
def backup(data: Path, tmp_path: Path) -> Path:
    """A copy of the log, with its checkpoint; the copy of the keys is the file ``keys``."""
    answer_of(
        data, "log", "copy", str(tmp_path / "backup") + "/", "--vault", str(tmp_path / "keys")
    )
    return tmp_path / "backup"


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage after the test, so that warnings about connections belong to it."""
    yield
    gc.collect()


@pytest.fixture
def moved(data: Path, url: str) -> str:
    """A database with a copy of that log."""
    answer_of(data, "log", "copy", url)
    return url
