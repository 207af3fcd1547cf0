"""What differs between two moments, for auditors."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from eventapi.accounts.openings import record_openings
from eventapi.http.moments import check_order, point_of
from eventapi.http.request import ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import JSON, Response, encode, event_position
from eventapi.http.schemas.audit import DiffPage, DiffQuery
from eventapi.queries.differences import Differences, Selection, Span, differences
from events.codec import parse
from events.vocabulary.security import PackQuery


async def diff_page(request: ApiRequest, query: DiffQuery) -> Response[Any]:
    """A page of differences for a query; raises `Invalid` and `Overloaded`."""
    caller = request.caller
    state = caller.state
    start = await request.resolve_as_of(state, query.start, "from")
    end = state.position
    if query.end is not UNSET:
        end = await request.resolve_as_of(state, query.end, "to")
        check_order("from", point_of("from", query.start), "to", point_of("to", query.end))
    check_order("from", start, "to", end)
    selection = Selection(query.subject or "", query.after or "", query.limit)
    found = await differences(
        request.services.history,
        state,
        Span(start, end),
        selection,
        caller.user.id,
        opened=query.open == "true",
    )
    headers, following = [JSON], None
    if found.opened and request.method != "HEAD":
        position = await _record_openings(request, Span(start, end), selection, found)
        headers.append(event_position(position))
    if found.next_after is not None:
        # Positions, because the time of `to` may not have come yet.
        given = msgspec.to_builtins(query) | {"from": start, "to": end, "after": found.next_after}
        following = request.url_of(f"/audit/diff?{urlencode(given)}")
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    return Response(200, headers, encode(DiffPage(start, end, found.items, following)))


async def _record_openings(
    request: ApiRequest, span: Span, selection: Selection, found: Differences
) -> int:
    """Record that the values of a page are opened; return the position of the event."""
    history = request.services.history
    times = [
        parse(await history.line_at(position)).time if position else UNSET
        for position in (span.start, span.end)
    ]
    subject = selection.subject if selection.is_entity else UNSET
    query = PackQuery(subject, since=times[0], until=times[1])
    actor, users = request.caller.user.subject, Counter(found.opened.values())
    return await record_openings(RequestClient(request), actor, query, users)
