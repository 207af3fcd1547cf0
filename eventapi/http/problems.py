"""Problem documents (RFC 9457): the only place that knows which error has which status."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec
from litestar.exceptions import HTTPException
from litestar.types import Scope

from eventapi.http.reply import Headers, Reply, encode
from events.errors import (
    AccountDisabled,
    ClockJumped,
    ConfigurationError,
    EmailTaken,
    EventapiError,
    Fault,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    InvalidCredentials,
    LogError,
    NotFound,
    Overloaded,
    PositionNotReached,
    PreconditionFailed,
    QuotaExceeded,
    Refusal,
    RequestInProgress,
    SigningSuspended,
    StorageFull,
    Unauthenticated,
    UsernameTaken,
    VaultUnavailable,
)

logger = logging.getLogger("eventapi.http")

RETRY_SECONDS = 1
"""How long a client that came at a bad time is asked to wait."""


class ProblemType(msgspec.Struct, frozen=True):
    """A kind of problem: ``slug`` is the last part of its type URI."""

    slug: str
    status: int
    title: str
    meaning: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document; ``errors`` point into the request's body."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    instance: str | None = None
    errors: Sequence[Fault] = ()


PROBLEMS = {
    problem.slug: problem
    for problem in (
        ProblemType(
            "malformed-body",
            400,
            "Malformed request",
            "The body is not the JSON, or the request not the HTTP, that it claims to be. "
            "Correct it before trying again.",
        ),
        ProblemType(
            "unauthenticated",
            401,
            "Not authenticated",
            "The access token is missing, expired, forged, or its session has ended. Log in again.",
        ),
        ProblemType(
            "invalid-credentials",
            401,
            "Wrong username or password",
            "The username or the password is wrong; which one is not told.",
        ),
        ProblemType(
            "account-disabled", 403, "Account disabled", "An operator has disabled this account."
        ),
        ProblemType("forbidden", 403, "Forbidden", "The caller is known and may not do this."),
        ProblemType(
            "not-found", 404, "Not found", "There is nothing here, or nothing that is the caller's."
        ),
        ProblemType(
            "method-not-allowed",
            405,
            "Method not allowed",
            "The path is right and the method is not; the Allow header lists those that are.",
        ),
        ProblemType(
            "username-taken",
            409,
            "Username taken",
            "Another account has this username, without regard to case.",
        ),
        ProblemType(
            "email-taken",
            409,
            "Email address taken",
            "Another account has this email address, without regard to case.",
        ),
        ProblemType(
            "request-timeout",
            408,
            "Request timeout",
            "The request did not arrive in time. Send it again, on another connection.",
        ),
        ProblemType(
            "request-in-progress",
            409,
            "Request in progress",
            "A request with the same Idempotency-Key is still running. Try again in a moment.",
        ),
        ProblemType(
            "quota-exceeded",
            409,
            "Quota exceeded",
            "The user's items take up all that one user may have, by number or by bytes in the "
            "log. Deleting items makes room for other items, but not for bytes: ask the operator.",
        ),
        ProblemType(
            "precondition-failed",
            412,
            "Precondition failed",
            "The item is at another version than If-Match named, or at one that If-None-Match did. "
            "Read it again, then decide.",
        ),
        ProblemType(
            "body-too-large", 413, "Body too large", "The body is larger than this server takes."
        ),
        ProblemType("uri-too-long", 414, "URI too long", "The path and query are too long."),
        ProblemType(
            "unsupported-media-type",
            415,
            "Unsupported media type",
            "The body is not declared as a media type that this request takes.",
        ),
        ProblemType(
            "validation-failed",
            422,
            "Validation failed",
            "The request is well-formed, but a value is not what it must be; `errors` says where.",
        ),
        ProblemType(
            "idempotency-key-reused",
            422,
            "Idempotency key reused",
            "The Idempotency-Key was used before, for another request.",
        ),
        ProblemType(
            "rate-limited",
            429,
            "Too many requests",
            "The caller's limit is used up; Retry-After says when to come back.",
        ),
        ProblemType(
            "headers-too-large",
            431,
            "Headers too large",
            "The header fields are too many or too large.",
        ),
        ProblemType(
            "internal-error",
            500,
            "Internal error",
            "The server failed; the request id finds the reason in its log.",
        ),
        ProblemType(
            "log-unavailable",
            503,
            "Log unavailable",
            "The event log cannot be reached, so nothing was written. Try again later.",
        ),
        ProblemType(
            "overloaded",
            503,
            "Overloaded",
            "Too much is waiting already. Try again after the seconds in Retry-After.",
        ),
        ProblemType(
            "storage-full",
            507,
            "Storage full",
            "There is no room for another event, so nothing was written; reads go on.",
        ),
    )
}


class ProblemError(Exception):
    """An error that only HTTP knows of, by the slug of its problem."""

    def __init__(self, slug: str, detail: str, headers: Headers | None = None) -> None:
        super().__init__(detail)
        self.slug = slug
        self.headers = headers or []


_SLUGS: dict[type[EventapiError], str] = {
    NotFound: "not-found",
    UsernameTaken: "username-taken",
    EmailTaken: "email-taken",
    Unauthenticated: "unauthenticated",
    InvalidCredentials: "invalid-credentials",
    AccountDisabled: "account-disabled",
    Forbidden: "forbidden",
    PreconditionFailed: "precondition-failed",
    QuotaExceeded: "quota-exceeded",
    Invalid: "validation-failed",
    IdempotencyKeyReused: "idempotency-key-reused",
    RequestInProgress: "request-in-progress",
    Overloaded: "overloaded",
    StorageFull: "storage-full",
    LogError: "log-unavailable",
    ClockJumped: "log-unavailable",
    VaultUnavailable: "log-unavailable",
    ConfigurationError: "log-unavailable",  # At a request: the log's key cannot be used.
}

_STATUSES = {
    400: "malformed-body",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
}
"""What Litestar itself refuses."""

_NOT_HERE = "there is nothing at this path"


def request_id_of(scope: Scope) -> str:
    """The request's id, which the edge puts into the scope."""
    request_id: str = scope["request_id"]  # type: ignore[typeddict-item]  # no key of ASGI
    return request_id


def slug_of(error: Exception) -> str:
    """The slug of an error's problem; that of an unforeseen one is ``internal-error``."""
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


def problem_reply(error: Exception, scope: Scope) -> Reply:
    """The answer to a request that failed; whatever was not foreseen is logged, and not told."""
    kind = PROBLEMS[slug_of(error)]
    request_id = request_id_of(scope)
    # A position that is not reached is the client's affair, which must not alert an operator, and
    # a suspended key is reported once by `eventapi.signing_check`, not at every request.
    if kind.status >= 500 and not isinstance(error, PositionNotReached | SigningSuspended):
        unforeseen = error if kind.slug == "internal-error" else None
        # What an unforeseen error says may quote what was typed.
        said = error if unforeseen is None else type(error).__name__
        logger.error(
            "%s: %s",
            kind.slug,
            said,
            exc_info=unforeseen,
            extra={"request_id": request_id, "trace_id": scope.get("trace_id")},
        )
    problem = Problem(
        f"/problems/{kind.slug}",
        kind.title,
        kind.status,
        _detail(error, kind),
        request_id,
        errors=error.faults if isinstance(error, Invalid) else (),
    )
    headers = [(b"content-type", b"application/problem+json"), *_headers(error, kind)]
    return Reply(kind.status, headers, encode(problem))


_SAYS_WHY = (
    Refusal,
    ProblemError,
    Overloaded,
    ClockJumped,
    PositionNotReached,
    SigningSuspended,
)
"""Errors whose own text is for the client."""


_KEY_UNUSABLE = "The log's key cannot be used, so nothing is signed. Writes go on."
"""The server's log has the path, which is not for clients."""


def _detail(error: Exception, kind: ProblemType) -> str:
    if isinstance(error, HTTPException) and kind.status in {404, 405}:
        return _NOT_HERE if kind.status == 404 else kind.meaning
    if isinstance(error, _SAYS_WHY):
        return str(error)
    return _KEY_UNUSABLE if isinstance(error, ConfigurationError) else kind.meaning


def _headers(error: Exception, kind: ProblemType) -> Headers:
    headers: Headers = []
    if isinstance(error, ProblemError):
        headers += error.headers
    if kind.status == 401:
        reason = b' error="invalid_token"' if str(error) != NO_TOKEN else b""
        challenge = b"Bearer" + (reason if kind.slug == "unauthenticated" else b"")
        headers.append((b"www-authenticate", challenge))
    if kind.status == 413:
        # The rest of the body is not waited for (RFC 9110, section 15.5.14).
        headers.append((b"connection", b"close"))
    if kind.status == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    if isinstance(error, HTTPException) and error.headers:
        # All that Litestar puts there is Allow.
        allowed = sorted(error.headers.get("allow", "").split(", "))
        headers.append((b"allow", ", ".join(allowed).encode()))
    return headers


NO_TOKEN = "an access token is needed"  # noqa: S105 - a message
"""Told to a caller who came without a token, and so was not refused one (RFC 6750, section 3.1)."""
