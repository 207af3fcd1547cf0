"""Lists of items, current or past: pages, or a stream of all items."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from operator import gt, lt
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET

from eventapi.http.request import ApiRequest
from eventapi.http.response import JSON, Response, encode
from eventapi.http.routes.search import matching
from eventapi.http.schemas.requests import ListQuery
from eventapi.http.streaming import StreamingResponse
from projections.state import State
from projections.tables.items import Item
from projections.tables.users import User

_ITEMS_PER_READ = 100
"""Items whose history is read in one turn."""

_PAGE = 100
"""Items on a page if `limit` is not given."""

_ITEMS_PER_PIECE = 500
"""Items that are encoded at once in a list without pages."""


async def list_items(request: ApiRequest, query: ListQuery) -> Response[Any]:
    """The caller's items, ordered by number."""
    state, user = request.caller.state, request.caller.user
    limit = _PAGE if query.limit is UNSET else query.limit
    if query.limit is UNSET and request.version.lists_all:
        return await _all_items(request, state, user, query)
    if query.as_of is UNSET:
        found = await _found(request, state, user.id, query, limit + 1)
    else:
        as_of = query.as_of
        found = await _found_then(request, state, user.id, query, as_of=as_of, most=limit + 1)
    page, more = found[:limit], len(found) > limit
    following = _following(request, query, limit, page[-1].id) if more else None
    headers = [JSON]
    if following is not None:
        headers.append((b"link", f'<{following}>; rel="next"'.encode()))
    return Response(200, headers, encode(request.version.page(page, user.username, following)))


async def _found(
    request: ApiRequest, state: State, owner: int, query: ListQuery, most: int | None
) -> list[Item]:
    """The current items that match a query, at most ``most``, from a single state."""
    items = _listed(state, owner, query)
    if query.q is UNSET:
        return list(islice(items, most))
    # Copy the list first: the state changes between two slices of a search.
    every = list(items)
    async with request.services.history.turn_of(owner):
        return await matching(every, query.q, most or len(every), request.services.casefolded_texts)


async def _found_then(
    request: ApiRequest, state: State, owner: int, query: ListQuery, *, as_of: str, most: int
) -> list[Item]:
    """The past items that match a query; reading stops after ``most`` of them."""
    found: list[Item] = []
    async with aclosing(_past_slices(request, state, owner, query, as_of)) as slices:
        async for items in slices:
            found += items
            if len(found) >= most:
                break
    return found


async def _all_items(
    request: ApiRequest, state: State, user: User, query: ListQuery
) -> Response[Any]:
    """All items that match a query, without pages; a long list is streamed."""
    version, owner = request.version, user.username
    if query.as_of is UNSET:
        slices = _present_slices(request, state, user.id, query)
    else:
        slices = _past_slices(request, state, user.id, query, query.as_of)
    found: list[Item] = []
    async for items in slices:
        found += items
        if len(found) > _ITEMS_PER_PIECE:
            break
    else:
        return Response(200, [JSON], encode(version.page(found, owner, None)))

    def joined(items: list[Item]) -> bytes:
        return encode([version.item(item, owner) for item in items])[1:-1]

    async def pieces() -> AsyncGenerator[bytes, None]:
        async with aclosing(slices):
            yield b"[" + joined(found)
            async for items in slices:
                # Authenticate again: the client may be slow, and its session may have ended.
                await request.authenticate()
                if items:
                    yield b"," + joined(items)
        yield b"]"

    if request.method == "HEAD":
        await slices.aclose()
    return StreamingResponse([JSON], pieces())


async def _present_slices(
    request: ApiRequest, state: State, owner: int, query: ListQuery
) -> AsyncGenerator[list[Item], None]:
    """The current items that match a query, in slices."""
    items = await _found(request, state, owner, query, None)
    for start in range(0, len(items), _ITEMS_PER_PIECE):
        yield items[start : start + _ITEMS_PER_PIECE]


async def _past_slices(
    request: ApiRequest, state: State, owner: int, query: ListQuery, as_of: str
) -> AsyncGenerator[list[Item], None]:
    """The past items that match a query, in slices; each waits for its own turn."""
    position = await request.resolve_as_of(state, as_of)
    ever = state.items.all_of_owner(owner)
    if query.order == "desc":
        ever.reverse()
    if query.after is not UNSET:
        behind = gt if query.order == "asc" else lt
        ever = [item for item in ever if behind(item.id, query.after)]
    past = request.services.history
    with past.admit(owner):
        for start in range(0, len(ever), _ITEMS_PER_READ):
            async with past.turn(owner):
                if start:  # An erasure since the previous slice destroyed the keys.
                    await request.authenticate()
                then = await past.items_at(position, ever[start : start + _ITEMS_PER_READ], state)
                items = list(_listed(then, owner, query))
                if query.q is not UNSET:
                    items = await matching(
                        items, query.q, len(items), request.services.casefolded_texts
                    )
            yield items


def _listed(state: State, owner: int, query: ListQuery) -> Iterator[Item]:
    """The items after ``after`` in the query's order, without searching their texts."""
    ids: Sequence[int] = state.items.by_owner[owner]
    by_id = state.items.by_id
    if query.order == "asc":
        numbers = range(0 if query.after is UNSET else bisect_right(ids, query.after), len(ids))
    else:
        end = len(ids) if query.after is UNSET else bisect_left(ids, query.after)
        numbers = range(end - 1, -1, -1)
    return map(by_id.__getitem__, map(ids.__getitem__, numbers))


def _following(request: ApiRequest, query: ListQuery, limit: int, last: int) -> str:
    place = f"/items?limit={limit}&after={last}&order={query.order}"
    asked = (("q", query.q), ("as_of", query.as_of))
    typed = [(name, text) for name, text in asked if text is not UNSET]
    return request.url_of(f"{place}&{urlencode(typed)}" if typed else place)
