"""Live events: one reader per process decodes each new line for all subscribers.

A stream is woken only by a line that matches its filter, or by one that may end its rights. So a
write costs time only in the streams that deliver it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import msgspec

from eventapi.queries.subscriptions import EventFilter, LogWatcher, members_of
from events.errors import EventapiError
from events.messages.server_log import EVENTS_UNREAD
from projections.state import State

logger = logging.getLogger("eventapi.queries")

MAX_STREAMS: Final = 1_024
"""Streams per process, of all users together."""

_BATCH_SECONDS: Final = 0.02
"""Lines that arrive within this time wake a subscriber once."""

_WAIT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.5

_MAX_PENDING_LINES: Final = 1_024
_MAX_PENDING_BYTES: Final = 1_048_576
"""Limits of the lines that wait for one subscriber; beyond them it reads the log itself."""

_MAX_LINES_BEHIND: Final = 4_096
"""The most lines that are distributed at once; beyond it all subscribers read the log."""


_ENDINGS: Final = frozenset({b'"session.ended"', b'"key.revoked"'})
"""The types of events that end a credential."""


class _UnsharedData(msgspec.Struct):
    user: int


class _Unshared(msgspec.Struct):
    data: _UnsharedData


class Line(msgspec.Struct):
    """A new line of the log.

    ``change`` caches the message that `eventapi.http.routes.events` renders from it.
    """

    position: int
    type: str
    line: bytes
    change: bytes | None = None


class Subscription:
    """The queue of one stream.

    With a filter it gets the events that match. Otherwise it gets the events of the resources of
    one collection that its user owns or shares, or with ``reads_all`` of all of them. Lines after the
    position ``start`` are queued. The subscriber reads earlier lines, and lines that did not fit,
    from the log. ``credential`` is the subject of its session or API key, if it has one.
    """

    def __init__(
        self,
        user: int,
        credential: str,
        selection: EventFilter | None = None,
        *,
        collection: str = "",
        reads_all: bool = False,
    ) -> None:
        self.user = user
        self.credential = credential
        self.selection = selection
        self.collection = collection
        self.reads_all = reads_all
        self.start = 0
        self._pending: list[Line] = []
        self._pending_bytes = 0
        self._overflowed = False
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Make the subscriber check its rights and its queue."""
        self._woken.set()

    def put(self, line: Line) -> None:
        """Queue a line."""
        self._pending.append(line)
        self._pending_bytes += len(line.line)
        if len(self._pending) > _MAX_PENDING_LINES or self._pending_bytes > _MAX_PENDING_BYTES:
            self.overflow(line.position)
        self._woken.set()

    def overflow(self, position: int) -> None:
        """Empty the queue; the subscriber must read the log, at least up to a position."""
        self._pending.clear()
        self._pending_bytes = 0
        self._overflowed = True
        self.start = position
        self._woken.set()

    def take(self) -> list[Line] | None:
        """Remove and return the queued lines, ascending; ``None`` if the log must be read."""
        lines, self._pending, self._pending_bytes = self._pending, [], 0
        overflowed, self._overflowed = self._overflowed, False
        return None if overflowed else lines

    def put_back(self, lines: list[Line]) -> None:
        """Queue lines again that the last `take` returned."""
        self._pending[:0] = lines
        self._pending_bytes += sum(len(line.line) for line in lines)

    def begin(self) -> None:
        """Forget earlier wake-ups; call it before reading the state."""
        self._woken.clear()

    async def wait(self, seconds: float) -> None:
        """Wait for a wake-up or the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class LiveEvents:
    """The reader of new lines, and its subscribers; without any it does not read."""

    def __init__(self, feed: LogWatcher, state: Callable[[], Awaitable[State]]) -> None:
        """``state`` returns the current state, as `Journal.state` does."""
        self._feed = feed
        self._state = state
        self._subscriptions: set[Subscription] = set()
        self._filtered: set[Subscription] = set()
        self._of_collections: dict[str, set[Subscription]] = {}
        self._of_readers: dict[tuple[str, int], set[Subscription]] = {}
        self._by_user: dict[int, set[Subscription]] = {}
        self._by_credential: dict[str, set[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._frontier = 0
        self.seen = 0
        self.rendering = asyncio.Lock()

    @property
    def count(self) -> int:
        """The number of subscribers."""
        return len(self._subscriptions)

    @contextmanager
    def subscribe(self, subscription: Subscription) -> Iterator[Subscription]:
        """Register a subscription until the context ends."""
        if self._task is None or self._task.done():
            self.seen = self._frontier = self._feed.position
            self._task = asyncio.create_task(self._run(), name="live")
        subscription.start = self._frontier
        indexes: list[tuple[dict[Any, set[Subscription]], Any]] = [
            (self._by_user, subscription.user),
            (self._by_credential, subscription.credential),
        ]
        if subscription.reads_all:
            indexes.append((self._of_collections, subscription.collection))
        elif subscription.collection:
            indexes.append((self._of_readers, (subscription.collection, subscription.user)))
        self._subscriptions.add(subscription)
        if subscription.selection is not None:
            self._filtered.add(subscription)
        for index, key in indexes:
            index.setdefault(key, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self._filtered.discard(subscription)
            for index, key in indexes:
                index[key].discard(subscription)
                if not index[key]:
                    del index[key]

    def close(self) -> None:
        """Wake all subscribers, because their streams end, and stop reading."""
        for subscription in self._subscriptions:
            subscription.wake()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._subscriptions and not self._feed.closed:
            if not await self._feed.wait_beyond(self.seen, _WAIT_SECONDS) or self._feed.closed:
                continue
            try:
                await self._advance(self._feed.position)
            except Exception as error:  # After any error, the streams must not stall silently.
                known = isinstance(error, EventapiError | MemoryError)
                logger.warning(EVENTS_UNREAD.fill(reason=repr(error)), exc_info=not known)
                self._overflow_all(self.seen)
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(_BATCH_SECONDS)

    async def _advance(self, upto: int) -> None:
        """Distribute the lines up to a position."""
        self._frontier = upto
        if upto - self.seen > _MAX_LINES_BEHIND:
            self._overflow_all(upto)
        else:
            state = await self._state()
            async for run in self._feed.lines(self.seen, upto):
                for position, line in run:
                    self._hand_out(position, line, state)
        self.seen = upto

    def _overflow_all(self, position: int) -> None:
        for subscription in self._subscriptions:
            subscription.overflow(position)

    def _hand_out(self, position: int, raw: bytes, state: State) -> None:
        kind, subject, actor = members_of(raw)
        line: Line | None = None
        for subscription in self._interested_in(kind, subject, actor, state):
            line = line or Line(position, msgspec.json.decode(kind), raw)
            subscription.put(line)
        for subscription in self._to_recheck(kind, subject, actor, raw):
            subscription.wake()

    def _interested_in(
        self, kind: bytes, subject: bytes, actor: bytes, state: State
    ) -> Iterator[Subscription]:
        """The subscribers whose filter or user a line matches."""
        for one in self._filtered:
            if one.selection is not None and one.selection.matches_members(kind, subject, actor):
                yield one
        if not (self._of_collections or self._of_readers):
            return
        collection, _, number = subject[1:-1].decode().partition("/")
        yield from self._of_collections.get(collection, ())
        table = state.resources.get(collection)
        found = table.find(int(number)) if table is not None else None
        if table is not None and found is not None:
            for reader in {found.owner, *table.shares.get(found.id, ())}:
                yield from self._of_readers.get((collection, reader), ())

    def _to_recheck(
        self, kind: bytes, subject: bytes, actor: bytes, raw: bytes
    ) -> Iterable[Subscription]:
        """The subscribers whose rights an event may have ended."""
        if kind.endswith(b'.unshared"'):
            user = msgspec.json.decode(raw, type=_Unshared).data.user
            collection = subject[1:-1].decode().partition("/")[0]
            return self._of_readers.get((collection, user), ())
        if kind.startswith(b'"user.'):
            return self._by_user.get(_number(subject), ())
        if kind in _ENDINGS:
            ended = self._by_credential.get(subject[1:-1].decode(), ())
            # The event may end all sessions of the user.
            return {*ended, *self._by_user.get(_number(actor), ())}
        return ()


def _number(member: bytes) -> int:
    """The user's number in a subject or an actor; 0 if it is not a user."""
    text = member[len('"users/') : -1] if member.startswith(b'"users/') else b""
    return int(text) if text.isdigit() else 0
