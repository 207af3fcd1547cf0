"""API keys of the caller."""

from __future__ import annotations

import msgspec
from litestar import Controller
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from eventapi.accounts import keys
from eventapi.commands.keys import RevokeKey
from eventapi.http.guards import own_session
from eventapi.http.handlers import delete, get, post
from eventapi.http.request import ApiRequest
from eventapi.http.request_client import RequestClient
from eventapi.http.response import Response, json_response, written
from eventapi.http.routes.accounts import NO_STORE
from eventapi.http.schemas.requests import KeyRequest
from eventapi.http.schemas.responses import CreatedKeyView, KeyView
from eventapi.http.services import Services
from eventapi.values.times import record_time
from projections.tables.keys import ApiKey

_WRITTEN = ("Event-Position",)


class KeysController(Controller):
    """API keys of the caller."""

    path = "/auth/keys"
    tags = ("auth",)

    @post(
        summary="Make an API key",
        status=201,
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("quota-exceeded", "validation-failed"),
    )
    async def create_key(
        self, request: ApiRequest, data: JSONBody[KeyRequest], services: NamedDependency[Services]
    ) -> Response[CreatedKeyView]:
        """Make an API key, which is sent as a bearer token; the response alone shows it."""
        expires_at = data.expires_at
        if isinstance(expires_at, str):
            expires_at = record_time(expires_at, zone_needed=True)
        new = await keys.create(
            services.accounts,
            RequestClient(request),
            request.caller.user,
            data.name,
            tuple(dict.fromkeys(data.scopes)),
            expires_at or None,
        )
        key = new.result.entity
        assert isinstance(key, ApiKey)  # noqa: S101 - for the type checker
        content = CreatedKeyView(**msgspec.structs.asdict(_view(key, None)), key=new.text)
        return written(new.result, content, 201, NO_STORE)

    @get(summary="List your API keys", guards=(own_session,))
    async def list_keys(
        self, request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[list[KeyView]]:
        """List your API keys, oldest first, without their secrets."""
        caller, uses = request.caller, services.key_uses
        found = caller.state.keys.of_user(caller.user.id)
        return json_response([_view(key, uses.last_used_at(key)) for key in found])

    @delete(
        "/{key_id:str}",
        summary="Revoke an API key",
        guards=(own_session,),
        response_headers=_WRITTEN,
        errors=("not-found",),
    )
    async def revoke_key(self, request: ApiRequest, key_id: FromPath[str]) -> Response[None]:
        """Revoke one of your API keys; it stops working at once."""
        command = RevokeKey(request.caller.user.id, key_id)
        return written(await request.execute_always(command), None)


def _view(key: ApiKey, last_used_at: str | None) -> KeyView:
    return KeyView(key.id, key.name, [*key.scopes], key.created_at, key.expires_at, last_used_at)
