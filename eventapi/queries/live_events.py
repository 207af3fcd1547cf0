"""Live events: one reader per process decodes each new line once and hands it to subscribers.

A stream is woken only by a line that it wants, or by one that may end its rights. So a write costs
the streams that deliver it, and no others.
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
from events.record import entity_number
from projections.state import State

logger = logging.getLogger("eventapi.queries")

MAX_STREAMS: Final = 1_024
"""Streams per process, of all users together."""

_BATCH_SECONDS: Final = 0.02
"""Lines that arrive within this time wake their subscribers once."""

_WAIT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 0.5

_MAX_PENDING: Final = 1_024
_MAX_PENDING_BYTES: Final = 1_048_576
"""Lines that wait for one subscriber, and their bytes; with more, it reads the log itself."""

_MAX_BEHIND: Final = 4_096
"""Lines that are handed out in one go; with more, all subscribers read the log themselves."""


class Line(msgspec.Struct):
    """A new line of the log; ``change`` is what `eventapi.http.routes.events` made of it, once."""

    position: int
    type: str
    line: bytes
    change: bytes | None = None


class Subscription:
    """What one stream waits for: the events of its user's items, or those of a selection.

    ``start`` is the position from which on lines are handed out; what is before it, and what did
    not fit, the subscriber reads from the log.
    """

    def __init__(self, user: int, session: str, selection: EventFilter | None) -> None:
        self.user = user
        self.session = session
        self.selection = selection
        self.start = 0
        self._pending: list[Line] = []
        self._pending_bytes = 0
        self._overflowed = False
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Make the subscriber look at its rights and its lines."""
        self._woken.set()

    def put(self, line: Line) -> None:
        """Hand out a line."""
        self._pending.append(line)
        self._pending_bytes += len(line.line)
        if len(self._pending) > _MAX_PENDING or self._pending_bytes > _MAX_PENDING_BYTES:
            self.overflow(line.position)
        self._woken.set()

    def overflow(self, position: int) -> None:
        """Have the subscriber read the log itself, up to a position at least."""
        self._pending.clear()
        self._pending_bytes = 0
        self._overflowed = True
        self.start = position
        self._woken.set()

    def take(self) -> list[Line] | None:
        """The lines that were handed out, ascending; ``None`` where the log must be read."""
        lines, self._pending, self._pending_bytes = self._pending, [], 0
        overflowed, self._overflowed = self._overflowed, False
        return None if overflowed else lines

    def put_back(self, lines: list[Line]) -> None:
        """Keep lines for later; they were taken last."""
        self._pending[:0] = lines
        self._pending_bytes += sum(len(line.line) for line in lines)

    def begin(self) -> None:
        """Forget earlier wake-ups, before looking at the state."""
        self._woken.clear()

    async def wait(self, seconds: float) -> None:
        """Wait for a wake-up, so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


class LiveEvents:
    """The one reader of new lines, and its subscribers. It reads only while there are some."""

    def __init__(self, feed: LogWatcher, state: Callable[[], Awaitable[State]]) -> None:
        """``state`` returns the state with all that is published, or what is known of it."""
        self._feed = feed
        self._state = state
        self._all: set[Subscription] = set()
        self._selecting: set[Subscription] = set()
        self._by_user: dict[int, set[Subscription]] = {}
        self._by_session: dict[str, set[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._frontier = 0
        self.seen = 0
        self.rendering = asyncio.Lock()

    @property
    def count(self) -> int:
        """How many subscribers there are."""
        return len(self._all)

    @contextmanager
    def subscribe(self, subscription: Subscription) -> Iterator[Subscription]:
        """A subscription, until the end of the context."""
        if self._task is None or self._task.done():
            self.seen = self._frontier = self._feed.position
            self._task = asyncio.create_task(self._run(), name="live")
        subscription.start = self._frontier
        indexes: list[tuple[dict[Any, set[Subscription]], Any]] = [
            (self._by_user, subscription.user),
            (self._by_session, subscription.session),
        ]
        self._all.add(subscription)
        if subscription.selection is not None:
            self._selecting.add(subscription)
        for index, key in indexes:
            index.setdefault(key, set()).add(subscription)
        try:
            yield subscription
        finally:
            self._all.discard(subscription)
            self._selecting.discard(subscription)
            for index, key in indexes:
                index[key].discard(subscription)
                if not index[key]:
                    del index[key]

    def close(self) -> None:
        """Wake all subscribers, because their streams end, and stop reading."""
        for subscription in self._all:
            subscription.wake()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._all and not self._feed.closed:
            if not await self._feed.wait_beyond(self.seen, _WAIT_SECONDS) or self._feed.closed:
                continue
            try:
                await self._advance(self._feed.position)
            except Exception as error:  # Whatever it is, the streams must not stall in silence.
                known = isinstance(error, EventapiError | MemoryError)
                logger.warning(EVENTS_UNREAD.fill(reason=repr(error)), exc_info=not known)
                self._overflow_all(self.seen)
                await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.sleep(_BATCH_SECONDS)

    async def _advance(self, upto: int) -> None:
        """Hand out the lines up to a position."""
        self._frontier = upto
        if upto - self.seen > _MAX_BEHIND:
            self._overflow_all(upto)
        else:
            state = await self._state()
            async for run in self._feed.lines(self.seen, upto):
                for position, line in run:
                    self._hand_out(position, line, state)
        self.seen = upto

    def _overflow_all(self, position: int) -> None:
        for subscription in self._all:
            subscription.overflow(position)

    def _hand_out(self, position: int, raw: bytes, state: State) -> None:
        kind, subject, actor = members_of(raw)
        line: Line | None = None
        for subscription in self._wanting(kind, subject, actor, state):
            line = line or Line(position, msgspec.json.decode(kind), raw)
            subscription.put(line)
        for subscription in self._concerned(kind, subject, actor):
            subscription.wake()

    def _wanting(
        self, kind: bytes, subject: bytes, actor: bytes, state: State
    ) -> Iterator[Subscription]:
        """The subscribers that a line is for."""
        for one in self._selecting:
            if one.selection is not None and one.selection.matches_members(kind, subject, actor):
                yield one
        if subject.startswith(b'"items/'):
            item = state.items.find(entity_number(msgspec.json.decode(subject)))
            owners = () if item is None else self._by_user.get(item.owner, ())
            yield from (one for one in owners if one.selection is None)

    def _concerned(self, kind: bytes, subject: bytes, actor: bytes) -> Iterable[Subscription]:
        """The subscribers whose rights an event may have ended."""
        if kind.startswith(b'"user.'):
            return self._by_user.get(_number(subject), ())
        if kind == b'"session.ended"':
            ended = self._by_session.get(subject[len('"sessions/') : -1].decode(), ())
            # A session of theirs may end all others with it.
            return {*ended, *self._by_user.get(_number(actor), ())}
        return ()


def _number(member: bytes) -> int:
    """The user's number in a subject or an actor; 0 where it is none."""
    text = member[len('"users/') : -1] if member.startswith(b'"users/') else b""
    return int(text) if text.isdigit() else 0
