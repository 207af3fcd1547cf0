"""Server-sent events (WHATWG HTML, section 9.2): changes as they happen, from any position on.

The id of an event is its position, so a client that comes back with ``Last-Event-ID`` goes on
where it was, at whichever worker: nothing is lost at the seam, and nothing comes twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import UNSET

from eventapi.http.request import ApiRequest, Caller
from eventapi.http.response import Response, encode
from eventapi.http.schemas.requests import FeedQuery
from eventapi.http.schemas.responses import ItemChange, changes_of
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.history import RECORDS_PER_READ
from eventapi.queries.live_events import MAX_STREAMS as MAX_STREAMS_IN_ALL
from eventapi.queries.live_events import Line, Subscription
from eventapi.queries.subscriptions import EventFilter, LogWatcher, subject_of
from events.errors import Fault, Forbidden, Invalid, Overloaded, Unauthenticated
from events.record import Record, entity_number
from projections.state import State
from projections.tables.users import User

HEARTBEAT_SECONDS = 15.0
"""How often something is said where nothing happens, lest somebody in between hang up."""

MAX_STREAMS = 16
"""How many a user may have open at a process."""

_AT_ONCE = 64
_BEHIND_SECONDS = 0.05
"""How soon a stream looks again while the state lags behind the log."""

_MOST_LAG = 10_000
"""So many events an instance may lag behind another; who is farther ahead knows another log."""

_FEW = 1000
"""Up to how many lines it is cheaper to look at than at all items of somebody who has many."""

_POSITION = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_RETRY = b"retry: 1000\n"
"""Milliseconds until a client reconnects; part of the first event, because some clients take a block
that has nothing else for an event."""

_HEADERS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
"""The second asks proxies of nginx's kind to hand on at once."""

Authenticate = Callable[[], Awaitable[Caller]]
"""Authenticates the caller anew; a stream ends when that is refused."""

Source = Callable[[State, User, int], AsyncIterator[bytes]]
"""The events behind a position that are in a state."""

LiveSource = Callable[[Sequence[Line]], AsyncIterator[bytes]]
"""The events on lines that were handed out."""


class Following(msgspec.Struct, frozen=True):
    """From which position a stream goes on, and how its events are made.

    ``restart`` is from where it does when that is ahead of the log; ``None`` is from now on.
    """

    after: int
    authenticate: Authenticate
    source: Source
    live: LiveSource
    restart: int | None = None


def event(position: int, kind: str, data: bytes) -> bytes:
    """One event; the data is of one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (position, kind.encode(), data)


def resumed_after(request: ApiRequest) -> int | None:
    """The position that the client has come to, if it says so; raises `Invalid`."""
    last = request.header(b"last-event-id")
    if not last:
        return None
    if not _POSITION.fullmatch(last):
        raise Invalid(Fault("", "Last-Event-ID must be a position", where="header"))
    return int(last)


def reset(position: int) -> bytes:
    """The event that tells a client to begin anew, because it knows a log that is not this one."""
    return event(position, "reset", b'{"position":%d}' % position)


async def followed(
    request: ApiRequest, following: Following, selection: EventFilter | None = None
) -> StreamingResponse:
    """What comes behind a position, and then whatever happens, while the caller may see it.

    ``selection`` is of all events; without it they are those of the caller's items. Raises
    `Overloaded` where the caller, or all callers together, follow too much already.
    """
    user = (await following.authenticate()).user
    followers = request.services.log_watcher.followers
    if followers[user.id] >= MAX_STREAMS:
        raise Overloaded(f"no more than {MAX_STREAMS} streams may be open at once")
    if followers.total() >= MAX_STREAMS_IN_ALL:
        raise Overloaded("too many streams are open at this server")
    subscription = Subscription(user.id, request.caller.session, selection)

    async def counted() -> AsyncGenerator[bytes, None]:
        followers[user.id] += 1
        try:
            yield b""
            with request.services.live_events.subscribe(subscription):
                parts = _followed(request, following, subscription)
                async with aclosing(parts):
                    async for part in parts:
                        yield part
        finally:
            followers[user.id] -= 1
            if not followers[user.id]:
                del followers[user.id]

    parts = counted()
    await anext(parts)  # From here on it counts, before anybody else is looked at.
    return StreamingResponse(list(_HEADERS), parts)


async def _followed(
    request: ApiRequest, following: Following, subscription: Subscription
) -> AsyncGenerator[bytes, None]:
    feed, live = request.services.log_watcher, request.services.live_events
    authenticate = following.authenticate
    after, reads_log = following.after, True
    yield b":\n\n"  # Proxies pass the headers on with the first bytes of the body.
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
            caller = await authenticate()
            state, user = caller.state, caller.user
            # Read before anything suspends: the state moves on, and what it gains comes next time.
            position, seen, lines = state.position, live.seen, subscription.take()
            is_behind = feed.position > position
            subscription.put_back([line for line in lines or () if line.position > position])
            reads_log = reads_log or lines is None
            if reads_log or lines is None:
                parts = following.source(state, user, after)
            else:
                parts = following.live(
                    [line for line in lines if after < line.position <= position]
                )
            async for part in parts:
                # Checked anew: to read it, and to take what came before, may have taken a while.
                await authenticate()
                yield opening + part
                opening = b"" if part else opening
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
    """Whether a position is ahead of the log, also once other instances' events had their time."""
    feed = request.services.log_watcher
    deadline = time.monotonic() + request.services.wait_seconds
    while feed.position < after <= feed.position + _MOST_LAG:
        left = deadline - time.monotonic()
        if left <= 0 or feed.closed:
            break
        await feed.wait_beyond(feed.position, left)
    return after > feed.position


async def follow_items(request: ApiRequest, query: FeedQuery) -> Response[Any]:
    """The changes of the caller's items, as they happen."""
    state = request.caller.state
    after = resumed_after(request)
    if after is None:
        after = state.position if query.after is UNSET else query.after

    past, live = request.services.history, request.services.live_events

    async def handed_out(lines: Sequence[Line]) -> AsyncIterator[bytes]:
        for start in range(0, len(lines), _AT_ONCE):
            some = lines[start : start + _AT_ONCE]
            # One stream makes what several of the same user deliver.
            async with live.rendering:
                missing = {line.position: line for line in some if line.change is None}
                for record in await past.records(list(missing)):
                    missing[record.position].change = _change_event(record)
            yield b"".join(line.change or b"" for line in some)

    async def source(state: State, user: User, after: int) -> AsyncIterator[bytes]:
        if state.position - after > _FEW:
            positions = _changes_of(state, user, after)
        else:
            positions = await _changes_among(request.services.log_watcher, state, user, after)
        for start in range(0, len(positions), RECORDS_PER_READ):
            async with past.turn_of(user.id):
                records = await past.records(positions[start : start + RECORDS_PER_READ])
            for record in records:
                yield _change_event(record)

    return await followed(request, Following(after, request.authenticate, source, handed_out))


def _change_event(record: Record) -> bytes:
    kind = record.event.type
    item = entity_number(record.subject)
    change = ItemChange(record.position, record.time, kind, record.actor, item, changes_of(record))
    return event(record.position, kind, encode(change))


def _changes_of(state: State, user: User, after: int) -> list[int]:
    """The positions behind one of what happened to a user's items, by looking at all of these."""
    return sorted(
        position
        for item in state.items.all_of_owner(user.id)
        if item.version > after
        for position in state.items.versions.of(item.version)
        if position > after
    )


async def _changes_among(feed: LogWatcher, state: State, user: User, after: int) -> list[int]:
    """The same, by looking at all lines behind the position.

    Of those there are few as long as somebody follows; items, they may have any number.
    """
    return [
        position
        async for run in feed.lines(after, state.position)
        for position, line in run
        if (subject := subject_of(line)).startswith("items/")
        and (item := state.items.find(entity_number(subject))) is not None
        and item.owner == user.id
    ]
