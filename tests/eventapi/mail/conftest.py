"""Fixtures for tests of mail: a journal, and a follower that looks for parked mails all the time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.eventapi.harness import JournalHarness, Storage, open_harness


@pytest.fixture
async def harness(storage: Storage) -> AsyncIterator[JournalHarness]:
    """A journal over each kind of log."""
    async with open_harness(storage) as opened:
        yield opened


@pytest.fixture
def often_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for mails that are due all the time."""
    monkeypatch.setattr("eventapi.followers.runner.STORE_SECONDS", 0.01)
