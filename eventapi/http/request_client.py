"""Adapter: a request as the client that the account service expects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from eventapi.commands.command import Command
from eventapi.http.middleware.client_address import caller_address
from eventapi.http.request import ApiRequest
from eventapi.journal.batch import CommandResult
from projections.state import State


class RequestClient:
    """Adapter: a request as the client that the account service expects.

    With ``key_scope``, a command is executed once for the request's idempotency key.
    """

    def __init__(self, request: ApiRequest, key_scope: str | None = None) -> None:
        self._request = request
        self._key_scope = key_scope
        self._limiter = request.services.rate_limiter
        self.address = caller_address(request.scope)

    async def current_state(self) -> State:
        """The state at the position in Min-Event-Position, or at a later one."""
        return await self._request.current_state()

    async def execute(self, command: Command) -> CommandResult:
        """Execute a command, in the caller's session if there is one."""
        if self._key_scope is not None:
            return await self._request.execute(command, self._key_scope)
        return await self._request.execute_always(command)

    async def execute_all(self, commands: Sequence[Command]) -> list[CommandResult]:
        """Execute commands, all or none."""
        return await self._request.execute_all_always(commands)

    async def check_guesses(self, subject: str, *, whole_account: bool = False) -> None:
        """Raise `ProblemError` if there were too many wrong passwords for a subject."""
        scope = self._request.scope
        await self._limiter.check_failures(scope, subject, whole_account=whole_account)

    async def count_guess(self, subject: str, *, whole_account: bool = False) -> None:
        """Count a wrong password for a subject; raises `ProblemError`."""
        scope = self._request.scope
        await self._limiter.count_failure(scope, subject, whole_account=whole_account)

    async def clear_guesses(self, subject: str) -> None:
        """Reset the count of wrong passwords for a subject."""
        await self._limiter.clear_failures(subject)

    def queue(self) -> AbstractContextManager[None]:
        """A context for hashing a password.

        It raises `ProblemError` if the client has used up its share of the queue.
        """
        return self._limiter.refuse_used_up_share(self._request.scope)
