"""Errors as problem documents (RFC 9457), in version 1 in the shape of FastAPI."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import Scope

from eventapi.http.faults_v1 import FaultV1, faults_v1
from eventapi.http.problem_types import PROBLEMS, ProblemType
from eventapi.http.response import Headers, Response, encode
from eventapi.http.urls import is_token_endpoint, is_version_1
from events.errors import (
    AccountDisabled,
    ActionRefused,
    ApplicationFailed,
    ClockJumped,
    ConfigurationError,
    EmailTaken,
    EmailUnverified,
    EventapiError,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvalidCredentials,
    LogError,
    LogNotChecked,
    NotFound,
    NotUnique,
    Overloaded,
    PositionNotReached,
    PreconditionFailed,
    ProjectionFailed,
    QuotaExceeded,
    Refusal,
    RequestInProgress,
    SecondFactorRequired,
    SigningSuspended,
    StorageFull,
    Unauthenticated,
    UnknownKind,
    UsernameTaken,
    VaultUnavailable,
    WrongPassword,
)
from events.messages.server_log import UNFORESEEN

logger = logging.getLogger("eventapi.http")

RETRY_SECONDS = 1
"""The Retry-After of every 503."""


class ProblemFault(msgspec.Struct, frozen=True):
    """One fault of a request; ``pointer`` is a JSON pointer into its body or query."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document; ``errors`` has the faults of the request.

    ``error`` and ``error_description`` are those of OAuth 2.0 (RFC 6749, section 5.2). ``challenge``
    is sent with the code of a second factor.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    instance: str | None = None
    errors: Sequence[ProblemFault] = ()
    error: str | None = None
    error_description: str | None = None
    challenge: str | None = None


class ErrorV1(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error of version 1: FastAPI's ``detail``, and members of a problem document."""

    detail: str | list[FaultV1]
    type: str
    title: str
    status: int
    request_id: str
    error: str | None = None
    error_description: str | None = None
    challenge: str | None = None


class ProblemError(Exception):
    """An error of the HTTP layer, with the slug of its problem."""

    def __init__(self, slug: str, detail: str, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.slug = slug
        self.headers = headers or []


class PartError(Exception):
    """The error of one part of a request; ``pointer`` is a JSON pointer to that part.

    The pointers of its faults refer to the member ``body`` of the part. The problem points to the
    part as a whole, and then to these.
    """

    def __init__(self, error: Exception, pointer: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.pointer = pointer


_SLUGS: dict[type[EventapiError], str] = {
    NotFound: "not-found",
    UsernameTaken: "username-taken",
    EmailTaken: "email-taken",
    Unauthenticated: "unauthenticated",
    InvalidCredentials: "invalid-credentials",
    SecondFactorRequired: "second-factor-required",
    AccountDisabled: "account-disabled",
    EmailUnverified: "email-unverified",
    Forbidden: "forbidden",
    PreconditionFailed: "precondition-failed",
    QuotaExceeded: "quota-exceeded",
    Invalid: "validation-failed",
    NotUnique: "not-unique",
    ActionRefused: "action-refused",
    IdempotencyKeyReused: "idempotency-key-reused",
    RequestInProgress: "request-in-progress",
    Overloaded: "overloaded",
    StorageFull: "storage-full",
    LogError: "log-unavailable",
    ProjectionFailed: "projection-failed",
    ClockJumped: "log-unavailable",
    VaultUnavailable: "log-unavailable",
    ConfigurationError: "log-unavailable",  # During a request: the log's key cannot be used.
}

_STATUSES = {
    400: "malformed-body",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
}
"""The slugs of errors that Litestar itself raises, by status."""

_NOT_HERE = "there is nothing at this path"


def request_id_of(scope: Scope) -> str:
    """The request's id, which the edge puts into the scope."""
    request_id: str = scope["request_id"]  # type: ignore[typeddict-item]  # no key of ASGI
    return request_id


def slug_of(error: Exception) -> str:
    """The slug of an error's problem; ``internal-error`` if the error is unforeseen."""
    if isinstance(error, ProblemError):
        return error.slug
    if isinstance(error, MemoryError):
        return "overloaded"
    for kind in type(error).__mro__:
        if kind in _SLUGS:
            return _SLUGS[kind]
    if isinstance(error, HTTPException):
        return _STATUSES.get(error.status_code, "internal-error")
    return "internal-error"


def problem_response(error: Exception, scope: Scope) -> Response[Any]:
    """The response to a failed request.

    An unforeseen error is logged, and the response has no details of it.
    """
    part: str | None = None
    if isinstance(error, PartError):
        part, error = error.pointer, error.error
    kind = PROBLEMS[slug_of(error)]
    scope["problem"] = kind.slug  # type: ignore[typeddict-unknown-key]  # ours, for observers
    request_id = request_id_of(scope)
    # The client may ask for a position that is not reached, or too soon after a start, so that must
    # not alert an operator. A suspended key is reported once by `eventapi.tasks.signing_check`.
    if kind.status >= 500 and not isinstance(error, _NO_FAULT_OF_SERVER):
        is_internal = kind.slug == "internal-error"
        is_foreseen = not is_internal or isinstance(error, ApplicationFailed)
        # The text of an unforeseen error may quote user input, so only its type is logged.
        said = error if is_foreseen else type(error).__name__
        known = error if isinstance(error, EventapiError) else Overloaded()
        message = known.message if is_foreseen else UNFORESEEN
        logger.error(
            message.about(f"{kind.slug}: {said}"),
            exc_info=error if is_internal else None,
            extra={"request_id": request_id, "trace_id": scope.get("trace_id")},
        )
    path = scope["path"]
    status, media_type = kind.status, "application/problem+json"
    content: Problem | ErrorV1
    if is_version_1(path):
        status, media_type = kind.v1_status or kind.status, "application/json"
        content = _error_v1(error, kind, status, scope)
    else:
        if isinstance(error, WrongPassword):
            status = 403  # After a 401, a client would renew its token or log out.
        content = _problem(error, kind, status, request_id, part)
    if is_token_endpoint(path):
        oauth = {
            "error": _oauth_code(error, kind),
            "error_description": _ascii(_detail(error, kind)),
        }
        content = msgspec.structs.replace(content, **oauth)
    if isinstance(error, SecondFactorRequired):
        content = msgspec.structs.replace(content, challenge=error.challenge)
    headers = [(b"content-type", media_type.encode()), *_headers(error, kind, status)]
    return Response(status, headers, encode(content))


def _problem(
    error: Exception, kind: ProblemType, status: int, request_id: str, part: str | None
) -> Problem:
    detail = _detail(error, kind)
    faults = error.faults if isinstance(error, Invalid) else ()
    errors = [ProblemFault(fault.pointer, fault.detail) for fault in faults]
    if part is not None:
        errors = [ProblemFault(f"{part}/body{one.pointer}", one.detail) for one in errors]
        errors = [ProblemFault(part, detail), *errors]
        detail = f"{part}: {detail}"
    return Problem(
        f"/problems/{kind.slug}", kind.title, status, detail, request_id, errors=tuple(errors)
    )


def _error_v1(error: Exception, kind: ProblemType, status: int, scope: Scope) -> ErrorV1:
    text = _detail(error, kind)
    detail: str | list[FaultV1] = text
    if isinstance(error, HTTPException) and status in {404, 405}:
        detail = HTTPStatus(status).phrase
    elif kind.slug == "unauthenticated" and text != NO_TOKEN:
        detail = "Could not validate credentials"
    elif isinstance(error, Invalid):
        detail = faults_v1(error.faults, scope)
    elif status == 422:  # FastAPI always has a list there.
        detail = [FaultV1(kind.slug.replace("-", "_"), ["header"], text, None)]
    return ErrorV1(detail, f"/problems/{kind.slug}", kind.title, status, request_id_of(scope))


def _oauth_code(error: Exception, kind: ProblemType) -> str:
    if isinstance(error, Invalid) and any(one.pointer == "/grant_type" for one in error.faults):
        return "unsupported_grant_type"
    return kind.oauth


def _ascii(text: str) -> str:
    """A description in the characters that RFC 6749, section 5.2, allows."""
    return re.sub(r"[^ !#-\[\]-~]", "'", text)


_NO_FAULT_OF_SERVER = (LogNotChecked, PositionNotReached, SigningSuspended)
"""Errors with a status of the server that are not logged."""

_SAYS_WHY = (
    Refusal,
    ProblemError,
    Overloaded,
    LogNotChecked,
    PositionNotReached,
    UnknownKind,
)
"""Errors whose own text is shown to the client."""


_KEY_UNUSABLE = "The log's key cannot be used, so nothing is signed. Writes continue."
"""Without the path of the key, which is not for clients; the server's log has it."""


def _detail(error: Exception, kind: ProblemType) -> str:
    if isinstance(error, HTTPException) and kind.status in {404, 405}:
        return _NOT_HERE if kind.status == 404 else kind.meaning
    if isinstance(error, SigningSuspended):
        return error.message.detail
    if isinstance(error, ClockJumped):
        return str(error.message)
    if isinstance(error, _SAYS_WHY):
        return str(error)
    return _KEY_UNUSABLE if isinstance(error, ConfigurationError) else kind.meaning


def _headers(error: Exception, kind: ProblemType, status: int) -> Headers:
    headers: Headers = []
    if isinstance(error, ProblemError):
        headers += error.headers
    if status == 401:
        reason = b' error="invalid_token"' if str(error) != NO_TOKEN else b""
        challenge = b"Bearer" + (reason if kind.slug == "unauthenticated" else b"")
        headers.append((b"www-authenticate", challenge))
    if kind.status == 413:
        # Do not wait for the rest of the body (RFC 9110, section 15.5.14).
        headers.append((b"connection", b"close"))
    if kind.status == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    if isinstance(error, HTTPException) and error.headers:
        # Litestar sets no other header than Allow.
        allowed = sorted(error.headers.get("allow", "").split(", "))
        headers.append((b"allow", ", ".join(allowed).encode()))
    return headers


NO_TOKEN = "Not authenticated"  # noqa: S105 - a message
"""The detail if the request has no token; then the challenge has no error (RFC 6750, section 3.1)."""
