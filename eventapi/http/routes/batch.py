"""``POST /batch``: several writes to resources, all or none.

The requests of a batch are parsed first. Their commands are one group of the journal, which decides
them in order under the log's lock. There, a request that refers to a new resource gets its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from litestar import Controller, Request
from litestar.params import JSONBody
from msgspec import UNSET

from eventapi.commands.command import Command
from eventapi.commands.resources import writable_or_tombstone
from eventapi.http.guards import logged_in
from eventapi.http.handlers import post
from eventapi.http.problems import PartError, problem_response
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, event_position, json_response
from eventapi.http.routes.batch_parsing import Part, parse_requests, writes_by_place
from eventapi.http.routes.writes import (
    check_known,
    creation,
    entity_of,
    first_results,
    restoration,
)
from eventapi.http.schemas.batch import Batch, BatchResponse, BatchResponses
from eventapi.http.schemas.resources import Shape
from eventapi.journal.batch import CommandResult, DependentCommand, GroupedCommand
from eventapi.resources.declared import Declared
from events.errors import Fault, Invalid, Refusal

_ERRORS: Final = (
    "not-found",
    "precondition-failed",
    "quota-exceeded",
    "validation-failed",
    "not-unique",
    "action-refused",
)


BATCH_BODIES: Final = 16
"""The body of a batch may have so many times the bytes of another request's."""

_REQUEST: Final = re.compile(r"/requests/[0-9]+")


def batch_controller(shapes: Iterable[Shape], max_body_bytes: int) -> type[Controller]:
    """The controller of batches that write resources of these kinds.

    ``max_body_bytes`` is the limit of other requests.
    """
    writes = writes_by_place(shapes)

    class BatchController(Controller):
        """Several writes in one request."""

        path = "/batch"
        tags = ("batch",)
        request_max_body_size = BATCH_BODIES * max_body_bytes
        exception_handlers = {Invalid: _on_invalid}  # noqa: RUF012 - declared by Litestar

        @post(
            summary="Write several resources, all or none",
            guards=[logged_in],
            request_headers=("Idempotency-Key",),
            response_headers=("Event-Position",),
            errors=_ERRORS,
        )
        async def run_batch(
            self, request: ApiRequest, data: JSONBody[Batch]
        ) -> Response[BatchResponses]:
            """Create, replace, change, delete, restore and share resources, and run actions.

            The requests take effect in their order, all or none. If one is refused, the response is
            its problem, and `errors` has a pointer to it, such as `/requests/3`. `$0` stands for the
            number of the resource that request 0 creates. Rate limits count each request. The body
            may be 16 times as large as that of another request.
            """
            further = len(data.requests) - 1
            await request.services.rate_limiter.check_further(request.scope, further)
            parts = await parse_requests(data.requests, writes, request.version.prefixes)
            subject = request.caller.user.subject
            try:
                results = await first_results(request, [part.resource for part in parts])
                if results is None:
                    results = await _execute(request, parts, subject)
            except Refusal as refusal:
                if refusal.part is None:
                    raise
                raise PartError(refusal, parts[refusal.part].pointer) from None
            answers = [_answer(request, part, results[: part.index + 1]) for part in parts]
            position = event_position(results[-1].record.position)
            return json_response(BatchResponses(answers), 200, position)

    return BatchController


def _on_invalid(request: Request[Any, Any, Any], error: Invalid) -> Response[Any]:
    """The problem of faults in a batch; an entry for each request comes before them."""
    faults: list[Fault] = []
    pointers: set[str] = set()
    for fault in error.faults:
        match = _REQUEST.match(fault.pointer)
        if match and match[0] not in pointers:
            pointers.add(match[0])
            if match[0] != fault.pointer:
                faults.append(Fault(match[0], "is refused"))
        faults.append(fault)
    return problem_response(Invalid(*faults), request.scope)


async def _execute(request: ApiRequest, parts: Sequence[Part], subject: str) -> list[CommandResult]:
    """Write the parts; raises a `Refusal` with the ``part`` that is refused."""
    commands = [await _command(request, part) for part in parts]
    return await request.execute_all(commands, subject)


async def _command(request: ApiRequest, part: Part) -> GroupedCommand:
    """The command of a part, which raises the refusal of a restoration in its turn."""
    state, caller, quota = request.caller.state, request.caller.user.id, request.services.quota
    write, shape, resource = part.write, part.write.shape, part.resource
    check_known(shape, state)
    command = write.command
    if command is None:
        target = part.target(caller, quota)
        try:
            found = writable_or_tombstone(resource, state, caller, target.number)
            return await restoration(request, shape, target, found, part.body)
        except Refusal as refusal:
            return _refused(resource, refusal)
    if not part.is_dependent:
        return command(resource, part.target(caller, quota), part.body)

    def build(results: Sequence[CommandResult]) -> Command:
        return command(resource, part.target(caller, quota, results), part.body_after(results))

    return DependentCommand(resource, build)


def _refused(resource: Declared, refusal: Refusal) -> DependentCommand:
    """A command that is refused; that of an earlier part comes first."""

    def build(_: Sequence[CommandResult]) -> Command:
        raise refusal

    return DependentCommand(resource, build)


def _answer(request: ApiRequest, part: Part, results: Sequence[CommandResult]) -> BatchResponse:
    """The answer to a part; ``results`` are those up to its own."""
    write, result = part.write, results[-1]
    target = part.target(request.caller.user.id, request.services.quota, results)
    view: Any = write.view(request, target, part.body, result)
    location: Any = UNSET
    if write.command is creation:
        subject = write.shape.resource.type.subject(entity_of(result).id)
        location = request.url_of(f"/{subject}")
    return BatchResponse(write.status, view, result.record.position, location)
