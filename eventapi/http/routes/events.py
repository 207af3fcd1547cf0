"""Server-sent events (WHATWG HTML, section 9.2): live changes after any position.

The id of an event is its position. A client that reconnects with ``Last-Event-ID`` therefore resumes
after it, at any worker, without lost or duplicate events.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_right
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET

from eventapi.http.authentication import Reader
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, encode
from eventapi.http.schemas.requests import FeedQuery
from eventapi.http.schemas.resources import Shape
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.history import RECORDS_PER_READ
from eventapi.queries.live_events import MAX_STREAMS as MAX_STREAMS_IN_ALL
from eventapi.queries.live_events import Line, Subscription
from eventapi.queries.subscriptions import subject_of
from eventapi.resources import access
from events.errors import Fault, Forbidden, Invalid, Overloaded, Unauthenticated
from events.record import Record, entity_number
from projections.tables.tombstones import last_event

HEARTBEAT_SECONDS = 15.0
"""Interval of heartbeats on an idle stream, so that proxies do not close it."""

MAX_STREAMS = 16
"""Maximum open streams of a user per process."""

MAX_ANONYMOUS_STREAMS = 256
"""Maximum open streams of all callers without a token per process."""

_AT_ONCE = 64
"""Lines that a stream sends as one part."""

_BEHIND_SECONDS = 0.05
"""Pause until a stream reads again while the state lags behind the log."""

_MOST_LAG = 10_000
"""Maximum lag behind other instances, in events; a client further ahead has another log."""

_PER_TURN = 2_000
"""Resources that are scanned before other requests run."""

_FEW = 1000
"""Up to this many new lines, scanning them is cheaper than scanning all items of a user."""

_POSITION = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_RETRY = b"retry: 1000\n"
"""Milliseconds until a client reconnects.

It is sent with the first event, because some clients treat a block without data as an event.
"""

_HEADERS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
"""The second header disables buffering in nginx and similar proxies."""

Authenticate = Callable[[], Awaitable[Reader]]
"""Authenticates the caller again; the stream ends if that fails, or if a right has ended."""

Source = Callable[[Reader, int], AsyncIterator[bytes]]
"""Returns the encoded events after a position, up to the position of the reader's state.

Reading a part, and sending the one before it, may be slow. So each part must be yielded right after
the caller was authenticated again, and has only what the caller may read in that state.
"""

LiveSource = Callable[[Sequence[Line]], AsyncIterator[bytes]]
"""Returns the encoded events of new lines, by the same rule as `Source`."""


class Following(msgspec.Struct, frozen=True):
    """The start position of a stream, and the functions that produce its events.

    ``restart`` is the position to continue from if ``after`` is ahead of the log; ``None`` is the
    current position.
    """

    after: int
    authenticate: Authenticate
    source: Source
    live: LiveSource
    restart: int | None = None


def event(position: int, kind: str, data: bytes) -> bytes:
    """Encode one event; ``data`` must not contain line breaks."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (position, kind.encode(), data)


def resumed_after(request: ApiRequest) -> int | None:
    """The position in Last-Event-ID, if the client sends it; raises `Invalid`."""
    last = request.header(b"last-event-id")
    if not last:
        return None
    if not _POSITION.fullmatch(last):
        raise Invalid(Fault("", "Last-Event-ID must be a position", where="header"))
    return int(last)


def reset(position: int) -> bytes:
    """Encode the event that resets a client, because it followed another log."""
    return event(position, "reset", b'{"position":%d}' % position)


async def event_stream(
    request: ApiRequest, following: Following, subscription: Subscription
) -> StreamingResponse:
    """Stream the events after a position and then live events, while access lasts.

    Raises `Overloaded` if the caller, or all callers together, have too many streams open; callers
    without a token count as one.
    """
    user = (await following.authenticate()).number
    followers = request.services.log_watcher.followers
    most = MAX_STREAMS if user else MAX_ANONYMOUS_STREAMS
    if followers[user] >= most:
        raise Overloaded(f"no more than {most} streams may be open at once")
    if followers.total() >= MAX_STREAMS_IN_ALL:
        raise Overloaded("too many streams are open at this server")

    async def counted() -> AsyncGenerator[bytes, None]:
        followers[user] += 1
        try:
            yield b""
            with request.services.live_events.subscribe(subscription):
                parts = _followed(request, following, subscription)
                async with aclosing(parts):
                    async for part in parts:
                        yield part
        finally:
            followers[user] -= 1
            if not followers[user]:
                del followers[user]

    parts = counted()
    await anext(parts)  # Count this stream before another request is checked.
    return StreamingResponse(list(_HEADERS), parts)


async def _followed(
    request: ApiRequest, following: Following, subscription: Subscription
) -> AsyncGenerator[bytes, None]:
    feed, live = request.services.log_watcher, request.services.live_events
    authenticate = following.authenticate
    after, reads_log = following.after, True
    yield b":\n\n"  # Proxies forward the headers only with the first bytes of the body.
    said = time.monotonic()
    opening = _RETRY
    try:
        if await _is_ahead(request, after):
            state = (await authenticate()).state
            after = state.position if following.restart is None else following.restart
            yield opening + reset(after)
            opening = b""
        while not feed.closed:
            subscription.begin()
            reader = await authenticate()
            state = reader.state
            # Read all three before any await: new events are left for the next iteration.
            position, seen, lines = state.position, live.seen, subscription.take()
            is_behind = feed.position > position
            subscription.put_back([line for line in lines or () if line.position > position])
            reads_log = reads_log or lines is None
            if reads_log or lines is None:
                parts = following.source(reader, after)
            else:
                parts = following.live(
                    [line for line in lines if after < line.position <= position]
                )
            async for part in parts:
                if part:
                    yield opening + part
                    opening = b""
                    said = time.monotonic()
            after = max(after, position if reads_log else min(position, seen))
            reads_log = after < subscription.start
            is_behind = is_behind or reads_log
            left = said + HEARTBEAT_SECONDS - time.monotonic()
            if left <= 0:
                yield b":\n\n"
                said = time.monotonic()
            else:
                await subscription.wait(min(left, _BEHIND_SECONDS) if is_behind else left)
    except (Unauthenticated, Forbidden):
        return


async def _is_ahead(request: ApiRequest, after: int) -> bool:
    """Whether a position is ahead of the log, after waiting for other instances."""
    feed = request.services.log_watcher
    deadline = time.monotonic() + request.services.wait_seconds
    while feed.position < after <= feed.position + _MOST_LAG:
        left = deadline - time.monotonic()
        if left <= 0 or feed.closed:
            break
        await feed.wait_beyond(feed.position, left)
    return after > feed.position


async def follow_resources(request: ApiRequest, shape: Shape) -> Response[Any]:
    """Stream the changes of the resources of a kind that the caller may read."""
    query = request.query_as(FeedQuery)
    state = request.reader.state
    after = resumed_after(request)
    if after is None:
        after = state.position if query.after is UNSET else query.after
    stream = _ResourceStream(request, shape)
    subscription = Subscription(
        request.reader.number,
        "" if request.reader.user is None else request.caller.credential,
        collection=shape.resource.collection,
        reads_all=access.may_read_all(shape.resource, request.reader.user),
    )
    following = Following(after, stream.authenticate, stream.past, stream.live)
    return await event_stream(request, following, subscription)


class _ResourceStream:
    """The changes of one collection, for one caller."""

    def __init__(self, request: ApiRequest, shape: Shape) -> None:
        self._request = request
        self._shape = shape
        self._read_all = access.may_read_all(shape.resource, request.reader.user)
        self._unshared_at = self._last_unshared(request.reader)

    async def authenticate(self) -> Reader:
        """Authenticate the caller again; raises `Forbidden` if a right has ended."""
        if self._request.reader.user is None:
            return await self._request.authenticate_reader()
        await self._request.authenticate()
        reader = self._request.reader
        if self._read_all:
            if not access.may_read_all(self._shape.resource, reader.user):
                raise Forbidden("the role was revoked")
        elif self._last_unshared(reader) != self._unshared_at:
            raise Forbidden("a share was taken back")
        return reader

    def _last_unshared(self, reader: Reader) -> int:
        """The position at which the caller last lost a share; 0 if that is not known."""
        table = reader.state[self._shape.resource.collection]
        return table.unshared_at.get(reader.number, 0)

    async def _readable(self, changes: Iterable[tuple[int, bytes]]) -> bytes:
        """The encoded events that the caller may read now, each given with its resource."""
        reader = await self.authenticate()
        state, resource = reader.state, self._shape.resource
        table = state[resource.collection]
        return b"".join(
            content
            for number, content in changes
            if (found := table.find(number)) is not None
            and access.may_read(resource, state, reader.user, found)
        )

    async def live(self, lines: Sequence[Line]) -> AsyncIterator[bytes]:
        """The events of new lines. Each is rendered once, also if several streams send it."""
        past, live = self._request.services.history, self._request.services.live_events
        for start in range(0, len(lines), _AT_ONCE):
            some = lines[start : start + _AT_ONCE]
            async with live.rendering:
                missing = {line.position: line for line in some if line.change is None}
                for record in await past.records(list(missing)):
                    missing[record.position].change = self._event(record)
            yield await self._readable(
                (entity_number(subject_of(line.line)), line.change or b"") for line in some
            )

    async def past(self, reader: Reader, after: int) -> AsyncIterator[bytes]:
        """The events after a position, up to that of the state."""
        history = self._request.services.history
        if reader.state.position - after > _FEW:
            positions = await self._positions_of_resources(reader, after)
        else:
            positions = await self._positions_of_lines(reader, after)
        for start in range(0, len(positions), RECORDS_PER_READ):
            async with history.turn_of(reader.number):
                records = await history.records(positions[start : start + RECORDS_PER_READ])
            for record in records:
                yield await self._readable([(entity_number(record.subject), self._event(record))])

    def _event(self, record: Record) -> bytes:
        change = self._shape.change_of(record, entity_number(record.subject))
        return event(record.position, record.event.type, encode(change))

    async def _positions_of_resources(self, reader: Reader, after: int) -> list[int]:
        """Positions of changes, found by scanning all resources that the caller may read."""
        state, resource = reader.state, self._shape.resource
        table, versions, upto = state[resource.collection], state.resources.versions, state.position
        numbers = access.ever_readable_numbers(resource, state, reader.user)
        positions: list[int] = []
        for start in range(0, len(numbers), _PER_TURN):
            for number in numbers[start : start + _PER_TURN]:
                found = table.find(number)
                if found is not None and last_event(found) > after:
                    # What is written in between is left to the next scan.
                    every = versions.of(last_event(found), upto=upto)
                    positions += every[bisect_right(every, after) :]
            await asyncio.sleep(0)
        return sorted(positions)

    async def _positions_of_lines(self, reader: Reader, after: int) -> list[int]:
        """The same positions, found by scanning all lines after a position.

        A connected client is only a few lines behind, whereas a user may have any number of resources.
        """
        state, resource = reader.state, self._shape.resource
        table, start = state[resource.collection], f"{resource.collection}/"
        return [
            position
            async for run in self._request.services.log_watcher.lines(after, state.position)
            for position, line in run
            if (subject := subject_of(line)).startswith(start)
            and (found := table.find(entity_number(subject))) is not None
            and access.may_read(resource, state, reader.user, found)
        ]
