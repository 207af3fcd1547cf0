"""Evidence for auditors: lines of the log and everything that proves them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from litestar import Controller
from litestar.di import NamedDependency
from msgspec import UNSET

from eventapi.evidence.selection import Selected, Selection, select
from eventapi.evidence.writer import EvidenceWriter
from eventapi.http.guards import auditor
from eventapi.http.handlers import get
from eventapi.http.moments import check_order, point_of
from eventapi.http.request import ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import Headers, Response, event_position
from eventapi.http.schemas.evidence import EvidenceQuery
from eventapi.http.services import Services
from eventapi.http.streaming import StreamingResponse
from events.errors import Fault, Invalid

ZIP: Final = "application/zip"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME: Final = 64


class EvidenceController(Controller):
    """Evidence that an auditor can take away."""

    path = "/audit"
    tags = ("audit",)
    guards = (auditor,)

    @get(
        "/evidence",
        summary="Collect evidence about a subject or a user",
        query=EvidenceQuery,
        media_type=ZIP,
        response_headers=("Content-Disposition", "Event-Position"),
        errors=("not-found", "validation-failed"),
    )
    async def get_evidence(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[str]:
        """Collect events with everything that proves them, as a zip.

        The zip has the lines of the log, their proofs, the signed head of the log, the schemas, and
        with `open=true` the sealed values, which is recorded as an event. Its `README.txt` is for a
        person; its `verify.py` and `verify.html` check all of it without a network, and name the
        file and the line of each fault.
        """
        services.chain_check.require_done()  # Before what is opened is recorded.
        caller = request.caller
        selection = _selection(request.query_as(EvidenceQuery))
        async with services.history.turn_of(caller.user.id):
            selected = await select(selection, caller.state, services.history, services.log_watcher)
        name = _NOT_IN_NAMES.sub("-", selection.name)[:_MAX_NAME]
        headers: Headers = [
            (b"content-type", ZIP.encode()),
            (b"content-disposition", f'attachment; filename="evidence-{name}.zip"'.encode()),
            (b"cache-control", b"no-store"),
        ]
        parts = _collected(request, selection, selected, headers)
        if request.method != "HEAD":
            await anext(parts)  # Refuse before the response begins.
        return StreamingResponse(headers, parts)


def _selection(query: EvidenceQuery) -> Selection:
    """The selection of a query; raises `Invalid`."""
    if (query.subject is UNSET) == (query.user is UNSET):
        raise Invalid(Fault("/subject", "give either subject or user", where="query"))
    since = None if query.since is UNSET else point_of("since", query.since)
    until = None if query.until is UNSET else point_of("until", query.until)
    check_order("since", since, "until", until)
    return Selection(
        None if query.subject is UNSET else query.subject,
        None if query.user is UNSET else query.user,
        since,
        until,
        query.open == "true",
    )


async def _collected(
    request: ApiRequest, selection: Selection, selected: Selected, headers: Headers
) -> AsyncGenerator[bytes, None]:
    """An empty part once the collection is admitted, and its parts.

    Before the first part, the position of the event that records an opening is added to ``headers``.
    """
    services, user = request.services, request.caller.user.id
    history, keyring = services.history, services.journal.keyring
    with services.exports.admit(user), history.admit(user):
        writer = EvidenceWriter(selection, selected, history, services.checkpoints, keyring)
        if selection.open:
            async with history.turn(user):
                client = RequestClient(request)
                position = await writer.record_openings(client, request.caller.user.subject)
            if position:
                headers.append(event_position(position))
        async with aclosing(writer.parts()) as parts:
            first = await anext(parts)
            yield b""
            yield first
            while True:
                # Authenticate again: the client may be slow, and its session may have ended.
                await request.authenticate_auditor()
                async with history.turn(user):
                    part = await anext(parts, None)
                if part is None:
                    return
                if part:
                    yield part
