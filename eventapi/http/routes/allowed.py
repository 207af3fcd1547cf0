"""The response header `Allow`: what the caller may do here (RFC 9110, 10.2.1)."""

from __future__ import annotations

from typing import Final

from eventapi.http.request import ApiRequest
from eventapi.resources import access
from eventapi.resources.declared import Declared
from events.vocabulary.resources import Entity

_READ: Final = (b"allow", b"GET, HEAD")
_CREATE: Final = (b"allow", b"GET, HEAD, POST")
_CHANGE: Final = (b"allow", b"GET, HEAD, PUT, PATCH, DELETE")


def allowed_in(request: ApiRequest, resource: Declared) -> tuple[bytes, bytes]:
    """The methods that the caller may use on the collection."""
    user = request.reader.user
    may_create = user is not None and access.may_create(resource, user)
    return _CREATE if may_create and _can_write(request) else _READ


def allowed_on(request: ApiRequest, resource: Declared, one: Entity) -> tuple[bytes, bytes]:
    """The methods that the caller may use on a resource now, also if it is a past one.

    Who may change a resource may also delete and restore it, and call its actions.
    """
    state, user = request.reader.state, request.reader.user
    may_write = user is not None and access.may_write(resource, state, user, one)
    return _CHANGE if may_write and _can_write(request) else _READ


def _can_write(request: ApiRequest) -> bool:
    """Whether the credential of the caller, who is logged in, allows writes."""
    key = request.caller.key
    return key is None or "write" in key.scopes
