"""An app whose clock a test advances, and the failed logins that it counts."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from eventapi.bootstrap.storage import SYSTEM
from eventapi.commands.command import Command
from eventapi.failed_logins.counter import FailedLoginCounter
from eventapi.failed_logins.port import FailedLogins, FailedLoginStore
from eventapi.failed_logins.recorder import record_due
from eventapi.values.times import later
from events.log.memory import MemoryLog
from events.vault.memory import MemoryVault
from tests.eventapi.http.client import Api, quiet_settings

START = "2026-11-29T18:30:00.000000Z"
"""The start of a window."""

LAST = "9999"


class Clocked:
    """An app, to be used as ``with clocked.api:``, and its clock."""

    def __init__(
        self, log: MemoryLog | None = None, vault: MemoryVault | None = None, **settings: Any
    ) -> None:
        self.now = START
        self.runtime = msgspec.structs.replace(SYSTEM, now=lambda: self.now, uptime=None)
        given = quiet_settings(**settings)
        self.api = Api(given, log=log, vault=vault, environment=self.runtime)

    @property
    def counter(self) -> FailedLoginCounter:
        found = self.api.edge.services.accounts.failed_logins
        assert isinstance(found, FailedLoginCounter)
        return found

    @property
    def store(self) -> FailedLoginStore:
        return self.counter._store

    def advance(self, seconds: float) -> None:
        self.now = later(self.now, seconds)

    def execute(self, command: Command) -> None:
        """Execute a command as another process would, with the same clock."""
        self.api.execute(command, environment=self.runtime)

    def counted(self) -> list[FailedLogins]:
        """What is stored, after everything that waits was stored."""
        self.api.run(self.counter.store())
        return self.api.run(self.store.read(LAST, 100_000))

    def record(self) -> int:
        """Record the windows that have ended; return how many counts were due."""
        self.api.run(self.counter.store())
        return self.api.run(self._record())

    async def _record(self) -> int:
        count, journal = 0, self.api.edge.services.journal
        while found := await record_due(journal, self.store):
            count += found
        return count

    def end_window(self) -> None:
        """Record the failed logins until now."""
        self.advance(1_260)
        self.record()

    def events(self) -> list[dict[str, Any]]:
        """The failed logins in the log."""
        lines = map(json.loads, self.api.log_lines())
        return [line for line in lines if line["type"] == "security.login_failed"]
