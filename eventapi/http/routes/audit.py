"""Endpoints for auditors: events, proofs, and the state at any point of the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET

from eventapi.http.authentication import Reader
from eventapi.http.guards import auditor
from eventapi.http.handlers import get
from eventapi.http.request import EVENT_STREAM, NDJSON, ApiRequest
from eventapi.http.response import JSON, Response, encode, json_response
from eventapi.http.routes.events import Following, event, followed, resumed_after
from eventapi.http.schemas.requests import EventsQuery, StateQuery
from eventapi.http.schemas.responses import EventPage, OpenedEvent
from eventapi.http.services import Services
from eventapi.http.streaming import StreamingResponse
from eventapi.http.urls import path_position
from eventapi.queries.live_events import Line, Subscription
from eventapi.queries.subscriptions import EventFilter, kind_of
from eventapi.queries.summary import Summary, summary_of
from events.errors import Fault, Invalid
from projections.state import State

_PAGE = 100
"""Events on a page if `limit` is not given."""

_MOST_SCANNED = 100_000
"""Lines scanned for a page; a page may have fewer events than its limit."""

_LINES_AT_ONCE = 64
"""Lines that a stream sends as one part."""

_SECRETS = ("password_hash",)
"""Members of personal data that are hidden from auditors too."""


class AuditController(Controller):
    """The events of the log and the state at any point, for auditors."""

    path = "/audit"
    tags = ("audit",)
    guards = (auditor,)

    @get(
        "/events",
        summary="Read the events of the log",
        query=EventsQuery,
        request_headers=("Last-Event-ID",),
        response_headers=("Link",),
        other_media_types=(NDJSON, EVENT_STREAM),
        errors=("forbidden", "validation-failed"),
    )
    async def list_events(self, request: ApiRequest) -> Response[EventPage]:
        """Read events of the log: as a page, as lines of JSON, or as a live stream.

        `Accept` selects the form. The name of a server-sent event (`event:`) is its type, such as
        `user.registered`, or `reset`; its `id:` is its position.
        """
        position = request.caller.state.position
        query = request.query_as(EventsQuery)
        _check_type(query, request.caller.state)
        wanted = EventFilter.of(
            *(None if one is UNSET else one for one in (query.type, query.subject, query.actor))
        )
        kind = request.preferred_type(EVENT_STREAM, NDJSON)
        if kind == EVENT_STREAM:
            return await _live(request, query, wanted)
        if kind == NDJSON:
            headers = [(b"content-type", NDJSON.encode())]
            return StreamingResponse(headers, _all(request, query, wanted, position))
        return await _page(request, query, wanted, position)

    @get(
        "/events/{position:str}",
        summary="Read an event with its proof",
        errors=("forbidden", "not-found"),
    )
    async def get_event(
        self, request: ApiRequest, position: FromPath[str], services: NamedDependency[Services]
    ) -> Response[OpenedEvent]:
        """Read an event, decrypted if its key still exists, and its inclusion proof."""
        number = path_position(position, request.caller.state)
        line = await services.history.line_at(number)
        (record,) = await services.history.records([number])
        personal = getattr(record.event, "personal", None)
        opened = None
        if isinstance(personal, msgspec.Struct):
            values = msgspec.to_builtins(personal)
            opened = {name: value for name, value in values.items() if name not in _SECRETS}
        proof = await services.checkpoints.inclusion(number)
        return json_response(OpenedEvent(msgspec.Raw(line), opened, str(proof)))

    @get(
        "/state",
        summary="Summarize the state at a point of the log",
        query=StateQuery,
        errors=("forbidden", "validation-failed"),
    )
    async def get_state(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[Summary]:
        """Read the counts of entities and the public digest at any point of the log."""
        state = request.caller.state
        query = request.query_as(StateQuery)
        position = state.position
        if query.as_of is not UNSET:
            position = await request.resolve_as_of(state, query.as_of)
        async with services.history.state_at(position) as then:
            return json_response(await asyncio.to_thread(summary_of, then))


async def _live(request: ApiRequest, query: EventsQuery, wanted: EventFilter) -> Response[Any]:
    async def source(reader: Reader, after: int) -> AsyncIterator[bytes]:
        position = reader.state.position
        async for run in request.services.log_watcher.lines(after, position, wanted):
            if run:
                yield b"".join(event(position, kind_of(line), line) for position, line in run)

    async def handed_out(lines: Sequence[Line]) -> AsyncIterator[bytes]:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            yield b"".join(event(line.position, line.type, line.line) for line in some)

    after = resumed_after(request)
    after = query.after if after is None else after

    async def authenticate() -> Reader:
        await request.authenticate_auditor()
        return request.reader

    following = Following(after, authenticate, source, handed_out, restart=0)
    caller = request.caller
    return await followed(request, following, Subscription(caller.user.id, caller.session, wanted))


def _check_type(query: EventsQuery, state: State) -> None:
    """Raise `Invalid` for a type that no event of the log can have."""
    if query.type is UNSET or query.type in state.vocabulary.types:
        return
    kind = query.type.partition(".")[0]
    if kind in state.resources.schemas and kind not in state.vocabulary.kinds:
        return
    types = ", ".join(sorted(state.vocabulary.types))
    raise Invalid(Fault("/type", f"must be a type of events: {types}", where="query"))


async def _all(
    request: ApiRequest, query: EventsQuery, wanted: EventFilter, upto: int
) -> AsyncGenerator[bytes, None]:
    left = upto if query.limit is UNSET else query.limit
    async for run in request.services.log_watcher.lines(query.after, upto, wanted):
        if run:
            # Authenticate again: the client may have read slowly. An error ends the stream.
            await request.authenticate_auditor()
            yield b"".join(line + b"\n" for _, line in run[:left])
            left -= len(run)
        if left <= 0:
            return


async def _page(
    request: ApiRequest, query: EventsQuery, wanted: EventFilter, last: int
) -> Response[Any]:
    limit = _PAGE if query.limit is UNSET else query.limit
    upto = min(last, query.after + _MOST_SCANNED)
    found: list[tuple[int, bytes]] = []
    async for run in request.services.log_watcher.lines(query.after, upto, wanted):
        found += run
        if len(found) > limit:
            break
    page, more = found[:limit], len(found) > limit
    following = None
    if more or upto < last:
        following = _following(request, query, limit, page[-1][0] if more else upto)
    headers = [JSON]
    if following is not None:
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    events = EventPage([msgspec.Raw(line) for _, line in page], following)
    return Response(200, headers, encode(events))


def _following(request: ApiRequest, query: EventsQuery, limit: int, after: int) -> str:
    given: dict[str, Any] = {"type": query.type, "subject": query.subject, "actor": query.actor}
    parameters = {"after": after, "limit": limit}
    parameters |= {name: value for name, value in given.items() if value is not UNSET}
    return request.url_of(f"/audit/events?{urlencode(parameters)}")
