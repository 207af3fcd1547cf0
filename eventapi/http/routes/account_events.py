"""What happened on the caller's account, and the export of everything about it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator
from urllib.parse import urlencode

from litestar import Controller
from litestar.di import NamedDependency
from msgspec import UNSET

from eventapi.accounts.export import EVENTS_PER_PART, Export, positions_about
from eventapi.http.guards import logged_in
from eventapi.http.handlers import get
from eventapi.http.request import NDJSON, ApiRequest
from eventapi.http.response import JSON, Headers, Response, encode
from eventapi.http.schemas.account_events import account_event_view
from eventapi.http.schemas.requests import AccountEventsQuery, ExportQuery
from eventapi.http.schemas.responses import AccountEventPage, AccountEventsView
from eventapi.http.services import Services
from eventapi.http.streaming import StreamingResponse
from eventapi.queries.account_events import account_events
from events.errors import Forbidden


class AccountEventsController(Controller):
    """The events about the caller."""

    path = "/auth"
    tags = ("auth",)

    @get(
        "/me/events",
        summary="List what happened on your account",
        guards=(logged_in,),
        query=AccountEventsQuery,
        response_headers=("Link",),
    )
    async def list_account_events(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[AccountEventsView]:
        """List what happened on your account, newest first.

        Logins, failed ones, ended sessions, changes of profile, address, password and second factor,
        API keys, what operators did, and what auditors read. Failed logins are counted for each
        address in windows of ten minutes, and listed a minute or two after the window. Renewals of tokens are left out. A page may have fewer events than
        `limit`, and still a next one.
        """
        caller, query = request.caller, request.query_as(AccountEventsQuery)
        page = await account_events(
            services.history,
            caller.state,
            caller.user.id,
            None if query.after is UNSET else query.after,
            query.limit,
            descending=query.order == "desc",
        )
        views = [account_event_view(event) for event in page.events]
        headers, following = [JSON], None
        if page.next_after is not None:
            parameters = {"order": query.order, "limit": query.limit, "after": page.next_after}
            following = request.url_of(f"/auth/me/events?{urlencode(parameters)}")
            headers.append((b"link", f'<{following}>; rel="next"'.encode()))
        content = AccountEventPage(views, following) if request.version.has_pages else views
        return Response(200, headers, encode(content))

    @get(
        "/me/export",
        summary="Export everything about you",
        guards=(logged_in,),
        query=ExportQuery,
        media_type=NDJSON,
    )
    async def export_me(self, request: ApiRequest) -> Response[str]:
        """Export every event about your account and your resources, as lines of JSON.

        They are in the order of the log, each as
        `{"record": ..., "personal": {...} or null, "proof": "..."}`. The bytes of `record` are those
        of the log's line. `personal` has what is sealed in it, except secrets. `proof` is a C2SP
        tlog-proof; all are in one checkpoint. An export needs a session, not an API key.
        """
        if request.caller.key is not None:
            raise Forbidden("an API key cannot export; log in")
        headers: Headers = [(b"content-type", NDJSON.encode())]
        parts = _exported(request, request.query_as(ExportQuery).after)
        if request.method != "HEAD":
            await anext(parts)  # Refuse before the response begins.
        return StreamingResponse(headers, parts)


async def _exported(request: ApiRequest, after: int) -> AsyncGenerator[bytes, None]:
    """An empty part once the export is admitted, and its parts."""
    services, caller = request.services, request.caller
    user, history = caller.user, services.history
    with services.exports.admit(user.id), history.admit(user.id):
        positions = await positions_about(caller.state, user.id)
        proofs = await services.checkpoints.proofs()
        export = Export(history, services.journal.keyring, user.subject, proofs)
        yield b""
        for start in range(bisect_right(positions, after), len(positions), EVENTS_PER_PART):
            # Authenticate again: the client may be slow, and its session may have ended.
            await request.authenticate()
            async with history.turn(user.id):
                part = await export.part(positions[start : start + EVENTS_PER_PART])
            yield part
