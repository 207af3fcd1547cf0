"""Repeated requests with an Idempotency-Key: read the first results from the log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from eventapi.journal.batch import CommandResult, IdempotencyKey, repeat_result
from eventapi.queries.history import History
from events.errors import NotFound, RequestInProgress
from events.record import Record, entity_number
from events.sealing import Keyring
from events.vocabulary.resources import Entity
from projections.state import State

_NOTHING: Final = nullcontext()


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
        self._running: set[str] = set()

    def running(self, idempotency_key: IdempotencyKey | None) -> AbstractContextManager[None]:
        """Execute the request with a key; raises `RequestInProgress` during another one."""
        return _NOTHING if idempotency_key is None else self._only_once(idempotency_key.key)

    @contextmanager
    def _only_once(self, key: str) -> Iterator[None]:
        if key in self._running:
            raise RequestInProgress("a request with this Idempotency-Key is still running")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    async def first_results(
        self, idempotency_key: IdempotencyKey, count: int
    ) -> list[CommandResult] | None:
        """The results of the first request with a key, or ``None``.

        ``count`` is the number of its commands. Raises `IdempotencyKeyReused`.
        """
        state = await self._state()
        last = state.last
        first = state.idempotency.valid(idempotency_key.key, self._now(), last.time)
        if first is None:
            return None
        return await self.with_entities(
            repeat_result(first, idempotency_key, last.source, self._keyring), count
        )

    async def with_entities(self, first: CommandResult, count: int) -> list[CommandResult]:
        """Replayed results, each with the entity right after its record.

        ``first`` is that of the line with the key; an equal request has as many commands, so its
        other lines follow. Raises `NotFound`, with its ``part``, if a user whose values are in the
        results is erased by now, and `Overloaded` if that user has too many reads of the past.
        """
        start = first.record.position
        records = [first.record]
        if count > 1:
            records += await self._history.records(range(start + 1, start + count))
        results = []
        for part, record in enumerate(records):
            try:
                results.append(await self._with_entity(record))
            except NotFound as refusal:
                refusal.part = part
                raise
        return results

    async def _with_entity(self, record: Record) -> CommandResult:
        entity = await self._history.entity_after(
            record.position, record.subject, await self._state()
        )
        users = (await self._state()).users.by_id
        numbers = {entity_number(record.sealedfor)} if record.sealedfor else set()
        if isinstance(entity, Entity):
            numbers.add(entity.owner)
        for number in numbers:
            user = users.get(number)
            if user is None or user.status == "erased":
                raise NotFound("the account was erased")
        return CommandResult(record, entity, replayed=True)
