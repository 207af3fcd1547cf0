"""Repeated requests with an Idempotency-Key: read the first result from the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from eventapi.journal.batch import CommandResult, IdempotencyKey, repeat_result
from eventapi.queries.history import History
from events.errors import NotFound
from events.record import entity_number
from events.sealing import Keyring
from projections.state import State


class RepeatedRequests:
    """Finds the results of first requests."""

    def __init__(
        self,
        state: Callable[[], Awaitable[State]],
        history: History,
        keyring: Keyring,
        now: Callable[[], str],
    ) -> None:
        """``state`` returns the current state, whose keys ``keyring`` has.

        ``now`` is the log's clock.
        """
        self._state = state
        self._history = history
        self._keyring = keyring
        self._now = now

    async def first_result(self, idempotency_key: IdempotencyKey) -> CommandResult | None:
        """The result of the first request with a key, or ``None``.

        Raises `IdempotencyKeyReused`.
        """
        state = await self._state()
        last = state.last
        first = state.idempotency.valid(idempotency_key.key, self._now(), last.time)
        if first is None:
            return None
        return await self.with_entity(
            repeat_result(first, idempotency_key, last.source, self._keyring)
        )

    async def with_entity(self, result: CommandResult) -> CommandResult:
        """A replayed result with the entity right after its record.

        Raises `NotFound` if the user who sent the request is erased by now, and `Overloaded` if
        that user has too many reads of the past.
        """
        record, state = result.record, await self._state()
        owner = entity_number(record.sealedfor)
        entity = await self._history.entity_after(record.position, record.subject, state)
        user = (await self._state()).users.by_id.get(owner)
        if user is None or user.status == "erased":
            raise NotFound("the account was erased")
        return CommandResult(record, entity, replayed=True)
