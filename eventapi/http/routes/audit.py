"""Endpoints for auditors: events, proofs, and the state at any point of the log."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from eventapi.accounts.openings import record_opening
from eventapi.http.authenticated_request import EVENT_STREAM
from eventapi.http.authentication import Reader
from eventapi.http.guards import auditor
from eventapi.http.handlers import get
from eventapi.http.moments import check_order, point_of
from eventapi.http.request import NDJSON, ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import JSON, Headers, Response, encode, event_position, json_response
from eventapi.http.routes.audit_diff import diff_page
from eventapi.http.routes.events import Following, event, event_stream, resumed_after
from eventapi.http.schemas.audit import DiffPage, DiffQuery, EventsQuery
from eventapi.http.schemas.requests import StateQuery
from eventapi.http.schemas.responses import EventPage, OpenedEvent
from eventapi.http.services import Services
from eventapi.http.streaming import StreamingResponse
from eventapi.http.urls import path_position
from eventapi.queries.history import RECORDS_PER_READ
from eventapi.queries.live_events import Line, Subscription
from eventapi.queries.opened import OpenedLine
from eventapi.queries.subject_index import indexed_lines, positions_of, within
from eventapi.queries.subscriptions import EventFilter, kind_of
from eventapi.queries.summary import Summary
from events.codec import parse
from events.errors import Fault, Invalid, NotFound
from events.well_formed import can_be_actor, can_be_subject
from projections.state import State

_PAGE = 100
"""Events on a page if `limit` is not given."""

_LINES_PER_PART = 100_000
_SCAN_SECONDS = 2.0
"""A page reads the log in parts of so many lines, and begins none after so many seconds.

With the index a part has `RECORDS_PER_READ` lines.
So a page may have fewer events than its limit, and still a next one.
"""

_LINES_AT_ONCE = 64
"""Lines that a stream sends as one part."""


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
        errors=("validation-failed",),
    )
    async def list_events(self, request: ApiRequest) -> Response[EventPage]:
        """Read events of the log: as a page, as lines of JSON, or as a live stream.

        `Accept` selects the form. The name of a server-sent event (`event:`) is its type, such as
        `user.registered`, or `reset`; its `id:` is its position. `since` and `until` are inclusive.
        """
        query = request.query_as(EventsQuery)
        _check_filter(query, request.caller.state)
        wanted = EventFilter.of(
            *(None if one is UNSET else one for one in (query.type, query.subject, query.actor))
        )
        kind = request.preferred_type(EVENT_STREAM, NDJSON)
        selected = await _range(request, query)
        if kind == EVENT_STREAM:
            _check_live(query)
            after = resumed_after(request)
            after = query.after if after is None and query.after is not UNSET else after
            return await _live(request, max(after or 0, selected.after), wanted)
        selected = selected.beyond(query.after)
        if kind == NDJSON:
            headers = [(b"content-type", NDJSON.encode())]
            return StreamingResponse(headers, _all(request, query, wanted, selected))
        return await _page(request, query, wanted, selected)

    @get(
        "/events/{position:str}",
        summary="Read an event with its proof",
        response_headers=("Event-Position",),
        errors=("not-found",),
    )
    async def get_event(
        self, request: ApiRequest, position: FromPath[str], services: NamedDependency[Services]
    ) -> Response[OpenedEvent]:
        """Read an event, decrypted if its key still exists, and its inclusion proof.

        That values are opened is itself an event, `audit.opened`. The answer follows only once it is
        written, and has its position in `Event-Position`.
        """
        number = path_position(position, request.caller.state)
        # Before the opening is recorded, because no proof is given until then.
        services.chain_check.require_done()
        line = await services.history.line_at(number)
        opened, headers = await _opened(request, number, line)
        proof = str(await services.checkpoints.inclusion(number))
        content = OpenedEvent(
            msgspec.Raw(line), opened.personal, proof, opened.reason, opened.clear
        )
        return json_response(content, 200, *headers)

    @get(
        "/diff",
        summary="Compare two moments",
        query=DiffQuery,
        response_headers=("Link", "Event-Position"),
        errors=("validation-failed",),
    )
    async def get_diff(self, request: ApiRequest) -> Response[DiffPage]:
        """Compare the entities at two moments: users, resources, API keys and webhooks.

        For each entity that differs: what happened to it, and the values that differ. Sealed values are
        shown where their key exists. Of an erased entity only the erasure is shown; the API keys and the
        shares of an erased user end with the user. Entities that exist at neither moment are left out, so
        a page may have fewer than `limit`. Sessions are not compared. That sealed values are opened is an
        event, `audit.opened`, for each user; `Event-Position` has the position of the last one.
        """
        return await diff_page(request, request.query_as(DiffQuery))

    @get(
        "/state",
        summary="Summarize the state at a point of the log",
        query=StateQuery,
        errors=("validation-failed",),
    )
    async def get_state(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[Summary]:
        """Read the counts of entities and the public digest at any point of the log."""
        caller, query = request.caller, request.query_as(StateQuery)
        if query.as_of is UNSET:
            return json_response(await services.summaries.now(caller.user.id))
        position = await request.resolve_as_of(caller.state, query.as_of)
        return json_response(await services.summaries.at(position, caller.user.id))


class _Range(msgspec.Struct, frozen=True):
    """The positions to read: those after ``after``, up to ``upto``."""

    after: int
    upto: int
    descending: bool

    def beyond(self, cursor: int | UnsetType) -> _Range:
        """The part beyond a position, in order."""
        if cursor is UNSET:
            return self
        if self.descending:
            return msgspec.structs.replace(self, upto=min(self.upto, cursor - 1))
        return msgspec.structs.replace(self, after=max(self.after, cursor))

    def first(self, count: int) -> _Range:
        """The part that is read first, of at most so many positions."""
        if self.descending:
            return msgspec.structs.replace(self, after=max(self.after, self.upto - count))
        return msgspec.structs.replace(self, upto=min(self.upto, self.after + count))

    def first_of(self, positions: Sequence[int]) -> _Range:
        """The part that is read first, if only these ascending positions are read."""
        there = within(positions, self.after, self.upto)
        if len(there) <= RECORDS_PER_READ:
            return self
        if self.descending:
            return msgspec.structs.replace(self, after=there[-RECORDS_PER_READ] - 1)
        return msgspec.structs.replace(self, upto=there[RECORDS_PER_READ - 1])

    def cursor(self) -> int:
        """The position after which, in order, the next part starts."""
        return self.after + 1 if self.descending else self.upto


async def _range(request: ApiRequest, query: EventsQuery) -> _Range:
    """The positions between `since` and `until`; raises `Invalid`."""
    state, history = request.caller.state, request.services.history
    after, upto = 0, state.position
    since = None if query.since is UNSET else point_of("since", query.since)
    until = None if query.until is UNSET else point_of("until", query.until)
    check_order("since", since, "until", until)
    if since is not None:
        after = await history.position_before(since, state)
    if isinstance(until, str):
        upto = await history.position(until, state)
    elif until is not None:
        upto = min(upto, until)
    return _Range(after, upto, query.order == "desc")


def _check_live(query: EventsQuery) -> None:
    """Raise `Invalid` for what a live stream cannot have."""
    faults = []
    if query.order == "desc":
        faults.append(Fault("/order", "must be asc, because the stream is live", where="query"))
    if query.until is not UNSET:
        faults.append(Fault("/until", "cannot be given, because the stream is live", where="query"))
    if faults:
        raise Invalid(*faults)


async def _opened(request: ApiRequest, position: int, line: bytes) -> tuple[OpenedLine, Headers]:
    """What is sealed on a line, and the position of its opening as a header.

    The log has that event before this returns. A HEAD shows nothing, so it records nothing; its
    Content-Length reveals no more than the length of the seal.
    """
    opened = request.services.history.open(line)
    if opened == OpenedLine(None) or request.method == "HEAD":
        return opened, []
    owner = parse(line).sealedfor
    try:
        result = await record_opening(
            RequestClient(request), request.caller.user.subject, owner, position
        )
    except NotFound:
        return OpenedLine(None), []  # The user was erased meanwhile.
    return opened, [event_position(result.record.position)]


async def _live(request: ApiRequest, after: int, wanted: EventFilter) -> Response[Any]:
    async def source(reader: Reader, after: int) -> AsyncIterator[bytes]:
        position = reader.state.position
        async for run in request.services.log_watcher.lines(after, position, wanted):
            if run:
                part = b"".join(event(position, kind_of(line), line) for position, line in run)
                await authenticate()
                yield part

    async def handed_out(lines: Sequence[Line]) -> AsyncIterator[bytes]:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            some = lines[start : start + _LINES_AT_ONCE]
            await authenticate()
            yield b"".join(event(line.position, line.type, line.line) for line in some)

    async def authenticate() -> Reader:
        await request.authenticate_auditor()
        return request.reader

    following = Following(after, authenticate, source, handed_out, restart=0)
    caller = request.caller
    return await event_stream(
        request, following, Subscription(caller.user.id, caller.credential, wanted)
    )


def _check_filter(query: EventsQuery, state: State) -> None:
    """Raise `Invalid` for a filter that no event of the log can pass."""
    faults = []
    if query.type is not UNSET and not _is_type(query.type, state):
        types = ", ".join(sorted(state.vocabulary.types))
        faults.append(Fault("/type", f"must be a type of events: {types}", where="query"))
    if query.subject is not UNSET and not can_be_subject(query.subject):
        faults.append(Fault("/subject", "must be a subject, such as items/7", where="query"))
    if query.actor is not UNSET and not can_be_actor(query.actor):
        detail = "must be an actor, such as users/1 or operator/root"
        faults.append(Fault("/actor", detail, where="query"))
    if faults:
        raise Invalid(*faults)


def _is_type(name: str, state: State) -> bool:
    """Whether events can have a type; their kind may be declared by the log alone."""
    kind = name.partition(".")[0]
    is_foreign = kind in state.resources.schemas and kind not in state.vocabulary.kinds
    return is_foreign or name in state.vocabulary.types


async def _all(
    request: ApiRequest, query: EventsQuery, wanted: EventFilter, selected: _Range
) -> AsyncGenerator[bytes, None]:
    left = selected.upto if query.limit is UNSET else query.limit
    async for run in _runs(request, wanted, selected, _positions(request, query)):
        if run:
            # Authenticate again: the client may have read slowly. An error ends the stream.
            await request.authenticate_auditor()
            yield b"".join(line + b"\n" for _, line in run[:left])
            left -= len(run)
        if left <= 0:
            return


async def _page(
    request: ApiRequest, query: EventsQuery, wanted: EventFilter, selected: _Range
) -> Response[Any]:
    limit = _PAGE if query.limit is UNSET else query.limit
    positions = _positions(request, query)
    found: list[tuple[int, bytes]] = []
    deadline, rest = time.monotonic() + _SCAN_SECONDS, selected
    while True:
        part = rest.first(_LINES_PER_PART) if positions is None else rest.first_of(positions)
        async for run in _runs(request, wanted, part, positions):
            found += run
            if len(found) > limit:
                break
        if part == rest or len(found) > limit or time.monotonic() >= deadline:
            break
        rest = rest.beyond(part.cursor())
    page, more = found[:limit], len(found) > limit
    following = None
    if more or part != rest:
        after = page[-1][0] if more else part.cursor()
        following = _following(request, query, limit, after)
    headers = [JSON]
    if following is not None:
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    events = EventPage([msgspec.Raw(line) for _, line in page], following)
    return Response(200, headers, encode(events))


def _positions(request: ApiRequest, query: EventsQuery) -> Sequence[int] | None:
    """Where all events of the wanted subject are, if that is known."""
    return None if query.subject is UNSET else positions_of(query.subject, request.caller.state)


def _runs(
    request: ApiRequest, wanted: EventFilter, selected: _Range, positions: Sequence[int] | None
) -> AsyncIterator[Sequence[tuple[int, bytes]]]:
    after, upto, descending = selected.after, selected.upto, selected.descending
    if positions is None:
        return request.services.log_watcher.lines(after, upto, wanted, descending=descending)
    history = request.services.history
    return indexed_lines(history, positions, wanted, after, upto, descending=descending)


def _following(request: ApiRequest, query: EventsQuery, limit: int, after: int) -> str:
    given: dict[str, Any] = msgspec.structs.asdict(query) | {"after": after, "limit": limit}
    if query.order == "asc":
        del given["order"]
    parameters = {name: value for name, value in given.items() if value is not UNSET}
    return request.url_of(f"/audit/events?{urlencode(parameters)}")
