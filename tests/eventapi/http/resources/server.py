"""A client of an app that serves declared resources."""

from __future__ import annotations

from typing import Any

from eventapi.bootstrap.storage import SYSTEM
from eventapi.commands.command import Command
from eventapi.commands.users import GrantRole, RevokeRole
from eventapi.journal.batch import Runtime
from eventapi.journal.journal import Journal
from eventapi.resources.registry import Registry
from tests.eventapi.http.client import OPERATOR, Api, Caller

V2 = "/api/v2"


class ResourceApi(Api):
    """A running app with declared resources."""

    def __init__(self, registry: Registry, **options: Any) -> None:
        super().__init__(registry=registry, **options)
        self.registry = registry

    async def execute_async(self, *commands: Command, environment: Runtime = SYSTEM) -> None:
        """Execute commands through a second journal, as another process would."""
        journal = Journal(self.log, self.vault, self.registry.vocabulary, environment)
        await journal.start()
        try:
            await journal.execute_all(list(commands))
        finally:
            await journal.close()

    def user(self, name: str | None = None, *roles: str) -> Caller:
        """A new user with some roles, who is logged in and uses version 2."""
        caller = self.caller(name, V2)
        for role in roles:
            self.grant(caller, role)
        return caller

    def grant(self, caller: Caller, role: str) -> None:
        """Give a user a role."""
        self.execute(GrantRole(caller.name, role, OPERATOR))

    def revoke(self, caller: Caller, role: str) -> None:
        """Take a role from a user."""
        self.execute(RevokeRole(caller.name, role, OPERATOR))
