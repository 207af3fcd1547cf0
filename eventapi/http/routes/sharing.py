"""The endpoints of shares; `eventapi.http.routes.templates` fills them in."""

from __future__ import annotations

from typing import ClassVar, Final

from litestar import Controller
from litestar.params import FromPath, JSONBody

from eventapi.commands.resources import owned
from eventapi.http.conditional import accepted_versions, conditions
from eventapi.http.handlers import delete, get, put
from eventapi.http.request import ApiRequest
from eventapi.http.response import Response, event_position, json_response, written
from eventapi.http.routes.writes import (
    Target,
    first_result,
    number_in_path,
    share_view,
    sharing,
    unsharing,
)
from eventapi.http.schemas.resources import Shape, ShareBody, ShareView
from events.errors import NotFound
from events.vocabulary.resources import Entity
from projections.tables.tombstones import Tombstone

_SHARES: Final = "/{number:str}/shares"
_SHARE: Final = f"{_SHARES}/{{username:str}}"
_WRITE_HEADERS: Final = ("If-Match", "Idempotency-Key")


class SharingTemplate(Controller):
    """The shares of a kind that is shareable."""

    shape: ClassVar[Shape]

    @get(
        _SHARES,
        name="list_{kind}_shares",
        summary="List whom {a_noun} is shared with",
        errors=("not-found",),
    )
    async def list_shares(
        self, request: ApiRequest, number: FromPath[str]
    ) -> Response[list[ShareView]]:
        """List whom {a_noun} is shared with, also after its deletion. Only its owner can."""
        return json_response(_shares(request, self.shape, number))

    @get(_SHARE, name="get_{kind}_share", summary="Read a share of {a_noun}", errors=("not-found",))
    async def get_share(
        self, request: ApiRequest, number: FromPath[str], username: FromPath[str]
    ) -> Response[ShareView]:
        """Read what a user may do with {a_noun}. Only its owner can see this."""
        for share in _shares(request, self.shape, number):
            if share.username.casefold() == username.casefold():
                return json_response(share)
        raise NotFound("Share not found")

    @put(
        _SHARE,
        name="share_{kind}",
        summary="Share {a_noun}",
        request_headers=_WRITE_HEADERS,
        response_headers=("Event-Position",),
        errors=("not-found", "precondition-failed", "validation-failed"),
    )
    async def share(
        self,
        request: ApiRequest,
        number: FromPath[str],
        username: FromPath[str],
        data: JSONBody[ShareBody],
    ) -> Response[ShareView]:
        """Let another user read {a_noun}, or read and write it.

        A share that changes nothing makes no new version.
        """
        resource, state = self.shape.resource, request.caller.state
        view = share_view(request, username, data)
        result = await first_result(request, resource)
        if result is None:
            command = sharing(resource, _target(request, self.shape, number, username), data)
            # The line of a share also stores the key of its request.
            has_key = request.header(b"idempotency-key") is not None
            if not has_key and command.changes_nothing(state):
                return json_response(view, 200, event_position(state.position))
            result = await request.execute(command, request.caller.user.subject)
        return written(result, view)

    @delete(
        _SHARE,
        name="unshare_{kind}",
        summary="Stop sharing {a_noun}",
        request_headers=_WRITE_HEADERS,
        response_headers=("Event-Position",),
        errors=("not-found", "precondition-failed"),
    )
    async def unshare(
        self, request: ApiRequest, number: FromPath[str], username: FromPath[str]
    ) -> Response[None]:
        """Take back what a user may do with {a_noun}, also after its deletion."""
        resource = self.shape.resource
        result = await first_result(request, resource)
        if result is None:
            target = _target(request, self.shape, number, username)
            command = unsharing(resource, target, None)
            result = await request.execute(command, request.caller.user.subject)
        return written(result, None)


def _target(request: ApiRequest, shape: Shape, number: str, username: str) -> Target:
    found, quota = _owned(request, shape, number), request.services.quota
    match, _ = conditions(request.scope["headers"])
    versions = accepted_versions(match)
    return Target(request.caller.user.id, quota, found.id, versions, username)


def _owned(request: ApiRequest, shape: Shape, text: str) -> Entity | Tombstone:
    """The resource of the caller whose number is ``text``."""
    number = number_in_path(shape, text)
    return owned(shape.resource, request.caller.state, request.caller.user.id, number)


def _shares(request: ApiRequest, shape: Shape, text: str) -> list[ShareView]:
    """The shares of a resource of the caller, by username."""
    state, found = request.caller.state, _owned(request, shape, text)
    shares = state[shape.resource.collection].shares.get(found.id, {})
    names = {state.users.by_id[number].username: can for number, can in shares.items()}
    return [ShareView(name, can) for name, can in sorted(names.items())]  # type: ignore[arg-type]  # checked when written
