"""The access log: a line a request, of the route and not the path, so nothing personal in it."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from litestar.types import Scope
from msgspec import UNSET, UnsetType

from eventapi.http.problems import request_id_of

_encode = msgspec.json.Encoder().encode

AccessLog = Callable[[Scope, int, float], None]
"""Called with the scope, the status and the seconds that the request took."""


class Access(msgspec.Struct, frozen=True, gc=False):
    """A request, as the log tells of it; ``user`` is the number of who was let in."""

    time: str
    level: str
    logger: str
    method: str
    route: str
    status: int
    milliseconds: float
    request_id: str
    user: int | UnsetType


def access_log(write: Callable[[bytes], None], as_json: bool) -> AccessLog:
    """The access log onto a writer of whole lines."""

    def log(scope: Scope, status: int, seconds: float) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        stamp = f"{stamp}.{int(now % 1 * 1_000_000):06}Z"
        route = str(scope.get("path_template", "-"))
        method = str(scope.get("method", "-"))
        user = scope.get("user") or UNSET
        request_id = request_id_of(scope)
        milliseconds = round(seconds * 1000, 3)
        if as_json:
            what = method, route, status, milliseconds, request_id, user
            write(_encode(Access(stamp, "info", "eventapi.access", *what)) + b"\n")
        else:
            who = "" if user is UNSET else f" user={user}"
            write(
                f"{stamp} {status} {method} {route} {milliseconds} ms"
                f" request_id={request_id}{who}\n".encode()
            )

    return log


def no_access_log(_: Scope, __: int, ___: float) -> None:
    """Log nothing."""
