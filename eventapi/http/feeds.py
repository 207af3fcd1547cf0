"""Server-sent events (WHATWG HTML, section 9.2): changes as they happen, from any position on.

The id of an event is its position, so a client that comes back with ``Last-Event-ID`` goes on
where it was, at whichever worker: nothing is lost at the seam, and nothing comes twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from msgspec import UNSET

from eventapi.feed import Feed, subject_of
from eventapi.http.bodies import FeedQuery
from eventapi.http.endpoint import Endpoint
from eventapi.http.reply import Reply, encode
from eventapi.http.request import EVENT_STREAM, ApiRequest
from eventapi.http.stream import Stream
from eventapi.http.views import ItemChange, changes_of
from events.errors import Fault, Forbidden, Invalid, Overloaded, Unauthenticated
from events.record import entity_number
from projections.state import State
from projections.users import User

HEARTBEAT_SECONDS = 15.0
"""How often something is said where nothing happens, lest somebody in between hang up."""

MAX_STREAMS = 16
"""How many a user may have open at a process: each of them looks at every change."""

_AT_ONCE = 256
_FEW = 1000
"""Up to how many lines it is cheaper to look at than at all items of somebody who has many."""

_POSITION = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_HEADERS = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
"""The second asks proxies of nginx's kind to hand on at once."""

Caller = Callable[[], Awaitable[tuple[State, User]]]
Source = Callable[[State, User, int], AsyncIterator[bytes]]
"""The events behind a position that are in a state."""


def event(position: int, kind: str, data: bytes) -> bytes:
    """One event; the data is of one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (position, kind.encode(), data)


def resumed_after(request: ApiRequest) -> int | None:
    """The position that the client has come to, if it says so; raises `Invalid`."""
    last = request.header(b"last-event-id")
    if not last:
        return None
    if not _POSITION.fullmatch(last):
        raise Invalid(Fault("", "Last-Event-ID must be a position"))
    return int(last)


async def followed(request: ApiRequest, after: int, caller: Caller, source: Source) -> Stream:
    """What comes behind a position, and then whatever happens, while the caller may see it.

    Raises `Overloaded` where they follow too much already.
    """
    _, user = await caller()
    followers = request.services.feed.followers
    if followers[user.id] >= MAX_STREAMS:
        raise Overloaded(f"no more than {MAX_STREAMS} streams may be open at once")

    async def counted() -> AsyncGenerator[bytes, None]:
        followers[user.id] += 1
        try:
            yield b""
            async with aclosing(_followed(request, after, caller, source)) as parts:
                async for part in parts:
                    yield part
        finally:
            followers[user.id] -= 1
            if not followers[user.id]:
                del followers[user.id]

    parts = counted()
    await anext(parts)  # From here on it counts, before anybody else is looked at.
    return Stream(list(_HEADERS), parts)


async def _followed(
    request: ApiRequest, after: int, caller: Caller, source: Source
) -> AsyncGenerator[bytes, None]:
    feed = request.services.feed
    yield b"retry: 1000\n\n"
    said = time.monotonic()
    try:
        while not feed.closed:
            state, user = await caller()
            # Read before anything suspends: the state moves on, and what it gains comes next time.
            position = state.position
            async for part in source(state, user, after):
                # Asked anew: to read it, and to take what came before, may have taken a while.
                await caller()
                yield part
                said = time.monotonic()
            after = max(after, position)
            left = said + HEARTBEAT_SECONDS - time.monotonic()
            if left <= 0:
                yield b":\n\n"
                said = time.monotonic()
            else:
                await feed.moved(after, left)
    except (Unauthenticated, Forbidden):
        return


async def item_events(request: ApiRequest) -> Reply:
    """Follow the changes of your items as they happen."""
    state, _, _ = await request.authenticated()
    query = request.query_as(FeedQuery)
    after = resumed_after(request)
    if after is None:
        after = state.position if query.after is UNSET else query.after

    async def caller() -> tuple[State, User]:
        found, user, _ = await request.authenticated()
        return found, user

    async def source(state: State, user: User, after: int) -> AsyncIterator[bytes]:
        if state.position - after > _FEW:
            positions = _changes_of(state, user, after)
        else:
            positions = await _changes_among(request.services.feed, state, user, after)
        past = request.services.past
        for start in range(0, len(positions), _AT_ONCE):
            for record in await past.records(positions[start : start + _AT_ONCE]):
                change = ItemChange(
                    record.position,
                    record.time,
                    record.event.type,
                    record.actor,
                    entity_number(record.subject),
                    changes_of(record),
                )
                yield event(record.position, record.event.type, encode(change))

    return await followed(request, after, caller, source)


def _changes_of(state: State, user: User, after: int) -> list[int]:
    """The positions behind one of what happened to a user's items, by looking at all of these."""
    return sorted(
        position
        for item in state.items.ever(user.id)
        if item.version > after
        for position in state.items.lives.of(item.version)
        if position > after
    )


async def _changes_among(feed: Feed, state: State, user: User, after: int) -> list[int]:
    """The same, by looking at all lines behind the position.

    Of those there are few as long as somebody follows; items, they may have any number.
    """
    return [
        position
        async for run in feed.lines(after, state.position)
        for position, line in run
        if (subject := subject_of(line)).startswith("items/")
        and (item := state.items.known(entity_number(subject))) is not None
        and item.owner == user.id
    ]


def endpoints() -> list[Endpoint]:
    """The endpoint of the caller's items."""
    return [
        Endpoint(
            method="GET",
            path="/items/events",
            handler=item_events,
            summary="Follow the changes of your items",
            tag="items",
            query=FeedQuery,
            headers=("Last-Event-ID",),
            answers={200: ItemChange},
            answer_media_type=EVENT_STREAM,
            errors=("validation-failed",),
        )
    ]
