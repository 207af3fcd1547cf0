"""Fixtures for tests of commands."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from eventapi.security import passwords


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
