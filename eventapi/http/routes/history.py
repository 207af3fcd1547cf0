"""The history of a resource: a page, or a stream in bounded memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import UNSET

from eventapi.commands.resources import readable_or_tombstone
from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Headers, Response, encode
from eventapi.http.schemas.requests import HistoryQuery
from eventapi.http.schemas.resources import Shape
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.history import RECORDS_PER_READ
from projections.tables.tombstones import last_event


async def resource_history(request: ApiRequest, shape: Shape, number: int) -> Response[Any]:
    """Every change of a resource that the caller may read, oldest first."""
    reader = request.reader
    found = readable_or_tombstone(shape.resource, reader.state, reader.user, number)
    query = request.query_as(HistoryQuery)
    positions: Sequence[int] = reader.state.resources.versions.of(last_event(found))
    if query.after is not UNSET:
        positions = positions[bisect_right(positions, query.after) :]
    headers: Headers = [JSON]
    if query.limit is not UNSET and len(positions) > query.limit:
        positions = positions[: query.limit]
        subject = shape.resource.type.subject(found.id)
        place = f"/{subject}/history?limit={query.limit}&after={positions[-1]}"
        headers.append((b"link", f'<{request.url_of(place)}>; rel="next"'.encode()))
    parts = _parts(request, shape, number, positions)
    if request.method == "HEAD":
        return StreamingResponse(headers, parts)  # No part is generated for HEAD.
    first = await anext(parts)
    if len(positions) > RECORDS_PER_READ:
        return StreamingResponse(headers, _chained(first, parts))
    return Response(200, headers, first + b"".join([part async for part in parts]))


async def _chained(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The first part, read before the response begins, and the rest."""
    async with aclosing(rest):
        yield first
        async for part in rest:
            yield part


async def _parts(
    request: ApiRequest, shape: Shape, number: int, positions: Sequence[int]
) -> AsyncGenerator[bytes, None]:
    """The JSON array in parts.

    Each read waits for its own turn, so that a slow client does not block other reads.
    """
    past, reader = request.services.history, request.reader
    prefix = b"["
    with past.admit(reader.number):
        for start in range(0, len(positions), RECORDS_PER_READ):
            async with past.turn(reader.number):
                records = await past.records(positions[start : start + RECORDS_PER_READ])
            if start:
                # Check again: the client may be slow, and its session or its access may have ended.
                now = await request.authenticate_reader()
                readable_or_tombstone(shape.resource, now.state, now.user, number)
            yield prefix + b",".join([encode(shape.entry_of(record)) for record in records])
            prefix = b","
    yield b"]" if positions else b"[]"
